"""What revokes tokens by itself: a new password, deactivation, deletion. And what tells
Redis the rest of the journal when it is back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.hashers import is_password_usable
from django.db import connections, router
from django.db.models.signals import post_delete, post_save, pre_save

from perfguard.signals import circuit_changed
from perfguard.tokens.arrears import arrears
from perfguard.tokens.claims import user_key_of
from perfguard.tokens.journal import deliver_due, revoke_user


def connect(user_models: Iterable[Any]) -> None:
    """Called by the app when all models are loaded."""
    for model in user_models:
        pre_save.connect(user_saving, model, dispatch_uid="perfguard.tokens.saving")
        post_save.connect(user_saved, model, dispatch_uid="perfguard.tokens.saved")
        post_delete.connect(
            user_deleted, model, dispatch_uid="perfguard.tokens.deleted"
        )
    circuit_changed.connect(circuit_closed, dispatch_uid="perfguard.tokens.circuit")


def user_saving(
    instance: Any, raw: bool = False, update_fields: Any = None, **kwargs: Any
) -> None:
    """``set_unusable_password()`` leaves no word, and many users have never had a
    password: whether it took one away, only the database knows."""
    given = update_fields is None or "password" in update_fields
    if raw or instance._state.adding or not given or instance.has_usable_password():
        return
    model: Any = instance._meta.model
    rows = model._base_manager.using(router.db_for_write(model)).filter(pk=instance.pk)
    old = rows.values_list("password", flat=True).first()
    instance.perfguard_password_taken = old is not None and is_password_usable(old)


def user_saved(instance: Any, created: bool, raw: bool = False, **kwargs: Any) -> None:
    """``set_password()`` leaves its word in ``_password`` until the user is saved; a
    hash that Django upgrades at sign-in does not (``AbstractBaseUser.check_password``).

    An inactive user who is saved is signed out once more, which does no harm: whether
    this very save deactivated them cannot be told.
    """
    if created or raw:
        return
    taken = vars(instance).pop("perfguard_password_taken", False)
    if taken or getattr(instance, "_password", None) is not None:
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


def _revoke_all(user: Any, reason: str) -> None:
    # Also of a user who has no token yet: one may be on its way.
    revoke_user(user_key_of(user), reason=reason)
