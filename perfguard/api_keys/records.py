"""What a request needs to know of an API key and of its owner, in one piece."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from django.contrib.auth import get_user_model
from django.db import router

from perfguard.api_keys.models import ApiKey

# What of the owner decides by itself what they may do. All else of the owner is read
# when somebody asks for it.
FLAGS = ("is_active", "is_staff", "is_superuser")
COLUMNS = (
    "key_id",
    "hashed_secret",
    "label",
    "rate",
    "is_restricted",
    "allowed_endpoints",
    "owner_id",
    "expires_at",
    "revoked_at",
    "replaced_by_id",
)


@dataclass(frozen=True, slots=True)
class ActiveKey:
    """The API key of a request: ``request.auth`` in DRF."""

    key_id: str
    label: str
    rate: str  # a limit of the key's own, empty for none
    owner_key: str  # the owner's id as text
    expires_at: datetime | None
    rules: str | None = field(repr=False)  # None: not restricted; "": nothing allowed

    @property
    def is_restricted(self) -> bool:
        return self.rules is not None


@dataclass(frozen=True, slots=True)
class Record:
    hashed_secret: str = field(repr=False)
    label: str
    rate: str
    rules: str | None
    owner_key: str
    flags: Mapping[str, bool]
    expires_at: float | None  # Unix time
    is_revoked: bool
    is_replaced: bool

    def refusal(self, now: float) -> str:
        """Why a good secret is refused all the same; empty when it is not."""
        if self.is_revoked:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return "replaced" if self.is_replaced else "expired"
        return "" if self.flags.get("is_active", True) else "owner_inactive"

    def active(self, key_id: str) -> ActiveKey:
        end = self.expires_at
        return ActiveKey(
            key_id=key_id,
            label=self.label,
            rate=self.rate,
            owner_key=self.owner_key,
            expires_at=None if end is None else datetime.fromtimestamp(end, UTC),
            rules=self.rules,
        )


def load(key_id: str) -> Record | None:
    """From the database, in one query; None for an id that nobody has.

    Not from a replica, which may not have heard of a revocation.
    """
    flags = _flags(get_user_model())
    owner_flags = (f"owner__{name}" for name in flags)
    rows = ApiKey.objects.using(router.db_for_write(ApiKey)).filter(key_id=key_id)
    row = rows.order_by().values(*COLUMNS, *owner_flags).first()
    # Some databases compare without regard to case.
    if row is None or row["key_id"] != key_id:
        return None
    return _record(row, flags)


def _record(row: dict[str, Any], flags: tuple[str, ...]) -> Record:
    end = row["expires_at"]
    return Record(
        hashed_secret=row["hashed_secret"],
        label=row["label"],
        rate=row["rate"],
        rules=row["allowed_endpoints"] if row["is_restricted"] else None,
        owner_key=str(row["owner_id"]),
        flags={name: row[f"owner__{name}"] for name in flags},
        expires_at=None if end is None else end.timestamp(),
        is_revoked=row["revoked_at"] is not None,
        is_replaced=row["replaced_by_id"] is not None,
    )


def owner_of(record: Record) -> Any:
    """The owner without a query: the flags are known, and every other field is
    deferred, to be read in one query when it is first used.

    ``from_db`` is what a queryset builds its objects with, and ``only()`` among them:
    the object knows what it has not loaded, so that ``save()`` leaves that alone.
    """
    model = get_user_model()
    key = model._meta.pk
    known = {key.attname: key.to_python(record.owner_key), **record.flags}
    names = [
        each.attname for each in model._meta.concrete_fields if each.attname in known
    ]
    alias = router.db_for_read(model)
    return model.from_db(alias, names, [known[name] for name in names])


@lru_cache(maxsize=4)
def _flags(model: Any) -> tuple[str, ...]:
    columns = {each.attname for each in model._meta.concrete_fields}
    return tuple(name for name in FLAGS if name in columns)


# -- as bytes, for Redis ---------------------------------------------------------------


def as_bytes(record: Record | None, era: str) -> bytes:
    """None is stored as well, so that an id that nobody has costs no more queries
    than one that somebody has."""
    known = None if record is None else asdict(record)
    return json.dumps({"era": era, "record": known}, separators=(",", ":")).encode()


def believed(raw: bytes, era: str) -> tuple[bool, Record | None]:
    """Whether the bytes are a record of that era; and the record."""
    try:
        held = json.loads(raw)
        if not era or held["era"] != era:
            return False, None
        return True, None if held["record"] is None else Record(**held["record"])
    except (ValueError, TypeError, KeyError):
        return False, None  # of another version of this code, say
