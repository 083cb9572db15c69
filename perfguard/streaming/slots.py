"""How many streams a process has open, for everybody and for each identity."""

from __future__ import annotations

import os
import threading
from collections import Counter
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from perfguard.conf import conf

WORKER = "worker"
IDENTITY = "identity"


class Full(Exception):
    """``whose`` limit is reached: WORKER or IDENTITY."""

    def __init__(self, whose: str) -> None:
        super().__init__(whose)
        self.whose = whose


@dataclass(frozen=True, slots=True)
class Slot:
    identity: str
    _returned: SimpleQueue[str]

    def give_back(self) -> None:
        """No lock: the garbage collector may call this at any moment, in a thread that
        holds the lock. The next who asks for a slot settles what came back."""
        self._returned.put(self.identity)


class Slots:
    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()
        self._returned: SimpleQueue[str] = SimpleQueue()

    def take(self, identity: str) -> Slot:
        """Raises Full."""
        with self._lock:
            self._settle()
            if self._taken.total() >= conf.STREAM_MAX_PER_WORKER:
                raise Full(WORKER)
            if self._taken[identity] >= conf.STREAM_MAX_PER_IDENTITY:
                raise Full(IDENTITY)
            self._taken[identity] += 1
            return Slot(identity, self._returned)

    def taken(self) -> int:
        with self._lock:
            self._settle()
            return self._taken.total()

    def _settle(self) -> None:
        # With the lock held.
        while True:
            try:
                identity = self._returned.get_nowait()
            except Empty:
                return
            self._taken[identity] -= 1
            if not self._taken[identity]:
                del self._taken[identity]


slots = Slots()
# A fork has none of its parent's streams; what it gives back of them goes nowhere.
os.register_at_fork(after_in_child=slots.reset)


def outnumber_threads() -> bool:
    """Whether streams may take every thread of a worker, so that nothing else is
    answered; False where ``STREAM_WORKER_THREADS`` does not tell how many there are."""
    return 0 < conf.STREAM_WORKER_THREADS <= conf.STREAM_MAX_PER_WORKER
