"""Entries as lines: what is queued, spooled, signed and stored.

A line is a JSON array of the fields in the order of :class:`Entry`, in UTF-8, without
blanks and without a newline. It is the same for everybody who writes it, so that a MAC
over it can be verified from the row in the database.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed

from perfguard.audit.entries import FIELDS, Entry, stamp
from perfguard.audit.models import AuditEntry
from perfguard.conf import conf
from perfguard.optional import orjson

_standard = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), check_circular=False
).encode

# PostgreSQL's text has no NUL, and UTF-8 no lone surrogates.
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def dumps(value: Any) -> str:
    """As short as JSON can be; what it does not know, such as a text that is still to
    be translated, as text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def _encode(values: Sequence[Any]) -> bytes:
    """The same bytes from both libraries: who verifies may have another than who wrote.
    Raises ValueError or TypeError for lone surrogates."""
    if orjson is None:
        return _standard(values).encode()
    # It takes no subclass of a tuple for one.
    line: bytes = orjson.dumps(tuple(values))
    return line


def to_line(entry: Entry) -> bytes:
    try:
        line = _encode(entry)
    except (ValueError, TypeError):
        line = b""
    if not line or b"\\u0000" in line:
        return _encode([_storable(value) for value in entry])
    return line


def _storable(value: Any) -> Any:
    return UNSTORABLE.sub(REPLACEMENT, value) if isinstance(value, str) else value


def from_line(line: bytes) -> Entry:
    """Raises ValueError or TypeError for what is no line."""
    return Entry(*json.loads(line))


def row_line(row: AuditEntry) -> bytes:
    """The line that the row was made of, if nobody has changed it since."""
    values = {name: getattr(row, name) for name in FIELDS}
    values["entry_id"] = row.entry_id.hex
    values["at"] = stamp(row.at)
    return to_line(Entry(**values))


def mac_of(line: bytes, key: bytes) -> str:
    """HMAC-SHA-256 (RFC 2104), 64 hexadecimal digits."""
    return hmac.digest(key, line, "sha256").hex()


@cache
def signing_key() -> tuple[str, bytes]:
    """The id and the key that entries and seals are signed with now."""
    key = _derived(conf.AUDIT_SIGNING_KEY or settings.SECRET_KEY)
    return _id_of(key), key


@cache
def known_keys() -> Mapping[str, bytes]:
    """All that may be verified with, by id. SECRET_KEY is one only where it signs:
    else who knows it could sign what he likes."""
    own = (conf.AUDIT_SIGNING_KEY, *conf.AUDIT_OLD_SIGNING_KEYS)
    django = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    secrets = [*own, *(() if conf.AUDIT_SIGNING_KEY else django)]
    keys = [_derived(secret) for secret in secrets if secret]
    return {_id_of(key): key for key in keys}


def _derived(secret: str | bytes) -> bytes:
    text = secret if isinstance(secret, bytes) else secret.encode()
    return sha256(b"perfguard.audit\0" + text).digest()


def _id_of(key: bytes) -> str:
    return sha256(b"id\0" + key).hexdigest()[:16]


def _reload(*, setting: str, **kwargs: Any) -> None:
    if setting in {"PERFGUARD", "SECRET_KEY", "SECRET_KEY_FALLBACKS"}:
        signing_key.cache_clear()
        known_keys.cache_clear()


setting_changed.connect(_reload, dispatch_uid="perfguard.audit.lines")
