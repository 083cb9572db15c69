"""Retention: whole sealed segments go, the oldest first, and their seals stay.

Each segment is a transaction of its own, so that a run that was interrupted has lost
nothing, and the next one goes on from there. Unsealed entries are never pruned.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connections, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from perfguard.audit.models import AuditEntry, AuditSeal
from perfguard.audit.seals.digests import tombstone_of
from perfguard.audit.seals.sealing import last_seal
from perfguard.audit.seals.segments import Segment, entries_of
from perfguard.conf import conf

MOST_DAYS = 365_000  # before the year 1 there is no time


@dataclass(frozen=True, slots=True)
class Pruned:
    seals: int = 0
    entries: int = 0
    kept: tuple[int, ...] = ()  # numbers of seals that do not verify


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """What may go, and how much of it at once. ``days`` and ``entries``: None is as
    set, 0 no bound; who is beyond either bound goes."""

    now: datetime | None = None
    days: int | None = None
    entries: int | None = None  # the newest, that are kept in any case by this bound
    dry_run: bool = False
    tampered: bool = False  # also what does not verify: it would be evidence
    seconds: float | None = None  # then no further segment is begun
    limit: int | None = None  # segments
    pause_ms: int = 0  # between two of them, for others to write
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def prune(self) -> Pruned:
        due = self._due()
        if self.dry_run:
            return self._would_prune(due)
        seals, entries, kept = 0, 0, []
        for seal in self._in_budget(due):
            if not self.tampered and Segment(seal, self._alias).findings():
                kept.append(seal.number)
                continue
            deleted = _prune_segment(seal, self._alias)
            seals += deleted is not None
            entries += deleted or 0
        return Pruned(seals, entries, tuple(kept))

    @property
    def is_bounded(self) -> bool:
        return any(self._bounds())

    def _bounds(self) -> tuple[int, int]:
        days = conf.AUDIT_RETENTION_DAYS if self.days is None else self.days
        entries = conf.AUDIT_RETENTION_ENTRIES if self.entries is None else self.entries
        return days, entries

    @property
    def _alias(self) -> str:
        return conf.AUDIT_DATABASE

    def _due(self) -> QuerySet[AuditSeal]:
        days, entries = self._bounds()
        is_due = Q(pk__in=())
        if days:
            kept = timedelta(days=min(days, MOST_DAYS))
            is_due |= Q(last_at__lt=(self.now or timezone.now()) - kept)
        if entries:
            is_due |= Q(number__lte=self._last_beyond(entries))
        return self._unpruned().filter(is_due)

    def _unpruned(self) -> QuerySet[AuditSeal]:
        return AuditSeal.objects.using(self._alias).filter(pruned_at=None)

    def _last_beyond(self, entries: int) -> int:
        """The number of the newest seal after which there are so many entries."""
        newest = last_seal(self._alias)
        closed = newest.last_id if newest else 0
        later = AuditEntry.objects.using(self._alias).filter(id__gt=closed).count()
        counts = self._unpruned().order_by("-number").values_list("number", "count")
        for number, count in counts.iterator(chunk_size=2000):
            if later >= entries:
                return number
            later += count
        return 0

    def _would_prune(self, due: QuerySet[AuditSeal]) -> Pruned:
        counts = due.order_by("number")[: self.limit].values_list("count", flat=True)
        chosen = list(counts)
        return Pruned(len(chosen), sum(chosen))

    def _in_budget(self, due: QuerySet[AuditSeal]) -> Iterator[AuditSeal]:
        end = None if self.seconds is None else self.clock() + self.seconds
        last, taken = 0, 0
        while self.limit is None or taken < self.limit:
            seal = due.filter(number__gt=last).order_by("number").first()
            if seal is None or (end is not None and self.clock() >= end):
                return
            yield seal
            last, taken = seal.number, taken + 1
            self.sleep(self.pause_ms / 1000)


def prune(**options: Any) -> Pruned:
    """By the options of :class:`Retention`."""
    return Retention(**options).prune()


def _prune_segment(seal: AuditSeal, alias: str) -> int | None:
    """How many entries; None if somebody else is at it, or was."""
    seals = AuditSeal.objects.using(alias).filter(pk=seal.pk, pruned_at=None)
    seal.pruned_at = timezone.now()
    with transaction.atomic(using=alias):
        if _can_skip(alias) and not seals.select_for_update(skip_locked=True):
            return None
        # Elsewhere the first statement: SQLite gives whoever has read before it writes
        # an error, not a turn.
        claimed = seals.update(
            pruned_at=seal.pruned_at, tombstone=tombstone_of(seal), ids="", marks=b""
        )
        return entries_of(seal, alias).delete()[0] if claimed else None


def _can_skip(alias: str) -> bool:
    return connections[alias].features.has_select_for_update_skip_locked
