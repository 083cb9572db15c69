"""How many sockets are open in this process, in all and for each identity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from perfguard.conf import conf
from perfguard.sockets.refusals import refused

RETRY_AFTER = 5  # seconds; somebody may have left by then


class Slots:
    """Only the event loop's thread takes and gives back."""

    def __init__(self) -> None:
        self.taken = 0
        self.by_identity: Counter[str] = Counter()

    @contextmanager
    def any(self) -> Iterator[None]:
        """Raises Refused, 503, when this process has as many as it may."""
        if self.taken >= conf.SOCKET_MAX_PER_WORKER:
            detail = "There are too many sockets here just now."
            raise refused(503, "too_many_sockets", detail, RETRY_AFTER)
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1

    @contextmanager
    def of(self, identity: str) -> Iterator[None]:
        """Raises Refused, 429, when the identity has as many as it may."""
        if self.by_identity[identity] >= conf.SOCKET_MAX_PER_IDENTITY:
            detail = "You have too many sockets open. Close one first."
            raise refused(429, "too_many_sockets", detail, RETRY_AFTER)
        self.by_identity[identity] += 1
        try:
            yield
        finally:
            self.by_identity[identity] -= 1
            if not self.by_identity[identity]:
                del self.by_identity[identity]
