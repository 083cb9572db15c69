"""Whether Redis may have to be told something that the journal has said already.

It was not told when it was away, or when a process ended between the commit and the
telling; and the database may be away when Redis is back.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from django.core.signals import setting_changed
from django.db import Error

logger = logging.getLogger("perfguard.tokens")

PAUSE = 1.0  # seconds between two tries


class Arrears:
    """Of this process. A new one has some: it may replace one that was killed."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.due = True
        self.in_use = False  # whether this process has to do with tokens at all
        self._clock = clock
        self._next = 0.0
        self._lock = threading.Lock()

    def settle(self, deliver: Callable[[], bool], *, at_once: bool = False) -> None:
        """Have ``deliver`` tell Redis all, if anything is due; one thread at a time.
        What fails is tried again by a later call, after a pause."""
        self.in_use = True
        if not self.due or not self._lock.acquire(blocking=False):
            return
        try:
            if at_once or self._clock() >= self._next:
                self._next = self._clock() + PAUSE
                self._have_told(deliver)
        except Error:
            logger.warning("The journal could not be read for Redis.", exc_info=True)
        finally:
            self._lock.release()

    def _have_told(self, deliver: Callable[[], bool]) -> None:
        self.due = False  # before, so that what fails meanwhile is not missed
        done = False
        try:
            done = deliver()
        finally:
            self.due = self.due or not done


arrears = Arrears()


def _reload(*, setting: str, **kwargs: Any) -> None:
    if setting in {"PERFGUARD", "CACHES"}:
        arrears.in_use = False  # with this Redis


setting_changed.connect(_reload, dispatch_uid="perfguard.tokens.arrears")
