"""What a client that comes back has missed."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace
from typing import Any
from uuid import uuid4

from perfguard.streaming.events import Event, as_event


class ReplayBuffer:
    """The last ``size`` events, in this process's memory.

    Another process has another buffer: a client that comes back to that one has an id
    which it does not know.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"size is {size!r}: use 1 or more.")
        self._lock = threading.Lock()
        self._events: deque[Event] = deque(maxlen=size)
        self._era = uuid4().hex[:8]  # so that no id is another buffer's, too
        self._next = 0

    def add(self, value: Any) -> Event:
        """The event, with its id, to be sent to those who listen now."""
        with self._lock:
            self._next += 1
            event = replace(as_event(value), id=f"{self._era}-{self._next}")
            self._events.append(event)
            return event

    def since(self, last_event_id: str) -> list[Event]:
        """What came after that event; all that is kept, when it is not known here (any
        more); nothing for a new client, whose id is empty."""
        if not last_event_id:
            return []
        with self._lock:
            events = list(self._events)
        at = [event.id for event in events]
        return events[at.index(last_event_id) + 1 :] if last_event_id in at else events
