"""Whom a name means: some entries tell the id of a user alone."""

from __future__ import annotations

from collections.abc import Iterable

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError


def ids_of(names: Iterable[str]) -> list[str]:
    """Of the users who sign in with these names."""
    model = get_user_model()
    named = {f"{model.USERNAME_FIELD}__in": list(names)}
    try:
        users = model._default_manager.filter(**named)
        return [str(key) for key in users.values_list("pk", flat=True)]
    except (OverflowError, TypeError, ValueError, ValidationError):
        return []  # they sign in by a number, say, and this is none
