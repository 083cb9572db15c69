"""Open sockets are asked about again and again: is what opened them still good?

One task looks after all sockets of an event loop, and a few threads ask: however many
sockets there are, they need no thread each. The first check of each socket comes at a
random moment of the interval, so that those that came together are spread.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import close_old_connections

from perfguard.conf import conf
from perfguard.sockets.connection import FORBIDDEN, LATER, SIGNED_OUT, Connection
from perfguard.sockets.doors import SignedIn

logger = logging.getLogger("perfguard.sockets")

Refusals = Callable[[Sequence[SignedIn]], Sequence[str | None]]

TICKS = 10  # in an interval
BATCH = 100  # sockets that one thread asks about at a time
THREADS = 4


@dataclass(slots=True, eq=False)
class Watched:
    connection: Connection
    signed_in: SignedIn
    due: float  # the loop's time
    known_at: float  # when it was last known to be good
    is_asked: bool = False


class Watch:
    """``clock`` gives Unix time, which ``exp`` is in."""

    def __init__(self, refusals: Refusals, clock: Callable[[], float] = time.time):
        self.clock = clock
        self.open: set[Watched] = set()
        self._refusals = refusals
        self._task: asyncio.Task[None] | None = None
        self._asking: set[asyncio.Task[None]] = set()
        self._threads: ThreadPoolExecutor | None = None

    @contextmanager
    def over(self, connection: Connection, signed_in: SignedIn) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        now = loop.time()
        wait = random.random() * conf.SOCKET_RECHECK_SECONDS  # noqa: S311
        each = Watched(connection, signed_in, now + wait, now)
        expiry = self._at_expiry(each, loop)
        self.open.add(each)
        if self._task is None:
            self._task = loop.create_task(self._run())
        try:
            yield
        finally:
            self.open.discard(each)
            if expiry is not None:
                expiry.cancel()
            if not self.open and self._task is not None:
                self._task.cancel()
                self._task = None

    def _at_expiry(
        self, each: Watched, loop: asyncio.AbstractEventLoop
    ) -> asyncio.TimerHandle | None:
        end = each.signed_in.expires_at
        if end is None:
            return None
        wait = max(end - self.clock(), 0.0)
        return loop.call_later(wait, each.connection.end, SIGNED_OUT, "token_expired")

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            interval = conf.SOCKET_RECHECK_SECONDS
            await asyncio.sleep(interval / TICKS)
            now = loop.time()
            # Early rather than late: those of the tick to come as well.
            due = [each for each in self.open if each.due <= now + interval / TICKS]
            self._give_up(now)
            waiting = [each for each in due if not each.is_asked]
            for start in range(0, len(waiting), BATCH):
                self._ask(waiting[start : start + BATCH], loop)

    def _ask(self, batch: list[Watched], loop: asyncio.AbstractEventLoop) -> None:
        for each in batch:
            each.is_asked = True
        task = loop.create_task(self._check(batch))
        self._asking.add(task)  # or it might be collected while it runs
        task.add_done_callback(self._asking.discard)

    async def _check(self, batch: list[Watched]) -> None:
        loop = asyncio.get_running_loop()
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, "perfguard-sockets")
        signed_in = [each.signed_in for each in batch]
        asked = loop.run_in_executor(
            self._threads, with_connections, self._refusals, signed_in
        )
        await asyncio.wait({asked})
        codes: Sequence[str | None] = [None] * len(batch)
        if error := asked.exception():
            logger.error("Open sockets could not be checked.", exc_info=error)
        else:
            codes = asked.result()
        for each, code in zip(batch, codes, strict=True):
            self._judge(each, code, loop.time())

    def _judge(self, each: Watched, code: str | None, now: float) -> None:
        each.is_asked = False
        each.due = now + conf.SOCKET_RECHECK_SECONDS
        if code is None:
            if now - each.known_at >= conf.SOCKET_UNKNOWN_SECONDS:
                each.connection.end(LATER, "unavailable")
        elif code:
            forbidden = code == "insufficient_scope"
            each.connection.end(FORBIDDEN if forbidden else SIGNED_OUT, code)
        else:
            each.known_at = now

    def _give_up(self, now: float) -> None:
        """On those whose check does not come back: the database hangs, say."""
        patience = conf.SOCKET_UNKNOWN_SECONDS + 2 * conf.SOCKET_RECHECK_SECONDS
        for each in self.open:
            if now - each.known_at > patience:
                each.connection.end(LATER, "unavailable")


def with_connections(call: Callable[..., Any], *args: Any) -> Any:
    """Django closes the connections of a thread when an HTTP request begins and ends; a
    socket's thread has none."""
    close_old_connections()
    try:
        return call(*args)
    finally:
        close_old_connections()
