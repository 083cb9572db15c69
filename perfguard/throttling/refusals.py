"""The local refusal cache: a flood is refused without asking Redis."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from perfguard.conf import conf
from perfguard.throttling.plans import Group

Groups = tuple[Group, ...]


class Refusals:
    """Refusals that a store has given, each repeated until there would be room.

    An exact window knows that moment, so that no answer from here is wrong; it is
    asked again after ``THROTTLE_REFUSAL_CACHE_SECONDS`` all the same, since another
    process may have reset the window.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._lock = threading.Lock()
        # The groups hold identity, rates and cost; the values are the time asked,
        # the time until which it is good, and the reply.
        self._entries: dict[Groups, tuple[float, float, Sequence[int]]] = {}
        self._stretch = conf.THROTTLE_REFUSAL_CACHE_SECONDS
        self._size = conf.THROTTLE_REFUSAL_CACHE_SIZE

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, groups: Groups) -> Sequence[int] | None:
        entry = self._entries.get(groups) if self._entries else None
        if entry is None:
            return None
        asked_at, until, reply = entry
        now = self.clock()
        if now >= until:
            with self._lock:
                if self._entries.get(groups) is entry:  # and not a newer one
                    del self._entries[groups]
            return None
        elapsed_ms = int((now - asked_at) * 1000)
        aged = list(reply)
        for at in range(2, len(aged), 2):
            aged[at] = max(0, aged[at] - elapsed_ms)
        return aged

    def put(
        self, groups: Groups, reply: Sequence[int], asked_at: float, wait: float
    ) -> None:
        """``asked_at`` is the time just before the store was asked, so that the
        way back never prolongs a refusal; ``wait`` is in seconds."""
        if not all(plan.cached for _, plan in groups):
            return
        until = asked_at + min(wait, self._stretch)
        with self._lock:
            self._entries.pop(groups, None)
            if len(self._entries) >= self._size:
                del self._entries[next(iter(self._entries))]
            self._entries[groups] = asked_at, until, reply

    def forget(self, identity: str) -> None:
        with self._lock:
            for groups in list(self._entries):
                if any(identity == each for each, _ in groups):
                    self._entries.pop(groups, None)
