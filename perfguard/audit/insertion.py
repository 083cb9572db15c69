"""Lines become rows by one statement, whatever their number: the database reads the
JSON, so that Python touches no field a second time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from perfguard.audit.entries import FIELDS
from perfguard.audit.lines import mac_of, signing_key
from perfguard.audit.models import AuditEntry

COLUMNS = (*FIELDS, "key_id", "mac")
POSTGRES_CASTS = {
    "entry_id": "(e->>{})::uuid",
    "at": "((e->>{}) || '+00')::timestamptz",
    "status": "(e->>{})::smallint",
    "duration_us": "(e->>{})::bigint",
    "bytes_in": "(e->>{})::bigint",
    "bytes_out": "(e->>{})::bigint",
    "request_truncated": "(e->>{})::boolean",
    "response_truncated": "(e->>{})::boolean",
}


def insert(connection: Any, lines: Sequence[bytes]) -> None:
    """Sign and insert; what is there already, by ``entry_id``, stays as it is."""
    signed = b"[" + b",".join(map(_signed, lines)) + b"]"
    statement = _statement(connection.vendor)
    if statement:
        with connection.cursor() as cursor:
            cursor.execute(statement, [signed.decode()])
    else:
        _insert_by_models(connection.alias, json.loads(signed))


def _signed(line: bytes) -> bytes:
    key_id, key = signing_key()
    return b'%b,"%b","%b"]' % (line[:-1], key_id.encode(), mac_of(line, key).encode())


@cache
def _statement(vendor: str) -> str:
    """Empty for a database that is not known so well."""
    if vendor == "postgresql":
        shapes = (
            POSTGRES_CASTS.get(name, "e->>{}").format(place)
            for place, name in enumerate(COLUMNS)
        )
        source = "jsonb_array_elements(%s::jsonb) AS e"
    elif vendor == "sqlite":
        shapes = (f"json_extract(value, '$[{place}]')" for place in range(len(COLUMNS)))
        source = "json_each(%s) WHERE true"  # or SQLite takes ON CONFLICT for a join's
    else:
        return ""
    # Names of the model's own columns, and nothing else.
    return (
        f"INSERT INTO {AuditEntry._meta.db_table} ({', '.join(COLUMNS)}) "  # noqa: S608
        f"SELECT {', '.join(shapes)} FROM {source} "
        "ON CONFLICT (entry_id) DO NOTHING"
    )


def _insert_by_models(alias: str, rows: list[list[Any]]) -> None:
    entries = [AuditEntry(**dict(zip(COLUMNS, row, strict=True))) for row in rows]
    for entry in entries:
        entry.at = datetime.fromisoformat(str(entry.at)).replace(tzinfo=UTC)
    AuditEntry.objects.using(alias).bulk_create(entries, ignore_conflicts=True)
