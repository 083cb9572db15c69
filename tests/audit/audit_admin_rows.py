"""Entries for the tests of the audit log's pages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from perfguard.audit.entries import new_id
from perfguard.audit.lines import mac_of, row_line, signing_key
from perfguard.audit.models import AuditEntry, AuditSeal

LIST = "/admin/perfguard/auditentry/"
SEALS = "/admin/perfguard/auditseal/"
START = datetime(2026, 11, 1, 12, tzinfo=UTC)


def row(number: int = 0, **values: Any) -> AuditEntry:
    """One that is signed, ``number`` seconds after START."""
    at = START + timedelta(seconds=number)
    given = {
        "entry_id": UUID(new_id()),
        "at": at if settings.USE_TZ else timezone.make_naive(at, UTC),
        "kind": "request",
        "method": "POST",
        "url": f"/api/v1/notes?n={number}",
        "route": "api/v1/notes",
        "status": 200,
        "outcome": "completed",
        "duration_us": 1234,
        "actor_kind": "token",
        "actor_id": "42",
        "actor_label": "ada@example.com",
        "address": "203.0.113.7",
        "request_id": f"request-{number}",
        "request_truncated": False,
        "response_truncated": False,
    }
    return signed(AuditEntry(**given | values))


def signed(entry: AuditEntry) -> AuditEntry:
    entry.key_id, key = signing_key()
    entry.mac = mac_of(row_line(entry), key)
    return entry


def event(number: int, kind: str, **values: Any) -> AuditEntry:
    blank = {"method": "", "url": "", "route": "", "status": None, "outcome": ""}
    return row(number, kind=kind, **blank | values)


def store(*entries: AuditEntry) -> list[AuditEntry]:
    return AuditEntry.objects.bulk_create(entries)


def shown(client: Any, query: str = "") -> list[int]:
    """The numbers in the addresses that the list shows, from the top."""
    answer = client.get(LIST + query)
    assert answer.status_code == 200, answer
    return [int(each.url.rpartition("=")[2]) for each in entries_of(answer)]


def entries_of(answer: Any) -> list[AuditEntry]:
    return answer.context["cl"].result_list


def told(answer: Any) -> list[str]:
    return [str(each) for each in answer.context["messages"]]


def ids_of(answer: Any) -> list[int]:
    return [each.pk for each in entries_of(answer)]


def seal(number: int) -> AuditSeal:
    return AuditSeal(
        number=number,
        first_id=number * 1000,
        last_id=number * 1000 + 999,
        count=1000,
        first_at=START,
        last_at=START,
        sealed_at=START,
        ids="",
        marks=b"",
    )
