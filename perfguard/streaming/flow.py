"""What a stream sends when: deltas, heartbeats and the stream's end.

It knows nothing of threads, loops and sockets: time is passed in, bytes come out.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from math import inf
from typing import Any

from django.utils.translation import gettext as _

from perfguard.conf import conf
from perfguard.streaming.events import HEARTBEAT, Event, as_event, encoded, frame

logger = logging.getLogger("perfguard.streaming")


class Flow:
    """``deltas`` is how many strings make one message."""

    def __init__(self, deltas: int, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._heartbeat = conf.STREAM_HEARTBEAT
        self._size = deltas
        self._hurry = conf.STREAM_FLUSH_MS / 1000 or inf
        self._largest = conf.STREAM_EVENT_BYTES or inf
        self._deltas: list[bytes] = []
        self._flush_at = inf
        self._sent_at = self._asked_at = clock()
        self._ends_at = self._sent_at + (conf.STREAM_MAX_SECONDS or inf)
        self._has_dropped = False
        self.events = 0  # messages sent

    def received(self, value: Any) -> bytes:
        """What to send now that the source gave this; nothing while deltas gather.

        Raises InvalidEvent.
        """
        if not isinstance(value, str | bytes):
            event = as_event(value)
            return self.flush() + self._framed(event)
        now = self._clock()
        if not self._deltas:
            self._flush_at = now + self._hurry
        self._deltas.append(encoded(value))
        is_due = len(self._deltas) >= self._size or now >= self._flush_at
        return self.flush() if is_due else b""

    def elapsed(self) -> bytes:
        """What is due, whether or not the source gave anything."""
        now = self._clock()
        if now >= self._flush_at:
            return self.flush()
        return self._sent(HEARTBEAT) if now >= self._sent_at + self._heartbeat else b""

    def flush(self) -> bytes:
        """The deltas that have gathered, as one message."""
        if not self._deltas:
            return b""
        deltas, self._deltas, self._flush_at = self._deltas, [], inf
        return self._framed(Event(b"".join(deltas)))

    @property
    def patience(self) -> float:
        """Seconds until something is due."""
        beat = min(self._sent_at, self._asked_at) + self._heartbeat
        return max(0.0, min(beat, self._flush_at, self._ends_at) - self._clock())

    @property
    def has_expired(self) -> bool:
        return self._clock() >= self._ends_at

    def asks(self) -> bool:
        """Whether it is time to ask if the client may still listen; once each time."""
        now = self._clock()
        if now < self._asked_at + self._heartbeat:
            return False
        self._asked_at = now
        return True

    def failure(self) -> bytes:
        # No more than that: the log has the rest.
        event = Event({"detail": _("The stream has failed.")}, event="error")
        return self.flush() + self._sent(frame(event))

    def closing(self, reason: str) -> bytes:
        """The last event of a stream that the server ends."""
        # Not the same for all: they would all be back at once.
        retry = random.randint(conf.STREAM_RETRY_MS, 2 * conf.STREAM_RETRY_MS)  # noqa: S311
        event = Event({"reason": reason}, event="close", retry=retry)
        return self.flush() + self._sent(frame(event))

    def _framed(self, event: Event) -> bytes:
        chunk = frame(event)
        if len(chunk) > self._largest:
            self._note_dropped(len(chunk))
            return b""
        self.events += 1
        return self._sent(chunk)

    def _sent(self, chunk: bytes) -> bytes:
        self._sent_at = self._clock()
        return chunk

    def _note_dropped(self, size: int) -> None:
        if not self._has_dropped:
            logger.warning(
                "An event of %d bytes was dropped: STREAM_EVENT_BYTES is %d. This is "
                "told once for each stream.",
                size,
                self._largest,
            )
        self._has_dropped = True
