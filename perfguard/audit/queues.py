"""Lines that wait for a writer: bounded in number and in bytes."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from concurrent.futures import Future
from typing import Protocol

from perfguard.audit.losses import Losses
from perfguard.conf import conf

Ticket = Future[None]  # is done when the line has been written, or dropped for another
# Of one batch, about: PostgreSQL refuses a quarter of a gigabyte.
BATCH_BYTES = 16 * 1024 * 1024


class Source(Protocol):
    """Where a writer takes lines from. What was taken is held until ``done``."""

    def put(self, line: bytes) -> bool: ...

    def take(self, most: int) -> list[bytes]: ...

    def done(self, lines: list[bytes]) -> None: ...

    def waiting(self) -> int: ...


class Queue:
    """In memory. ``put`` says False when there is no room, by ``AUDIT_OVERFLOW``."""

    def __init__(self, losses: Losses) -> None:
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._lines: deque[bytes] = deque()
        self._tickets: dict[bytes, Ticket] = {}  # no two lines are the same
        self._losses = losses
        self._count = 0  # with those that were taken and are not done
        self._bytes = 0

    def put(self, line: bytes) -> bool:
        return self._put(line, None)

    def put_with_ticket(self, line: bytes) -> Ticket | None:
        ticket = Ticket()
        return ticket if self._put(line, ticket) else None

    def take(self, most: int) -> list[bytes]:
        lines: list[bytes] = []
        size = 0
        with self._lock:
            while self._lines and len(lines) < most and size < BATCH_BYTES:
                lines.append(self._lines.popleft())
                size += len(lines[-1])
        return lines

    def done(self, lines: list[bytes]) -> None:
        with self._lock:
            tickets = self._leave(lines)
        _finish(tickets)

    def waiting(self) -> int:
        return self._count

    def _put(self, line: bytes, ticket: Ticket | None) -> bool:
        dropped: list[bytes] = []
        tickets: list[Ticket] = []
        with self._lock:
            while not self._has_room(line) and self._may_drop_old(line):
                dropped.append(self._lines.popleft())
                tickets += self._leave(dropped[-1:])
            has_room = self._has_room(line) or self._waited_for_room(line)
            if has_room:
                self._enter(line, ticket)
        _finish(tickets)
        if dropped:
            self._losses.add("queue full", len(dropped))
        return has_room

    def _has_room(self, line: bytes) -> bool:
        return (
            self._count < conf.AUDIT_QUEUE_SIZE
            and self._bytes + len(line) <= conf.AUDIT_QUEUE_BYTES
        )

    def _may_drop_old(self, line: bytes) -> bool:
        # For a line that is too long for an empty queue, all would go in vain.
        return (
            conf.AUDIT_OVERFLOW == "drop_old"
            and len(line) <= conf.AUDIT_QUEUE_BYTES
            and bool(self._lines)
        )

    def _waited_for_room(self, line: bytes) -> bool:
        can_wait = conf.AUDIT_OVERFLOW == "block" and not is_on_a_loop()
        if not can_wait or len(line) > conf.AUDIT_QUEUE_BYTES:
            return False
        wait = conf.AUDIT_BLOCK_MS / 1000
        return self._room.wait_for(lambda: self._has_room(line), wait)

    def _enter(self, line: bytes, ticket: Ticket | None) -> None:
        self._lines.append(line)
        self._count += 1
        self._bytes += len(line)
        if ticket is not None:
            self._tickets[line] = ticket

    def _leave(self, lines: list[bytes]) -> list[Ticket]:
        self._count -= len(lines)
        self._bytes -= sum(map(len, lines))
        self._room.notify_all()
        if not self._tickets:
            return []
        tickets = [self._tickets.pop(line, None) for line in lines]
        return [ticket for ticket in tickets if ticket is not None]


def is_on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _finish(tickets: list[Ticket]) -> None:
    """Without the lock: whoever waits for one goes on in this thread."""
    for ticket in tickets:
        if ticket.set_running_or_notify_cancel():
            ticket.set_result(None)
