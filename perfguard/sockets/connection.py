"""One open socket: the application inside, and how the guard ends it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any

from perfguard.conf import conf
from perfguard.sockets.refusals import (
    Answer,
    Application,
    Message,
    Receive,
    Scope,
    Send,
    refuse,
)

logger = logging.getLogger("perfguard.sockets")

# Codes of a close; from 4000 on they are an application's own (RFC 6455, 7.4.2).
DONE, TOO_BIG, BROKEN, LATER = 1000, 1009, 1011, 1013
SIGNED_OUT, FORBIDDEN, TOO_MANY = 4401, 4403, 4429
# Of an application that refuses by itself, with a status.
REFUSAL_START = "websocket.http.response.start"
REFUSAL_BODY = "websocket.http.response.body"
GRACE = 5.0  # seconds an application has to end once its socket is closed
CLOSING = 10.0  # seconds that a client who does not read may delay the close
WINDOW = 1.0  # seconds that messages are counted in
FAILED = Answer(500, "error", "The socket could not be opened.")
UNANSWERED = Answer(403, "refused", "The socket was refused.")


class SocketClosed(OSError):
    """Raised to an application that sends after its socket was closed (ASGI, spec
    version 2.4)."""


class Connection:
    """``serve`` runs the application until either side ends."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, *, marker: str = ""
    ) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        self._marker = marker  # the subprotocol to accept when none is chosen
        self._told = False  # of the connect
        self._accepted = False
        self._closed = False  # by the application, or refused
        self._gone = False  # the client
        self._failed = False  # the application
        self._end: asyncio.Future[tuple[int, str]] = (
            asyncio.get_running_loop().create_future()
        )
        self._times: deque[float] = deque(maxlen=conf.SOCKET_MESSAGES_PER_SECOND or 1)

    def end(self, code: int, reason: str) -> None:
        """Have the socket closed; the first reason counts."""
        if not self._end.done():
            self._end.set_result((code, reason))

    @property
    def has_ended(self) -> bool:
        return self._end.done()

    async def serve(self, application: Application) -> None:
        inner: asyncio.Future[Any] = asyncio.ensure_future(
            application(self.scope, self.receive, self.send)
        )
        try:
            either: set[asyncio.Future[Any]] = {inner, self._end}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if self.has_ended and not self._closed and not self._gone:
                await self._close(*self._end.result())
                await asyncio.wait({inner}, timeout=GRACE)
        finally:
            await _stop(inner)
            self._note(inner)
        await self._finish()

    # -- what the application calls ----------------------------------------------------

    async def receive(self) -> Message:
        if not self._told:
            self._told = True
            return {"type": "websocket.connect"}
        if not self.has_ended:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                self._gone = True
            elif not self.has_ended:
                self._measure(message)
            if not self.has_ended:
                return message
        code, reason = self._end.result()
        return {"type": "websocket.disconnect", "code": code, "reason": reason}

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if self._closed and kind != REFUSAL_BODY:
            raise SocketClosed("The socket is closed.")
        if kind == "websocket.accept" and not message.get("subprotocol"):
            message = {**message, "subprotocol": self._marker or None}
        try:
            await self._send(message)
        except OSError:
            self._gone = True
            raise
        self._accepted |= kind == "websocket.accept"
        self._closed |= kind in {"websocket.close", REFUSAL_START}

    # -- what the guard does -----------------------------------------------------------

    def _measure(self, message: Message) -> None:
        """End the socket for a message that is too long, or one too many."""
        if _is_longer(message, conf.SOCKET_MAX_MESSAGE_BYTES):
            self.end(TOO_BIG, "message_too_big")
        limit = conf.SOCKET_MESSAGES_PER_SECOND
        if not limit:
            return
        now = asyncio.get_running_loop().time()
        times = self._times
        if len(times) == times.maxlen and now - times[0] < WINDOW:
            self.end(TOO_MANY, "too_many_messages")
        times.append(now)

    async def _close(self, code: int, reason: str) -> None:
        self._closed = True
        closing = self._send(
            {"type": "websocket.close", "code": code, "reason": reason}
        )
        try:
            await asyncio.wait_for(closing, CLOSING)
        # By RuntimeError servers tell that they closed it themselves just now.
        except (OSError, RuntimeError, TimeoutError):
            self._gone = True

    def _note(self, inner: asyncio.Future[Any]) -> None:
        """Log a failure of the application, once, however the socket ended."""
        if not inner.done() or inner.cancelled() or inner.exception() is None:
            return
        error = inner.exception()
        # It sent, and nobody was there any more: no fault of anybody's.
        if isinstance(error, OSError) and (self._gone or self._closed):
            return
        self._failed = True
        logger.error("The application of a socket failed.", exc_info=error)

    async def _finish(self) -> None:
        """The application is done: see that the socket is."""
        if self._closed or self._gone:
            return
        if not self._accepted:
            self._closed = True
            answer = FAILED if self._failed else UNANSWERED
            await refuse(self.scope, self._send, answer)
        elif self._failed:
            await self._close(BROKEN, "error")
        else:
            await self._close(DONE, "")


async def _stop(inner: asyncio.Future[Any]) -> None:
    if inner.done():
        return
    inner.cancel()
    _, pending = await asyncio.wait({inner}, timeout=GRACE)
    if pending:
        logger.warning("The application of a closed socket does not end.")


def _is_longer(message: Message, limit: int) -> bool:
    content = message.get("text")
    if content is None:
        return len(message.get("bytes") or b"") > limit
    # A character is 1 to 4 bytes: only what may be too long is encoded.
    return len(content) > limit or (
        4 * len(content) > limit and len(content.encode(errors="replace")) > limit
    )
