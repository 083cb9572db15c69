"""How many reports are looked at: a flood costs little more than reading its bodies."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable

from perfguard.conf import conf

logger = logging.getLogger("perfguard.headers")

SECONDS = 60.0
# Of all that is stored in a minute, so that no client drives out the others.
SHARE_OF_ONE = 0.25


class Intake:
    """Counts by minutes, in this process. Memory is bounded by the number that a
    minute takes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._lock = threading.Lock()
        self._ends = float("-inf")
        self._taken: Counter[str] = Counter()
        self._left_out = 0

    def takes(self, client: str) -> bool:
        with self._lock:
            if self.clock() >= self._ends:
                self._begin()
            most = conf.HEADERS_REPORTS_PER_MINUTE
            share = max(1, int(most * SHARE_OF_ONE))
            if self._taken.total() >= most or self._taken[client] >= share:
                self._left_out += 1
                return False
            self._taken[client] += 1
            return True

    def _begin(self) -> None:
        if self._left_out:
            logger.warning("%s CSP reports were left out.", self._left_out)
        self._ends = self.clock() + SECONDS
        self._left_out = 0
        self._taken.clear()


intake = Intake()
