"""What reaches one stream: events of its source, and word that it must end."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple


class Letter(NamedTuple):
    kind: str  # "event", "end", "failed" or "drain"
    value: Any = None


END = Letter("end")
DRAIN = Letter("drain")


class Mailbox:
    """Filled from any thread, also within a signal handler; emptied by one reader, who
    waits in a thread or on an event loop."""

    def __init__(self) -> None:
        self._letters: SimpleQueue[Letter] = SimpleQueue()  # whose put() is reentrant
        self._bell: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def put(self, letter: Letter) -> None:
        self._letters.put(letter)
        if self._bell is not None:
            loop, rung = self._bell
            with suppress(RuntimeError):  # the loop is closed: nobody reads any more
                loop.call_soon_threadsafe(rung.set)

    def get(self, patience: float) -> Letter | None:
        """The next letter, or None after that many seconds."""
        try:
            return self._letters.get(timeout=patience)
        except Empty:
            return None

    async def aget(self, patience: float) -> Letter | None:
        """The same, but None may come earlier."""
        if self._bell is None:
            self._bell = (asyncio.get_running_loop(), asyncio.Event())
        rung = self._bell[1]
        # In this order: what is put after the look rings.
        rung.clear()
        letter = self._look()
        if letter is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await rung.wait()
            letter = self._look()
        return letter

    def _look(self) -> Letter | None:
        try:
            return self._letters.get_nowait()
        except Empty:
            return None
