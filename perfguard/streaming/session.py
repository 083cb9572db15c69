"""Whether a user of Django's sessions is signed in yet."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from django.contrib.auth import get_user
from django.http import HttpRequest

from perfguard.http.standing import questions, remember
from perfguard.streaming.identity import session_user


def remember_session(request: HttpRequest) -> None:
    """Ask the session again as well, where it is by the session that the user is known.

    A token and the like remember for themselves.
    """
    user = session_user(request)
    if questions(request) or user is None or not user.is_authenticated:
        return
    kind, key, user_key = type(request.session), request.session.session_key, user.pk

    def is_signed_in() -> bool:
        # Read anew: it may have been ended, and the user's password changed.
        fresh: Any = SimpleNamespace(session=kind(key))
        found = get_user(cast("HttpRequest", fresh))
        return bool(found.pk == user_key)

    remember(request, is_signed_in)
