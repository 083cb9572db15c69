"""What changes an API key from outside: its owner, and whoever saves or deletes a row.
And what tells Redis the rest when it is back."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from django.db import router, transaction
from django.db.models.signals import post_delete, post_save

from perfguard.api_keys.delivery import delivery
from perfguard.api_keys.models import ApiKey
from perfguard.api_keys.records import FLAGS
from perfguard.signals import api_key_changed, circuit_changed


def connect(user_models: Iterable[Any]) -> None:
    """Called by the app when all models are loaded."""
    uid = "perfguard.api_keys."
    for model in user_models:
        post_save.connect(owner_saved, model, dispatch_uid=f"{uid}owner")
    post_save.connect(key_saved, ApiKey, dispatch_uid=f"{uid}saved")
    # Deleting an owner deletes their keys, one by one because somebody listens.
    post_delete.connect(key_deleted, ApiKey, dispatch_uid=f"{uid}deleted")
    circuit_changed.connect(circuit_closed, dispatch_uid=f"{uid}circuit")


def owner_saved(
    instance: Any,
    created: bool,
    using: str,
    update_fields: Any = None,
    **kwargs: Any,
) -> None:
    """Signing in saves the user as well, but names the one field that it writes.

    Of any other save it cannot be told whether a flag has changed. One indexed query
    finds the user's keys; for the few who have some, their records are made anew.
    """
    if created or (update_fields is not None and not set(FLAGS) & set(update_fields)):
        return
    rows = ApiKey.objects.using(router.db_for_write(ApiKey)).in_use()
    for key_id in rows.filter(owner=instance.pk).values_list("key_id", flat=True):
        transaction.on_commit(partial(delivery.tell, key_id), using=using)


def key_saved(instance: ApiKey, created: bool, using: str, **kwargs: Any) -> None:
    if not created:
        transaction.on_commit(partial(delivery.tell, instance.key_id), using=using)


def key_deleted(instance: ApiKey, using: str, **kwargs: Any) -> None:
    change = "revoked" if instance.revoked_at is None else ""
    transaction.on_commit(partial(_deleted, instance, change), using=using)


def circuit_closed(is_open: bool, **kwargs: Any) -> None:
    """In the thread that found Redis."""
    if not is_open:
        delivery.tell_due()


def _deleted(api_key: ApiKey, change: str) -> None:
    delivery.tell(api_key.key_id)
    if change:
        api_key_changed.send_robust(
            ApiKey,
            key_id=api_key.key_id,
            change=change,
            user_key=str(api_key.owner_id),
            by="",
        )
