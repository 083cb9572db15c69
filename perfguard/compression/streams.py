"""Streams, compressed while they are produced, of the kind they were: sync or async."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, nullcontext
from typing import Any, cast

from django.http import StreamingHttpResponse

from perfguard.compression.codecs import Compressor
from perfguard.conf import conf

# Seconds. A stream that is slower than that is read by somebody who waits; a faster one
# loses nothing by ten flushes a second.
LONGEST_WAIT = 0.1


class ChunkCompressor:
    """Compresses chunk by chunk, and knows when the reader wants to see one."""

    def __init__(
        self,
        compressor: Compressor,
        *,
        flush_each: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._compressor = compressor
        self._flush_each = flush_each
        self._clock = clock
        self._flushed_at = float("-inf")
        self.finish = compressor.finish

    def compress(self, chunk: bytes) -> bytes:
        compressed = self._compressor.compress(chunk)
        if chunk and self._is_due():
            compressed += self._compressor.flush()
        return compressed

    def _is_due(self) -> bool:
        if self._flush_each:
            return True
        now = self._clock()
        if now - self._flushed_at < LONGEST_WAIT:
            return False
        self._flushed_at = now
        return True


def compress_stream(
    response: StreamingHttpResponse, compressor: Compressor, *, flush_each: bool
) -> None:
    chunks = ChunkCompressor(compressor, flush_each=flush_each)
    if response.is_async:
        response.streaming_content = _acompressed(response, chunks)
    else:
        source = cast("Iterator[bytes]", response.streaming_content)
        response.streaming_content = _compressed(source, chunks)


# An exception leaves both without the end of the stream, so that nobody takes what came
# so far for the whole. Django closes a sync source itself.


def _compressed(source: Iterator[bytes], chunks: ChunkCompressor) -> Iterator[bytes]:
    for chunk in source:
        if compressed := chunks.compress(chunk):
            yield compressed
    yield chunks.finish()


def _acompressed(
    response: StreamingHttpResponse, chunks: ChunkCompressor
) -> AsyncIterator[bytes]:
    # What ``streaming_content`` returns would not pass ``aclose`` on.
    source: Any = response._iterator  # type: ignore[attr-defined]

    async def compressed() -> AsyncIterator[bytes]:
        async with aclosing(source) if hasattr(source, "aclose") else nullcontext():
            async for part in source:
                if chunk := await _acompress(chunks, response.make_bytes(part)):
                    yield chunk
            yield chunks.finish()

    return compressed()


async def _acompress(chunks: ChunkCompressor, chunk: bytes) -> bytes:
    if len(chunk) > conf.COMPRESSION_THREAD_BYTES:
        return await asyncio.to_thread(chunks.compress, chunk)
    return chunks.compress(chunk)
