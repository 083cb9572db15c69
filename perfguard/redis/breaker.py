"""The circuit breaker of one Redis server."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from perfguard.signals import circuit_changed

logger = logging.getLogger("perfguard.redis")

SETTLED = 10.0  # seconds after which a server that came back counts as well
LONGEST_PAUSE = 10.0  # seconds between two probes of a server that does not settle


class Circuit:
    """Closed: calls pass. Open: nobody calls, and a thread looks for Redis.

    The first failure opens it: a call has already waited for a whole time-out by
    then, and the next ones should not. No request ever pays for a probe.
    """

    def __init__(self, server: str, probe: Callable[[], None], interval: float) -> None:
        self.server = server
        self.is_open = False
        self.last_error: BaseException | None = None
        self._probe = probe
        self._interval = interval  # seconds
        self._pause = interval
        self._opened_at = 0.0
        self._closed_at = -SETTLED
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def open(self, error: BaseException) -> None:
        with self._lock:
            if self.is_open or self._ended.is_set():
                return
            now = time.monotonic()
            # Probes that pass while calls fail would have it open and close for ever.
            flaps = now - self._closed_at < SETTLED
            self._pause = (
                min(2 * self._pause, LONGEST_PAUSE) if flaps else self._interval
            )
            self._opened_at = now
            self.is_open = True
            self.last_error = error
        logger.warning(
            "Redis at %s is away (%s: %s). Limits go on in this process's memory, or "
            "as on_redis_failure of their scope says.",
            self.server,
            type(error).__name__,
            error,
        )
        self._tell(error)
        try:
            threading.Thread(
                target=self._watch, name=f"perfguard-probe-{self.server}", daemon=True
            ).start()
        except RuntimeError:  # no thread to be had: the next failure tries again
            self.is_open = False

    def end(self) -> None:
        """Stop the probes of a server that is no longer in use."""
        self._ended.set()

    def _watch(self) -> None:
        # Jitter keeps the processes of a fleet from knocking all at once.
        while not self._ended.wait(self._pause * random.uniform(0.8, 1.2)):  # noqa: S311
            try:
                self._probe()
            except Exception as error:  # noqa: BLE001 (a dead probe finds nothing)
                self.last_error = error
            else:
                self._close()
                return

    def _close(self) -> None:
        with self._lock:
            self.is_open = False
            self.last_error = None
            self._closed_at = time.monotonic()
        seconds = self._closed_at - self._opened_at
        logger.warning("Redis at %s is back after %.1f s.", self.server, seconds)
        self._tell(None)

    def _tell(self, error: BaseException | None) -> None:
        # A failing receiver must neither end the probe thread nor a request: it is
        # logged by Django.
        circuit_changed.send_robust(
            type(self), server=self.server, is_open=error is not None, error=error
        )
