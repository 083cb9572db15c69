"""One segment of the log, which is a seal and the entries that it closes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import QuerySet

from perfguard.audit.lines import known_keys, mac_of, row_line
from perfguard.audit.models import AuditEntry, AuditSeal
from perfguard.audit.seals.digests import (
    content_of,
    digest_of,
    has_right_tombstone,
    listing,
    mark_of,
    marks_of,
)
from perfguard.audit.seals.findings import Finding, Kind, gathered
from perfguard.audit.seals.windows import in_windows

BATCH = 500  # entries, with their bodies
SIGNED_BY = "is signed with a key that is not configured,"


def entries_of(seal: AuditSeal, alias: str) -> QuerySet[AuditEntry]:
    entries = AuditEntry.objects.using(alias).filter(id__lte=seal.last_id)
    # No sequence begins below 1: what is there was slipped in.
    return entries.filter(id__gte=seal.first_id) if seal.number > 1 else entries


@dataclass(slots=True)
class Segment:
    """Verifies itself. ``entries`` counts the rows that were read."""

    seal: AuditSeal
    alias: str
    entries: int = 0

    def findings(self) -> list[Finding]:
        """At most as many as there are rows."""
        found = list(gathered(self._findings()))
        if found and self.seal.pruned_at is None and self._is_pruned_by_now():
            # While it was read. What is left to verify is the tombstone.
            found = list(gathered(self._findings()))
        return found

    def _is_pruned_by_now(self) -> bool:
        seals = AuditSeal.objects.using(self.alias)
        fresh = seals.filter(pk=self.seal.pk, pruned_at__isnull=False).first()
        self.seal = fresh or self.seal
        self.entries = 0 if fresh else self.entries
        return fresh is not None

    def _findings(self) -> Iterator[Finding]:
        found = self._of_seal()
        if found:
            yield found
        if self.seal.pruned_at is not None:
            yield from self._of_pruned()
        elif found:
            # Its listing cannot be believed: the entries can, one by one.
            yield from self._unlisted()
        else:
            yield from self._listed()

    def _of_seal(self) -> Finding | None:
        seal = self.seal
        key = known_keys().get(seal.key_id)
        if key is None:
            return self._finding(Kind.UNKNOWN_KEY, f"{SIGNED_BY} {seal.key_id!r}.")
        is_whole = seal.pruned_at is not None or seal.content == content_of(seal)
        if is_whole and seal.digest == digest_of(seal, key):
            return None
        return self._finding(Kind.CHANGED_SEAL, "is not as it was made.")

    def _of_pruned(self) -> Iterator[Finding]:
        try:
            is_right = has_right_tombstone(self.seal)
        except KeyError as error:
            what = f"has a tombstone that is signed with an unknown key, {error}."
            yield self._finding(Kind.UNKNOWN_KEY, what)
        else:
            if not is_right:
                what = "is marked as pruned, and its tombstone is wrong."
                yield self._finding(Kind.TOMBSTONE, what)
        for row in self._rows():
            yield self._of(row, Kind.UNPRUNED, "is there, and its seal is pruned.")

    def _unlisted(self) -> Iterator[Finding]:
        for row in self._rows():
            found = of_entry(row, self.seal.number)
            if found:
                yield found

    def _listed(self) -> Iterator[Finding]:
        expected = listing(self.seal)
        clean = True
        macs = []
        for row in self._rows():
            found = self._of_listed(row, expected.pop(row.pk, None))
            macs.append(row.mac)
            if found:
                clean = False
                yield found
        for each in expected:
            what = f"Entry {each} is gone."
            yield Finding(Kind.REMOVED, what, self.seal.number, each)
        if clean and not expected and marks_of(macs) != bytes(self.seal.marks):
            yield self._finding(Kind.EXCHANGED, "closed other entries than these.")

    def _of_listed(self, row: AuditEntry, mark: bytes | None) -> Finding | None:
        if mark is None:
            return self._of(row, Kind.INSERTED, "was not there when it was sealed.")
        found = of_entry(row, self.seal.number)
        if found is None and mark_of(row.mac) != mark:
            what = "holds something else than was sealed, though it is signed."
            return self._of(row, Kind.EXCHANGED, what)
        return found

    def _rows(self) -> Iterator[AuditEntry]:
        for row in in_windows(entries_of(self.seal, self.alias), BATCH):
            self.entries += 1
            yield row

    def _finding(self, kind: Kind, what: str) -> Finding:
        return Finding(kind, f"Seal {self.seal.number} {what}", self.seal.number)

    def _of(self, row: AuditEntry, kind: Kind, what: str) -> Finding:
        return Finding(kind, f"Entry {row.pk} {what}", self.seal.number, row.pk)


def of_entry(row: AuditEntry, seal: int | None = None) -> Finding | None:
    """By its own MAC alone."""
    key = known_keys().get(row.key_id)
    if key is None:
        what = f"Entry {row.pk} {SIGNED_BY} {row.key_id!r}."
        return Finding(Kind.UNKNOWN_KEY, what, seal, row.pk, key_id=row.key_id)
    try:
        line = row_line(row)
    except (AttributeError, TypeError, ValueError):
        line = b""  # SQLite keeps anything in any column
    # No comparison in constant time: who could measure it has the log.
    if mac_of(line, key) == row.mac:
        return None
    what = f"Entry {row.pk} is not as it was written."
    return Finding(Kind.CHANGED, what, seal, row.pk)
