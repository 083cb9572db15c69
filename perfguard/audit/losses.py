"""What was lost, and how that comes to be on record."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from perfguard.audit.entries import Entry, new_id, now
from perfguard.audit.lines import dumps, to_line
from perfguard.signals import audit_entries_dropped


def loss_line(sink: str, reason: str, count: int) -> bytes:
    details = dumps({"sink": sink, "reason": reason, "count": count})
    return to_line(
        Entry(entry_id=new_id(), at=now(), kind="entries_dropped", details=details)
    )


class Losses:
    """How many lines a writer lost, by reason; what of it is on record already."""

    def __init__(self, sink: str) -> None:
        self.sink = sink
        self._lock = threading.Lock()
        self._total: dict[str, int] = {}
        self._recorded: dict[str, int] = {}

    def add(self, reason: str, count: int = 1) -> None:
        """To be called without any lock: receivers may write entries of their own."""
        with self._lock:
            self._total[reason] = self._total.get(reason, 0) + count
        audit_entries_dropped.send_robust(
            Losses, sink=self.sink, reason=reason, count=count
        )

    def total(self) -> dict[str, int]:
        with self._lock:
            return dict(self._total)

    def unrecorded(self) -> dict[str, int]:
        with self._lock:
            return {
                reason: count - self._recorded.get(reason, 0)
                for reason, count in self._total.items()
                if count > self._recorded.get(reason, 0)
            }

    def recorded(self, counts: dict[str, int]) -> None:
        with self._lock:
            for reason, count in counts.items():
                self._recorded[reason] = self._recorded.get(reason, 0) + count


class LossRecords:
    """A source of entries that say what was lost, by all writers of the process. They
    pass no queue: where that is full, they are wanted most."""

    def __init__(self, losses: Sequence[Losses]) -> None:
        self._losses = losses
        self._taken: list[tuple[Losses, dict[str, int]]] = []

    def put(self, line: bytes) -> bool:
        return False

    def take(self, most: int) -> list[bytes]:
        self._taken = [(each, each.unrecorded()) for each in self._losses]
        return [
            loss_line(each.sink, reason, count)
            for each, counts in self._taken
            for reason, count in counts.items()
        ]

    def done(self, lines: list[bytes]) -> None:
        for each, counts in self._taken:
            each.recorded(counts)

    def waiting(self) -> int:
        return sum(len(each.unrecorded()) for each in self._losses)
