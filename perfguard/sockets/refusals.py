"""How a handshake is refused, before the socket is open."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from perfguard.exceptions import PerfguardError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

RETRY_AFTER = 1  # seconds, after which it may be known what is not known now
CHALLENGE = 'Bearer realm="api"'


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer in plain HTTP. ``detail`` is for people and ``code`` for machines."""

    status: int
    code: str
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        return json.dumps({"detail": self.detail, "code": self.code}).encode()

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        body = {
            "content-type": "application/json",
            "content-length": str(len(self.body)),
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
        }
        named = body | {name.lower(): value for name, value in self.headers.items()}
        return [(name.encode(), value.encode()) for name, value in named.items()]


class Refused(PerfguardError):
    """The handshake is refused; the client is told the answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.detail)
        self.answer = answer


def refused(status: int, code: str, detail: str, retry_after: int = 0) -> Refused:
    headers = {"Retry-After": str(retry_after)} if retry_after else {}
    if status == 401:
        headers["WWW-Authenticate"] = CHALLENGE
    return Refused(Answer(status, code, detail, headers))


def unavailable() -> Refused:
    detail = "This cannot be checked just now. Try again in a moment."
    return refused(503, "unavailable", detail, RETRY_AFTER)


async def answer_in_http(answer: Answer, send: Send, prefix: str = "http") -> None:
    """``prefix`` is that of the messages' types."""
    start = {"type": f"{prefix}.response.start", "status": answer.status}
    await send({**start, "headers": answer.fields})
    await send({"type": f"{prefix}.response.body", "body": answer.body})


async def refuse(scope: Scope, send: Send, answer: Answer) -> None:
    """With status and reason, where the server has the extension for it; else the
    server answers 403, without a word."""
    if "websocket.http.response" in (scope.get("extensions") or {}):
        await answer_in_http(answer, send, "websocket.http")
    else:
        await send({"type": "websocket.close"})
