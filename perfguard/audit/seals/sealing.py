"""Seals: chained batches of entries, made apart from the requests.

Whoever inserts entries holds a shared lock until its transaction is over
(:func:`hold_shared`). The sealer takes the exclusive one for the moment in which it
looks up the newest id: nobody is writing then, and ids only grow, so that an id up to
that one cannot appear later. What it seals is read afterwards, without a lock.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from functools import partial

from django.db import IntegrityError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Max, Min
from django.utils import timezone

from perfguard.audit.lines import signing_key
from perfguard.audit.models import AuditEntry, AuditSeal
from perfguard.audit.seals import anchor
from perfguard.audit.seals.digests import content_of, digest_of, marks_of, ranges_of
from perfguard.conf import conf

LOCK = 0x70677564  # "pgud", the int8 of an advisory lock of PostgreSQL
LOCK_MS = 1000  # writers queue behind the sealer for so long at most
LOCK_NOT_AVAILABLE = "55P03"  # PostgreSQL, appendix A
# Other databases tell nothing of who is writing: what is younger is not sealed there.
UNSETTLED = timedelta(minutes=10)


def hold_shared(connection: BaseDatabaseWrapper) -> None:
    """Until the end of the transaction, which the caller has begun. Elsewhere than on
    PostgreSQL nothing is held: see :func:`horizon`."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [LOCK])


def hold_exclusive(connection: BaseDatabaseWrapper) -> bool:
    """Until the end of the transaction, which the caller has begun; False if the
    writers did not end in time. SQLite has one writer at a time anyway."""
    if connection.vendor != "postgresql":
        return True
    try:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            # Waiting in its queue, and not trying again and again: writers that
            # overlap for ever would never let it in.
            limit = f"{LOCK_MS}ms"
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [limit])
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    except OperationalError as error:
        cause = error.__cause__  # of psycopg, or of its older version
        code = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
        if code == LOCK_NOT_AVAILABLE:
            return False
        raise
    return True


def seal(limit: int | None = None) -> int:
    """Seal what is not sealed, in seals of AUDIT_SEAL_ENTRIES, at most ``limit`` of
    them. Returns how many entries; 0, too, when somebody else is at it just now."""
    alias = conf.AUDIT_DATABASE
    newest = horizon(alias)
    sealed = 0
    for _ in range(sys.maxsize if limit is None else limit):
        made = _next_seal(alias, newest)
        if made is None or not _is_saved(made, alias):
            break
        sealed += made.count
    return sealed


def horizon(alias: str) -> int:
    """The id up to which no entry can appear any more; 0 if that cannot be known."""
    connection = connections[alias]
    entries = AuditEntry.objects.using(alias).order_by()
    with transaction.atomic(using=alias):
        if not hold_exclusive(connection):
            return 0
        newest: int = entries.aggregate(id=Max("id"))["id"] or 0
    if connection.vendor in {"postgresql", "sqlite"}:
        return newest
    young = entries.filter(at__gte=timezone.now() - UNSETTLED)
    first = young.aggregate(id=Min("id"))["id"]
    return newest if first is None else first - 1


def _next_seal(alias: str, newest: int) -> AuditSeal | None:
    before = last_seal(alias)
    first = before.last_id + 1 if before else 1
    rows = list(
        AuditEntry.objects.using(alias)
        .filter(id__gte=first, id__lte=newest)
        .order_by("id")
        .values_list("id", "mac", "at")[: conf.AUDIT_SEAL_ENTRIES]
    )
    if not rows:
        return None
    ids, macs, times = zip(*rows, strict=True)
    made = AuditSeal(
        number=before.number + 1 if before else 1,
        # Not the first id that there is: nothing can be slipped in between two seals.
        first_id=first,
        last_id=ids[-1],
        count=len(ids),
        first_at=min(times),
        last_at=max(times),
        ids=ranges_of(ids),
        marks=marks_of(macs),
        previous=before.digest if before else "",
        sealed_at=timezone.now(),
    )
    return _signed(made)


def last_seal(alias: str) -> AuditSeal | None:
    seals = AuditSeal.objects.using(alias).defer("ids", "marks")
    return seals.order_by("-number").first()


def _signed(made: AuditSeal) -> AuditSeal:
    made.key_id, key = signing_key()
    made.content = content_of(made)
    made.digest = digest_of(made, key)
    return made


def _is_saved(made: AuditSeal, alias: str) -> bool:
    """False if somebody else made a seal of this number: the chain cannot fork."""
    try:
        with transaction.atomic(using=alias):
            made.save(using=alias, force_insert=True)
    except IntegrityError:
        return False
    transaction.on_commit(partial(anchor.append, alias), using=alias)
    return True
