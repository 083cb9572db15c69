"""``event_stream`` for sync views, ``aevent_stream`` for async ones."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from typing import Any

from asgiref.sync import async_to_sync
from django.core.exceptions import SynchronousOnlyOperation
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase

from perfguard.conf import conf
from perfguard.http.standing import remember
from perfguard.streaming.answers import ending, no_room
from perfguard.streaming.chunks import AsyncChunks, Chunks
from perfguard.streaming.drain import drain
from perfguard.streaming.flow import Flow
from perfguard.streaming.identity import identity_of
from perfguard.streaming.parameters import chunk_deltas, last_event_id
from perfguard.streaming.pumps import LoopPump, Pump, ThreadPump
from perfguard.streaming.session import remember_session
from perfguard.streaming.slots import Full, slots
from perfguard.streaming.stream import Stream

Events = Iterable[Any] | AsyncIterable[Any]
Source = Events | Callable[[str], Events]

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",  # nginx would keep events until it has many
}


def event_stream(
    source: Source,
    *,
    request: Any,
    deltas: int | str | None = None,
    identity: str = "",
    still_good: Callable[[], bool] | None = None,
) -> HttpResponseBase:
    """The response of a sync view: each event leaves before the next is made.

    source: an iterable, sync or async, whatever the server; or a function from the last
    event's id, empty for a new client, to one. It gives Events, strings, or what JSON
    can say. deltas: how many strings in a row make a message, if that is more than
    STREAM_CHUNK_DELTAS; text, as of a query, will do. identity: whom the stream is
    counted for, in place of the API key, the user or the address. still_good: asked
    every STREAM_HEARTBEAT seconds, in a thread; False ends the stream.

    429 or 503 when there are too many streams. Raises what the source raises before its
    first event, if that is within STREAM_FIRST_EVENT_WAIT; InvalidParameter, which is
    an answer of 400.
    """
    _refuse_on_a_loop()
    http = getattr(request, "_request", request)  # DRF's request wraps Django's
    stream = _opened(source, http, deltas, identity, still_good)
    if isinstance(stream, HttpResponseBase):
        return stream
    try:
        stream.ask()
        stream.take_first(stream.mailbox.get(conf.STREAM_FIRST_EVENT_WAIT))
    except BaseException:
        stream.close("failed")
        raise
    return _response(http, stream)


async def aevent_stream(
    source: Source,
    *,
    request: Any,
    deltas: int | str | None = None,
    identity: str = "",
    still_good: Callable[[], bool] | None = None,
) -> HttpResponseBase:
    """``event_stream`` for async views."""
    stream = _opened(source, request, deltas, identity, still_good)
    if isinstance(stream, HttpResponseBase):
        return stream
    try:
        stream.ask()
        stream.take_first(await stream.mailbox.aget(conf.STREAM_FIRST_EVENT_WAIT))
    except BaseException as error:
        stream.close("left" if isinstance(error, asyncio.CancelledError) else "failed")
        raise
    return _response(request, stream)


def _opened(
    source: Source,
    request: HttpRequest,
    deltas: int | str | None,
    identity: str,
    still_good: Callable[[], bool] | None,
) -> Stream | HttpResponseBase:
    flow = Flow(chunk_deltas(deltas))
    seen = last_event_id(request)
    if request.method == "HEAD":
        return _instead(source, _headers_only(request))
    if drain.has_begun:
        return _instead(source, ending(request))
    try:
        slot = slots.take(identity or identity_of(request))
    except Full as full:
        return _instead(source, no_room(request, full.whose))
    stream = Stream(request, slot, flow)
    stream.begin()
    try:
        events = source(seen) if callable(source) else source
        stream.pump = _pump(events, stream, request)
    except BaseException:
        stream.note_source_ended()
        stream.close("failed")
        raise
    if still_good is not None:
        remember(request, still_good)
    remember_session(request)
    return stream


def _pump(events: Any, stream: Stream, request: HttpRequest) -> Pump:
    if hasattr(events, "__aiter__"):
        loop = _server_loop() if isinstance(request, ASGIRequest) else None
        return LoopPump(events, stream.mailbox.put, stream.note_source_ended, loop)
    if isinstance(events, Iterable) and not isinstance(events, str | bytes | Mapping):
        return ThreadPump(events, stream.mailbox.put, stream.note_source_ended)
    if asyncio.iscoroutine(events):
        events.close()  # or Python would warn that nobody has awaited it
    raise TypeError(
        f"The source of an event stream is a {type(events).__name__}: use a generator, "
        "sync or async, or another iterable of events."
    )


def _server_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that serves this request; None in a thread that has none above it."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        loop = async_to_sync(_running_loop)()
    # Without a server, asgiref made a loop for the call alone.
    return loop if loop.is_running() else None


async def _running_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def _response(request: HttpRequest, stream: Stream) -> StreamingHttpResponse:
    chunks: Any = AsyncChunks if isinstance(request, ASGIRequest) else Chunks
    response = StreamingHttpResponse(chunks(stream), headers=HEADERS)
    # For one that Django throws away before it could close it: its client left while a
    # sync view was at work.
    weakref.finalize(response, stream.close).atexit = False
    return response


def _headers_only(request: HttpRequest) -> StreamingHttpResponse:
    none = _anothing() if isinstance(request, ASGIRequest) else iter(())
    return StreamingHttpResponse(none, headers=HEADERS)


async def _anothing() -> Any:
    return
    yield


def _instead(source: Source, response: HttpResponseBase) -> HttpResponseBase:
    """Another answer, for which nobody will read the source."""
    close = None if callable(source) else getattr(source, "close", None)
    if close is not None:
        close()
    return response


def _refuse_on_a_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise SynchronousOnlyOperation(
        "event_stream() would hold up the event loop while it waits for the first "
        "event. In an async view write: return await aevent_stream(...)."
    )
