from __future__ import annotations

from datetime import timedelta

from django.db import models
from django.utils import timezone

from perfguard.tokens.claims import leeway
from perfguard.tokens.journal import database

# After its expiry a row tells nothing, but clocks differ.
KEPT = timedelta(hours=1)


def prune(model: type[models.Model], batch: int = 1000) -> int:
    """Delete what has expired, in batches; what never expires is kept. Returns how
    many rows."""
    before = timezone.now() - KEPT - leeway()
    rows = model._default_manager.using(database())
    deleted = 0
    while True:
        ids = list(
            rows.filter(expires_at__lt=before)
            .order_by("expires_at")
            .values_list("pk", flat=True)[:batch]
        )
        deleted += rows.filter(pk__in=ids).delete()[0] if ids else 0
        if len(ids) < batch:
            return deleted
