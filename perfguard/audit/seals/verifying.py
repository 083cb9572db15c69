"""Verification of the whole log, or of a part of it, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from pathlib import Path

from django.db.models import Max, Min, QuerySet

from perfguard.audit.models import AuditEntry, AuditSeal
from perfguard.audit.seals.anchor import Anchored, read_anchor
from perfguard.audit.seals.findings import Finding, Kind, gathered
from perfguard.audit.seals.segments import BATCH, Segment, of_entry
from perfguard.audit.seals.windows import in_windows
from perfguard.conf import conf

SEALS = 20  # at a time, with their listings
NO_BOUND = 2**63 - 1


@dataclass(slots=True, kw_only=True)
class Verification:
    """From seal ``first`` to ``last``, or of those that close entries of the time from
    ``since`` to ``until``. The counts are right once all findings were taken."""

    first: int | None = None
    last: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    anchor: Path | None = None

    seals: int = field(default=0, init=False)
    pruned: int = field(default=0, init=False)  # of these seals
    entries: int = field(default=0, init=False)  # sealed ones
    unsealed: int = field(default=0, init=False)

    def findings(self) -> Iterator[Finding]:
        """OSError if the anchor cannot be read, ValueError if nothing in it can."""
        if self.anchor:
            yield from self._of_anchor(self.anchor)
        first, last = self._bounds()
        previous = self._before(first)
        for seal in in_windows(self._seals(first, last), SEALS):
            yield from self._of_link(seal, previous)
            yield from self._of_segment(seal)
            previous = seal
        if self.last is None and self.until is None:
            closed = previous.last_id if previous else 0
            yield from gathered(self._of_unsealed(closed))

    def _bounds(self) -> tuple[int, int]:
        """Of numbers, also for times: what was replayed late is not in their order."""
        first, last = self.first or 1, self.last or NO_BOUND
        if self.since is None and self.until is None:
            return first, last
        seals = self._seals(first, last).order_by()
        if self.since is not None:
            seals = seals.filter(last_at__gte=self.since)
        if self.until is not None:
            seals = seals.filter(first_at__lte=self.until)
        found = seals.aggregate(first=Min("number"), last=Max("number"))
        if found["first"] is None:  # the unsealed are left
            return NO_BOUND, NO_BOUND
        # Without an end, what is sealed meanwhile belongs to it.
        return found["first"], NO_BOUND if self.until is None else found["last"]

    def _seals(self, first: int, last: int) -> QuerySet[AuditSeal]:
        return self._all_seals().filter(number__gte=first, number__lte=last)

    def _before(self, first: int) -> AuditSeal | None:
        """What the chain hangs on, if not all of it is verified."""
        before = self._all_seals().filter(number__lt=first)
        return before.order_by("-number").first()

    def _of_link(
        self, seal: AuditSeal, previous: AuditSeal | None
    ) -> Iterator[Finding]:
        last, closed, digest = 0, 0, ""
        if previous:
            last, closed, digest = previous.number, previous.last_id, previous.digest
        if seal.number > last + 1:
            yield from self._of_gap(last + 1, seal, closed)
        elif (seal.first_id, seal.previous) != (closed + 1, digest):
            what = f"Seal {seal.number} does not continue the one before it."
            yield Finding(Kind.BROKEN_CHAIN, what, seal.number)

    def _of_gap(self, number: int, seal: AuditSeal, closed: int) -> Iterator[Finding]:
        what = f"Of the seals {number} to {seal.number - 1} there is none."
        yield Finding(Kind.MISSING_SEALS, what, number)
        between = self._all_entries().filter(id__gt=closed, id__lt=seal.first_id)
        found = map(of_entry, in_windows(between, BATCH))
        yield from gathered(filter(None, found))

    def _of_segment(self, seal: AuditSeal) -> list[Finding]:
        segment = Segment(seal, conf.AUDIT_DATABASE)
        found = segment.findings()
        self.seals += 1
        self.pruned += segment.seal.pruned_at is not None
        self.entries += segment.entries
        return found

    def _of_unsealed(self, closed: int) -> Iterator[Finding]:
        for row in in_windows(self._all_entries().filter(id__gt=closed), BATCH):
            self.unsealed += 1
            found = of_entry(row)
            if found:
                yield found

    def _of_anchor(self, path: Path) -> Iterator[Finding]:
        newest = None
        for batch in read_anchor(path):
            newest = max([*batch, newest or batch[0]], key=attrgetter("number"))
            yield from self._of_anchored(batch)
        if newest is None:
            raise ValueError(f"{str(path)!r} holds no line of an anchor.")
        seal = self._all_seals().order_by("-number").first()
        ends_with = seal.number if seal else 0
        if ends_with < newest.number:
            what = (
                f"The log ends with seal {ends_with}; the anchor knows seal "
                f"{newest.number}, which closes entries up to {newest.last_id}."
            )
            yield Finding(Kind.TRUNCATED, what, newest.number)

    def _of_anchored(self, batch: list[Anchored]) -> Iterator[Finding]:
        numbers = {each.number for each in batch}
        known = self._all_seals().filter(number__in=numbers)
        digests = dict(known.values_list("number", "digest"))
        for each in batch:
            if digests.get(each.number, each.digest) != each.digest:
                what = f"Seal {each.number} is another one than in the anchor."
                yield Finding(Kind.NOT_ANCHORED, what, each.number)

    def _all_seals(self) -> QuerySet[AuditSeal]:
        return AuditSeal.objects.using(conf.AUDIT_DATABASE)

    def _all_entries(self) -> QuerySet[AuditEntry]:
        return AuditEntry.objects.using(conf.AUDIT_DATABASE)
