"""The same windows in the memory of one process: bounded, sharded and locked."""

from __future__ import annotations

import threading
import time
from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from heapq import heapify, heappop, heappush

from perfguard.conf import conf
from perfguard.throttling.plans import Group, Plan, ScopedRate

SHARDS = 16
COMPACT = 64  # entries that have left, before they are cut off


class Log:
    """One window: stamps in milliseconds, the oldest first.

    ``befores`` counts the hits before each bucket; it is None where each stamp is
    one hit. The arithmetic is that of ``lua/window.lua``.
    """

    __slots__ = (
        "befores",
        "first",
        "period_ms",
        "stamps",
        "step_ms",
        "total",
    )

    def __init__(self, scoped: ScopedRate) -> None:
        self.step_ms = scoped.step_ms
        self.period_ms = scoped.rate.period * 1000
        self.stamps = array("q")
        self.befores = None if scoped.step_ms == 1 else array("q")
        self.first = 0  # index of the oldest entry that still counts
        self.total = 0  # hits in all buckets, also in those that have left

    def used(self, now: int) -> int:
        """Hits in the window, after those that have left it are dropped for good."""
        stamps = self.stamps
        size = len(stamps)
        first = self.first
        if first == size:
            return 0
        if stamps[-1] > now:
            stamps = self._step_back(now)
        gone = now - self.period_ms
        if stamps[first] <= gone:
            first += 1
            while first < size and stamps[first] <= gone:
                first += 1
            self._drop(first)
        return self.count()

    def count(self) -> int:
        """Hits since the oldest that counted when it was last looked at."""
        if self.befores is None:
            return len(self.stamps) - self.first
        if self.first == len(self.stamps):
            return 0
        return self.total - self.befores[self.first]

    def add(self, now: int, cost: int, limit: int) -> None:
        cost = min(cost, limit)  # more would fill it no more
        if self.befores is None:
            for _ in range(cost):
                self.stamps.append(now)
            beyond = len(self.stamps) - limit
            if beyond > self.first:  # of counted refused hits, the newest decide
                self._drop(beyond)
            return
        at = self._end(now)
        # Never before the newest, also where the clock went back.
        if self.first == len(self.stamps) or self.stamps[-1] < at:
            self.stamps.append(at)
            self.befores.append(self.total)
        self.total += cost

    def reset_ms(self, now: int, needed: int) -> int:
        """Milliseconds until ``needed`` of the counted hits have left."""
        entry = self.first
        if self.befores is None:
            entry += needed - 1
        elif needed > 1:
            base, last = self.befores[entry], len(self.stamps) - 1
            while entry < last and self.befores[entry + 1] - base < needed:
                entry += 1
        return self.stamps[entry] + self.period_ms - now

    @property
    def free_at(self) -> int:
        return self.stamps[-1] + self.period_ms if self.stamps else 0

    def _end(self, now: int) -> int:
        return -(-now // self.step_ms) * self.step_ms

    def _step_back(self, now: int) -> array[int]:
        # The clock went back, by so much at least: the newest hit is no older than the
        # start of its bucket. Hits keep their ages, so that nobody gains.
        ahead = self.stamps[-1] - self.step_ms + 1 - now
        if ahead > 0:
            self.stamps = array("q", [stamp - ahead for stamp in self.stamps])
        return self.stamps

    def _drop(self, first: int) -> None:
        """Forget the entries before ``first``, many at a time."""
        if first > COMPACT and 2 * first > len(self.stamps):
            del self.stamps[:first]
            if self.befores is not None:
                del self.befores[:first]
            first = 0
        self.first = first


Key = tuple[str, str]  # an identity and the suffix of a window


class Shard:
    """A share of the windows. Those that refuse are evicted last, so that churn
    frees nobody, and the soonest to be free among them first; of the others the
    least recently used goes first."""

    __slots__ = ("_free", "full", "lock", "open", "size")

    def __init__(self, size: int) -> None:
        self.lock = threading.Lock()
        self.size = size
        self.open: OrderedDict[Key, Log] = OrderedDict()
        self.full: dict[Key, Log] = {}
        self._free: list[tuple[int, Key]] = []  # a heap: when a full window empties

    def get(self, key: Key) -> Log | None:
        return self.open.get(key) or self.full.get(key)

    def put(self, key: Key, log: Log, *, full: bool, now: int) -> None:
        if full:
            self.open.pop(key, None)
            self.full[key] = log
            heappush(self._free, (log.free_at, key))
            if len(self._free) > 2 * len(self.full) + COMPACT:  # forget what is old
                self._free = [(each.free_at, at) for at, each in self.full.items()]
                heapify(self._free)
        elif key in self.open:
            self.open.move_to_end(key)
            return
        else:
            self.full.pop(key, None)
            self.open[key] = log
        if len(self.open) + len(self.full) > self.size:
            self._evict(key, now)

    def drop(self, key: Key) -> None:
        self.open.pop(key, None)
        self.full.pop(key, None)

    def _evict(self, newest: Key, now: int) -> None:
        oldest = next(iter(self.open), newest)
        free_at, soonest = self._soonest(newest)
        if soonest is not None and (free_at <= now or oldest == newest):
            del self.full[soonest]
        elif oldest != newest:
            del self.open[oldest]

    def _soonest(self, newest: Key) -> tuple[int, Key | None]:
        """The full window that empties first, but for the newest of all."""
        held = None
        while self._free:
            free_at, key = self._free[0]
            log = self.full.get(key)
            if log is not None and log.free_at == free_at and key != newest:
                break
            # What the heap knows of it is old, or it is the newest.
            popped = heappop(self._free)
            if log is not None and log.free_at == free_at:
                held = popped
        found = self._free[0] if self._free else (0, None)
        if held is not None:
            heappush(self._free, held)
        return found


class MemoryWindowStore:
    """``clock`` gives seconds; one that never goes back is best."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, size: int | None = None
    ) -> None:
        size = conf.THROTTLE_MEMORY_SIZE if size is None else size
        self._clock = clock
        self._shards = [Shard(max(1, size // SHARDS)) for _ in range(SHARDS)]

    def __len__(self) -> int:
        return sum(len(shard.open) + len(shard.full) for shard in self._shards)

    def hit(self, groups: Sequence[Group]) -> Sequence[int]:
        return self._decide(groups, counting=True)

    def peek(self, groups: Sequence[Group]) -> Sequence[int]:
        return self._decide(groups, counting=False)

    def reset(self, identity: str, plan: Plan) -> None:
        shard = self._shard(identity)
        with shard.lock:
            for scoped, _ in plan.limits:
                shard.drop((identity, scoped.suffix))

    def _shard(self, identity: str) -> Shard:
        return self._shards[hash(identity) % SHARDS]

    def _decide(self, groups: Sequence[Group], counting: bool) -> Sequence[int]:
        if len(groups) == 1:
            shard = self._shard(groups[0][0])
            with shard.lock:
                return self._locked(groups, counting)
        # Always in the same order, so that no two threads wait for each other.
        indexes = sorted({hash(identity) % SHARDS for identity, _ in groups})
        with ExitStack() as stack:
            for index in indexes:
                stack.enter_context(self._shards[index].lock)
            return self._locked(groups, counting)

    def _locked(self, groups: Sequence[Group], counting: bool) -> Sequence[int]:
        now = int(self._clock() * 1000)
        asked = []
        allowed = True
        for identity, plan in groups:
            shard = self._shard(identity)
            for scoped, cost in plan.limits:
                key = (identity, scoped.suffix)
                log = shard.get(key) or Log(scoped)
                used = log.used(now)
                if used + cost > scoped.rate.limit:
                    allowed = False
                asked.append((shard, key, log, scoped, cost, used))
        reply = [int(allowed)]
        for shard, key, log, scoped, cost, used in asked:
            if counting and (allowed or scoped.count_refused):
                log.add(now, cost, scoped.rate.limit)
                full = used + cost >= scoped.rate.limit
                shard.put(key, log, full=full, now=now)
                count = log.count()
            else:
                count = used
            # A refused hit that was counted may have filled a window that had room.
            # A cost above the limit never fits; an empty window has no wait.
            refused = not allowed and count + cost > scoped.rate.limit
            needed = count + cost - scoped.rate.limit if refused else 1
            reset_ms = log.period_ms if refused else 0
            if needed <= count:
                reset_ms = log.reset_ms(now, needed)
            reply += (max(0, scoped.rate.limit - count), reset_ms)
        return reply
