"""Making, rotating, revoking and restricting API keys.

Each function commits first; then, on commit, it tells Redis, and sends
``api_key_changed``. ``by`` is the id, as text, of whoever did it. All raise
ValidationError for what may not be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.core.exceptions import ValidationError
from django.db import router, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from perfguard.api_keys.delivery import delivery
from perfguard.api_keys.keys import as_text, generate, hashed
from perfguard.api_keys.models import ApiKey
from perfguard.conf import conf
from perfguard.lifetimes import read_lifetime
from perfguard.signals import api_key_changed

# What may be changed of a key that is in use. Not its owner, id or hash.
CHANGEABLE = (
    "label",
    "expires_at",
    "is_restricted",
    "allowed_endpoints",
    "rate",
)


@dataclass(frozen=True, slots=True)
class Issued:
    """A new key. ``text`` is what the client sends, and is nowhere else."""

    api_key: ApiKey
    text: str = field(repr=False)


def create(
    owner: Any,
    label: str,
    *,
    expires_at: datetime | None = None,
    endpoints: Sequence[str] | None = None,
    rate: str = "",
    by: str = "",
) -> Issued:
    """``endpoints`` are rules as of ``perfguard.api_keys.rules``; None leaves the key
    without restriction, and an empty list allows nothing."""
    api_key = ApiKey(owner=owner, label=label, expires_at=expires_at, rate=rate)
    _put_endpoints(api_key, endpoints)
    api_key.clean_fields(exclude=["owner", "key_id", "hashed_secret", "created"])
    return issue(api_key, by)


def issue(api_key: ApiKey, by: str = "") -> Issued:
    """Save a new row, whose fields were validated, under a new id and a new secret:
    nobody chooses these."""
    credential = generate()
    api_key.pk = None
    api_key.key_id = credential.key_id
    api_key.hashed_secret = hashed(credential)
    api_key.created = timezone.now()
    api_key.created_by = by
    api_key.expires_at = bounded(api_key.expires_at, api_key.created)
    with transaction.atomic(using=_database()):
        api_key.save(using=_database(), force_insert=True)
        _announce(api_key, "created", by)
    return Issued(api_key, as_text(credential))


def bounded(expires_at: datetime | None, created: datetime) -> datetime | None:
    """Within ``API_KEYS_MAX_LIFETIME``, and not over already."""
    longest = read_lifetime(conf.API_KEYS_MAX_LIFETIME)
    last = None if longest is None else created + longest
    if expires_at is None:
        return last
    if expires_at <= timezone.now():
        raise ValidationError({"expires_at": _("This time is over.")})
    if last is not None and expires_at > last:
        raise ValidationError(
            {
                "expires_at": _("An API key may live for %s.")
                % conf.API_KEYS_MAX_LIFETIME
            }
        )
    return expires_at


def rotate(api_key: ApiKey, overlap: timedelta | None = None, by: str = "") -> Issued:
    """A new key with the same owner and powers, and as long a life. The old one works
    until ``overlap`` is over, ``API_KEYS_ROTATION_OVERLAP`` when it is None; then it
    ends, and its use by somebody late does the new one no harm."""
    overlap = default_overlap() if overlap is None else overlap
    now = timezone.now()
    with transaction.atomic(using=_database()):
        issued = issue(_successor(api_key, now), by)
        ends = [now + overlap, api_key.expires_at]
        rows = ApiKey.objects.using(_database()).in_use(now)
        # Of two rotations at once, the other one was first.
        if not rows.filter(pk=api_key.pk, replaced_by=None).update(
            replaced_by=issued.api_key, expires_at=min(filter(None, ends))
        ):
            raise ValidationError(_("Only a key that is in use can be rotated."))
        api_key.refresh_from_db(using=_database())
        _announce(api_key, "rotated", by)
    return issued


def default_overlap() -> timedelta:
    overlap = read_lifetime(conf.API_KEYS_ROTATION_OVERLAP)
    assert overlap is not None  # a system check sees to it
    return overlap


def revoke(api_key: ApiKey, by: str = "") -> bool:
    """For good. True when Redis knows, or cannot believe otherwise any more; False
    when it could not be told, so that other processes may accept the key for
    ``API_KEYS_CACHE_SECONDS``. Twice is as good as once: it is told again.

    Inside a transaction of the caller's the answer is of no use: Redis is told when
    that one commits.
    """
    now = timezone.now()
    with transaction.atomic(using=_database()):
        rows = ApiKey.objects.using(_database()).filter(pk=api_key.pk, revoked_at=None)
        change = "revoked" if rows.update(revoked_at=now, revoked_by=by) else ""
        api_key.refresh_from_db(using=_database())
        revoked_at = api_key.revoked_at or now
        if change or not delivery.is_over(now - revoked_at):
            _announce(api_key, change, by)
    return not delivery.is_due(api_key.key_id)


def restrict(api_key: ApiKey, endpoints: Sequence[str] | None, by: str = "") -> None:
    """As ``endpoints`` of ``create``."""
    _put_endpoints(api_key, endpoints)
    amend(api_key, ["is_restricted", "allowed_endpoints"], by)


def amend(api_key: ApiKey, fields: Sequence[str], by: str = "") -> None:
    """Save the named fields, out of ``CHANGEABLE``, of a key that is in use."""
    names = [name for name in CHANGEABLE if name in fields]
    others = [each.name for each in ApiKey._meta.fields if each.name not in names]
    api_key.clean_fields(exclude=others)
    if "expires_at" in names:
        api_key.expires_at = bounded(api_key.expires_at, api_key.created)
    values = {name: getattr(api_key, name) for name in names}
    with transaction.atomic(using=_database()):
        # Only these columns: a revocation by somebody else must not be undone.
        rows = ApiKey.objects.using(_database()).in_use().filter(pk=api_key.pk)
        if values and not rows.update(**values):
            raise ValidationError(_("Only a key that is in use can be changed."))
        _announce(api_key, "restricted" if set(names) - {"label"} else "", by)


def _successor(api_key: ApiKey, now: datetime) -> ApiKey:
    end, longest = api_key.expires_at, read_lifetime(conf.API_KEYS_MAX_LIFETIME)
    lives = [None if end is None else end - api_key.created, longest]
    life = min((each for each in lives if each is not None), default=None)
    return ApiKey(
        owner_id=api_key.owner_id,
        label=api_key.label,
        expires_at=None if life is None else now + life,
        is_restricted=api_key.is_restricted,
        allowed_endpoints=api_key.allowed_endpoints,
        rate=api_key.rate,
    )


def _put_endpoints(api_key: ApiKey, endpoints: Sequence[str] | None) -> None:
    if not all(map(str.strip, endpoints or ())):
        raise ValidationError({"allowed_endpoints": _("A rule is empty.")})
    api_key.is_restricted = endpoints is not None
    api_key.allowed_endpoints = "\n".join(endpoints or ())


def _announce(api_key: ApiKey, change: str, by: str) -> None:
    told = partial(_tell, api_key.key_id, str(api_key.owner_id), change, by)
    transaction.on_commit(told, using=_database())


def _tell(key_id: str, user_key: str, change: str, by: str) -> None:
    delivery.tell(key_id)
    if change:
        api_key_changed.send_robust(
            ApiKey, key_id=key_id, change=change, user_key=user_key, by=by
        )


def _database() -> str:
    return router.db_for_write(ApiKey)
