"""Pulling a source: one event for each time that somebody asks, and never ahead.

Both pumps post a letter for each ``ask``: an event, the end, or a failure. They close
the source once, after ``stop`` or after its end, and then say so by ``on_end``, from
whichever thread they run in.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Protocol

from django.utils.translation import get_language, override

from perfguard.http.request_id import current_request_id, work_for
from perfguard.streaming import pauses
from perfguard.streaming.mailbox import END, Letter
from perfguard.streaming.threads import (
    OwnThread,
    release_connections,
    start_thread,
)

logger = logging.getLogger("perfguard.streaming")

Post = Callable[[Letter], None]
OnEnd = Callable[[], None]


class Pump(Protocol):
    def ask(self) -> None: ...
    def stop(self) -> None:
        """May be called from any thread, and more than once."""


class ThreadPump:
    """A sync source, in a thread of its own.

    It cannot be in the server's: that one has to wake for heartbeats while the source
    blocks.
    """

    def __init__(self, source: Iterable[Any], post: Post, on_end: OnEnd) -> None:
        self._source = source
        self._post = post
        self._on_end = on_end
        # The view's: a thread has its own.
        self._language = get_language()
        self._request_id = current_request_id()
        self._wishes: SimpleQueue[bool] = SimpleQueue()
        self._stopping = threading.Event()
        start_thread(self._run)

    def ask(self) -> None:
        self._wishes.put(True)

    def stop(self) -> None:
        self._stopping.set()
        self._wishes.put(False)

    def _run(self) -> None:
        pauses.watch(self._stopping)
        work_for(self._request_id)
        with override(self._language):
            try:
                self._serve()
            finally:
                release_connections()
                self._on_end()

    def _serve(self) -> None:
        opened: list[Any] = [self._source]
        try:
            iterator = iter(self._source)
            if iterator is not self._source:
                opened.insert(0, iterator)
            while self._wishes.get() and self._pull(iterator):
                pass
        except BaseException as error:  # noqa: BLE001 (handed to the stream)
            self._post(Letter("failed", error))
        finally:
            for each in opened:
                _close(each)

    def _pull(self, iterator: Iterator[Any]) -> bool:
        try:
            value = next(iterator)
        except StopIteration:
            self._post(END)
            return False
        self._post(Letter("event", value))
        return not self._stopping.is_set()


class LoopPump:
    """An async source, as one task: what it opens it closes in the same task, as
    cancel scopes must be. ``loop`` is the server's; None is one of its own."""

    def __init__(
        self,
        source: AsyncIterable[Any],
        post: Post,
        on_end: OnEnd,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._source = source
        self._post = post
        self._on_end = on_end
        self._language = get_language()
        self._wishes: asyncio.Queue[None] = asyncio.Queue()
        self._is_stopping = self._is_serving = False
        self._thread = OwnThread()
        self._context = self._thread.context()
        self._task: asyncio.Task[None] | None = None
        self._loop = loop or asyncio.new_event_loop()
        if loop is None:
            start_thread(self._run_loop)
        else:
            loop.call_soon_threadsafe(self._start)

    def ask(self) -> None:
        self._tell(self._wishes.put_nowait, None)

    def stop(self) -> None:
        self._is_stopping = True
        self._tell(self._cancel)

    def _tell(self, call: Callable[..., None], *args: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed, and the source with it
            self._loop.call_soon_threadsafe(call, *args)

    def _start(self) -> None:
        # Held here: the loop keeps weak references only.
        self._task = self._loop.create_task(self._run(), context=self._context)

    def _run_loop(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._wait_for_run())

    async def _wait_for_run(self) -> None:
        self._start()
        assert self._task is not None
        await asyncio.wait([self._task])

    def _cancel(self) -> None:
        # Not before it has begun, or it never would, and so never end. Once, and not
        # while it is closed: a second time would end its cleaning up, which may wait.
        if self._task is not None and self._is_serving:
            self._is_serving = False
            self._task.cancel()

    async def _run(self) -> None:
        with override(self._language):
            try:
                await self._serve()
            finally:
                self._on_end()

    async def _serve(self) -> None:
        self._is_serving = True
        iterator = None
        try:
            iterator = aiter(self._source)
            while not self._is_stopping:
                await self._wishes.get()
                self._post(Letter("event", await anext(iterator)))
        except StopAsyncIteration:
            self._post(END)
        except BaseException as error:  # noqa: BLE001 (handed to the stream)
            self._post(Letter("failed", error))
        finally:
            self._is_serving = False
            await _aclose(iterator)
            if iterator is not self._source:
                await _aclose(self._source)
            await self._end_thread()

    async def _end_thread(self) -> None:
        if self._thread.is_used:
            await self._loop.run_in_executor(self._thread, release_connections)
        self._thread.shutdown(wait=False)


def _close(source: Any) -> None:
    close = getattr(source, "close", None)
    try:
        if close is not None:
            close()
    except Exception:  # of the source's own making; the stream is over
        logger.exception("A source failed while it was closed.")


async def _aclose(source: Any) -> None:
    close = getattr(source, "aclose", None)
    try:
        if close is not None:
            await close()
    except Exception:
        logger.exception("A source failed while it was closed.")
