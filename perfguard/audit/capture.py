"""Bodies as they pass: counted, and their beginning kept. Nothing is read ahead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, StreamingHttpResponse

from perfguard.audit.entries import ABORTED, COMPLETED, FAILED
from perfguard.conf import conf

Ended = Callable[[str, str], None]  # outcome, and the class of the error


class Capture:
    """The first ``AUDIT_CAPTURE_BYTES``, and how many there were."""

    def __init__(self, *, keeps: bool = True) -> None:
        self.size = 0
        self._room = conf.AUDIT_CAPTURE_BYTES if keeps else 0
        self._parts: list[bytes] = []

    def add(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if self._room and chunk:
            part = bytes(chunk[: self._room])
            self._parts.append(part)
            self._room -= len(part)

    def content(self) -> bytes:
        return b"".join(self._parts)


class CapturingStream:
    """In place of the stream that Django reads a request's body from."""

    def __init__(self, stream: Any, capture: Capture) -> None:
        self._stream = stream
        self._capture = capture

    def read(self, *args: Any) -> bytes:
        chunk: bytes = self._stream.read(*args)
        self._capture.add(chunk)
        return chunk

    def readline(self, *args: Any) -> bytes:
        line: bytes = self._stream.readline(*args)
        self._capture.add(line)
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def capture_request(request: HttpRequest) -> Capture:
    capture = Capture()
    body = request.__dict__.get("_body")
    if body is not None:  # somebody outside has read it
        capture.add(body)
    else:
        plain: Any = request
        plain._stream = CapturingStream(plain._stream, capture)
    return capture


def capture_stream(
    response: StreamingHttpResponse, capture: Capture, ended: Ended
) -> None:
    """``ended`` is called once, when the last byte has left or none will."""
    if response.is_async:
        # What ``streaming_content`` returns would not pass ``aclose`` on.
        source = response._iterator  # type: ignore[attr-defined]
        response.streaming_content = AsyncWatched(response, source, capture, ended)
    else:
        source = iter(response.streaming_content)  # type: ignore[arg-type]
        response.streaming_content = Watched(source, capture, ended)


class _Watch:
    def __init__(self, capture: Capture, ended: Ended) -> None:
        self._capture = capture
        self._ended: Ended | None = ended

    def _end(self, outcome: str, error: str = "") -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(outcome, error)

    def close(self) -> None:
        """By Django, at the end of each response; it closes the source itself."""
        self._end(ABORTED)

    def __del__(self) -> None:
        # Of a response that somebody further out has thrown away.
        self._end(ABORTED)


class Watched(_Watch):
    def __init__(self, source: Any, capture: Capture, ended: Ended) -> None:
        super().__init__(capture, ended)
        self._source = source

    def __iter__(self) -> Watched:
        return self

    def __next__(self) -> bytes:
        try:
            chunk: bytes = next(self._source)
        except StopIteration:
            self._end(COMPLETED)
            raise
        except BaseException as error:
            self._end(FAILED, type(error).__name__)
            raise
        self._capture.add(chunk)
        return chunk


class AsyncWatched(_Watch):
    def __init__(
        self, response: Any, source: Any, capture: Capture, ended: Ended
    ) -> None:
        super().__init__(capture, ended)
        self._make_bytes = response.make_bytes
        self._source = source

    def __aiter__(self) -> AsyncWatched:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk: bytes = self._make_bytes(await anext(self._source))
        except StopAsyncIteration:
            self._end(COMPLETED)
            raise
        except (asyncio.CancelledError, GeneratorExit):
            self._end(ABORTED)
            raise
        except BaseException as error:
            self._end(FAILED, type(error).__name__)
            raise
        self._capture.add(chunk)
        return chunk

    async def aclose(self) -> None:
        self._end(ABORTED)
        if hasattr(self._source, "aclose"):
            await self._source.aclose()
