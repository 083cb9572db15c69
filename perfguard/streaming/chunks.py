"""A stream as the iterator that its server wants: each step is one chunk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

from asgiref.sync import sync_to_async

from perfguard.streaming.drain import drain
from perfguard.streaming.stream import CLEANUP, Stream
from perfguard.streaming.threads import release_connections, request_has_thread


class Chunks(Iterator[bytes]):
    """For WSGI, in the server's thread."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._has_begun = False

    def __next__(self) -> bytes:
        stream = self._stream
        if not self._has_begun:
            return self._begin()
        # What was given before is with the server, so the next may be made.
        while not stream.is_over:
            if chunk := self._step():
                return chunk
        stream.stop()
        stream.source_ended.wait(CLEANUP)
        stream.hang_up()
        raise StopIteration

    def _begin(self) -> bytes:
        self._has_begun = True
        drain.listen()
        # The request's: it would be held as long as the stream, and not used.
        release_connections()
        return self._stream.opening()

    def _step(self) -> bytes:
        stream = self._stream
        if stream.flow.asks():
            if stream.client_has_left():
                stream.outcome = "left"
                return b""
            if chunk := stream.check_standing():
                return chunk
        stream.ask()
        return stream.take(stream.mailbox.get(stream.flow.patience))

    def close(self) -> None:
        self._stream.close()


class AsyncChunks(AsyncIterator[bytes]):
    """For ASGI, on the server's loop."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._has_begun = False

    async def __anext__(self) -> bytes:
        stream = self._stream
        try:
            if not self._has_begun:
                return await self._begin()
            while not stream.is_over:
                if chunk := await self._step():
                    return chunk
        except asyncio.CancelledError:
            # The client has left. The source is a task of its own, and cleans up in
            # its own time; the response is closed by Django.
            stream.stop()
            raise
        stream.stop()
        await self._wait_for_source()
        raise StopAsyncIteration

    async def _begin(self) -> bytes:
        self._has_begun = True
        drain.listen()
        if request_has_thread():
            await sync_to_async(release_connections)()
        return self._stream.opening()

    async def _step(self) -> bytes:
        stream = self._stream
        if stream.flow.asks():
            check = sync_to_async(stream.check_standing, thread_sensitive=False)
            if chunk := await check():
                return chunk
        stream.ask()
        return stream.take(await stream.mailbox.aget(stream.flow.patience))

    async def _wait_for_source(self) -> None:
        until = time.monotonic() + CLEANUP
        while not self._stream.source_ended.is_set():
            left = until - time.monotonic()
            if left <= 0:
                return
            await self._stream.mailbox.aget(left)

    def close(self) -> None:
        self._stream.close()
