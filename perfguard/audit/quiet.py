"""What is told once a minute, however often it happens."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

QUIET_SECONDS = 60.0
MOST_QUIET = 10_000  # things that were told of; then the oldest is forgotten


class Quiet:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.renew()

    def renew(self) -> None:
        """Also for a child of fork, in which nobody would release the lock."""
        self._lock = threading.Lock()
        self._until: OrderedDict[Any, float] = OrderedDict()  # oldest first

    def begins(self, what: Any) -> bool:
        """Whether nothing was told of it lately."""
        now = self._clock()
        with self._lock:
            if self._until.get(what, 0.0) > now:
                return False
            self._until.pop(what, None)
            self._until[what] = now + QUIET_SECONDS
            if len(self._until) > MOST_QUIET:
                self._until.popitem(last=False)
        return True


quiet = Quiet()
