"""Entries as JSON lines to the standard output; as they are, to whoever listens."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from perfguard.audit.lines import from_line
from perfguard.signals import audit_recorded


def as_json(line: bytes) -> str:
    """An object with the entry's fields by name, those that are empty left out. In
    ASCII: what a client sent must not steer the terminal of whoever looks at it."""
    fields = from_line(line)._asdict()
    fields["at"] = f"{fields['at'].replace(' ', 'T')}Z"  # RFC 3339
    return json.dumps(
        {name: value for name, value in fields.items() if value not in ("", None)},
        separators=(",", ":"),
    )


class StdoutSink:
    name = "stdout"

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._left: deque[bytes] = deque()

    def write(self, lines: list[bytes]) -> None:
        # A batch that is tried again goes on where it was interrupted.
        if lines is not self._lines:
            self._left = deque(f"{as_json(line)}\n".encode() for line in lines)
            self._lines = lines
        descriptor = sys.__stdout__.fileno() if sys.__stdout__ else 1
        with _alone(descriptor):
            while self._left:
                rest = self._left[0][os.write(descriptor, self._left[0]) :]
                self._left.popleft()
                if rest:
                    self._left.appendleft(rest)

    def upkeep(self, *, is_idle: bool) -> None:
        return None

    def close(self) -> None:
        return None


@contextmanager
def _alone(descriptor: int) -> Iterator[None]:
    """A pipe that is full takes a line longer than PIPE_BUF (4096 bytes) in parts, and
    those of other processes between them: all wait for a lock on the pipe itself.
    What else is printed there is not held up, and shorter lines stay whole anyway."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX)
    except OSError:  # what cannot be locked here, on this system
        yield
        return
    try:
        yield
    finally:
        fcntl.lockf(descriptor, fcntl.LOCK_UN)


class TelemetrySink:
    """By signal: who exports entries is not known here."""

    name = "telemetry"

    def write(self, lines: list[bytes]) -> None:
        entries = [from_line(line) for line in lines]
        audit_recorded.send_robust(TelemetrySink, entries=entries)

    def upkeep(self, *, is_idle: bool) -> None:
        return None

    def close(self) -> None:
        return None
