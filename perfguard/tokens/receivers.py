"""What revokes tokens by itself: a new password, deactivation, deletion. And what tells
Redis the rest of the journal when it is back."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connections
from django.db.models.signals import post_delete, post_save

from perfguard.signals import circuit_changed
from perfguard.tokens.arrears import arrears
from perfguard.tokens.journal import database, deliver_due, revoke_user
from perfguard.tokens.models import TokenGeneration


def connect() -> None:
    """Called by the app when all models are loaded."""
    user = get_user_model()
    post_save.connect(user_saved, user, dispatch_uid="perfguard.tokens.saved")
    post_delete.connect(user_deleted, user, dispatch_uid="perfguard.tokens.deleted")
    circuit_changed.connect(circuit_closed, dispatch_uid="perfguard.tokens.circuit")


def user_saved(instance: Any, created: bool, raw: bool = False, **kwargs: Any) -> None:
    """``set_password()`` leaves its word in ``_password`` until the user is saved; a
    hash that Django upgrades at sign-in does not (``AbstractBaseUser.check_password``).

    An inactive user who is saved is signed out once more, which does no harm: whether
    this very save deactivated them cannot be told.
    """
    if created or raw:
        return
    if getattr(instance, "_password", None) is not None:
        _revoke_all(instance, "password")
    elif not getattr(instance, "is_active", True):
        _revoke_all(instance, "deactivated")


def user_deleted(instance: Any, **kwargs: Any) -> None:
    _revoke_all(instance, "deleted")


def circuit_closed(is_open: bool, **kwargs: Any) -> None:
    """In the thread that found Redis: bring it up to date."""
    if is_open or not arrears.in_use:
        return  # where tokens are not used, the journal may not even have its tables
    arrears.due = True
    try:
        arrears.settle(deliver_due, at_once=True)
    finally:
        connections.close_all()  # this thread's, which ends


def user_key_of(user: Any) -> str:
    given = getattr(settings, "SIMPLE_JWT", None) or {}
    field = given.get("USER_ID_FIELD", "id")
    return str(getattr(user, field, user.pk))


def _revoke_all(user: Any, reason: str) -> None:
    user_key = user_key_of(user)
    # Without a token ever issued there is nothing to revoke, and no row to keep.
    if TokenGeneration.objects.using(database()).filter(pk=user_key).exists():
        revoke_user(user_key, reason=reason)
