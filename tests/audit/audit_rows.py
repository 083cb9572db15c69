"""Entries that are in the log already, signed as a writer signs them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.db import connections, transaction

from perfguard.audit.entries import Entry, new_id, stamp
from perfguard.audit.insertion import insert
from perfguard.audit.lines import to_line
from perfguard.audit.models import AuditEntry
from perfguard.audit.seals.sealing import hold_shared

START = datetime(2026, 11, 1, tzinfo=UTC)
FIELDS = {
    "kind": "request",
    "level": "METADATA",
    "method": "POST",
    "url": "/api/v1/items?page=2",
    "status": 201,
    "outcome": "completed",
    "duration_us": 1234,
    "actor_kind": "token",
    "actor_id": "7",
    "actor_label": "ann@example.com",
    "request_headers": '{"accept":"*/*"}',
    "request_body": '{"name":"Müller ✓"}',
}


def line_of(number: int, **fields) -> bytes:
    """Of the entry of minute ``number``."""
    at = stamp(START + timedelta(minutes=number))
    return to_line(Entry(**{"entry_id": new_id(), "at": at, **FIELDS, **fields}))


def add_rows(count: int, *, using: str = "default", **fields) -> list[int]:
    """Their ids, in the order of which one entry a minute came in."""
    rows = AuditEntry.objects.using(using).order_by("id")
    newest = rows.last()
    with transaction.atomic(using=using):
        hold_shared(connections[using])
        insert(connections[using], [line_of(each, **fields) for each in range(count)])
    added = rows.filter(id__gt=newest.id) if newest else rows
    return list(added.values_list("id", flat=True))
