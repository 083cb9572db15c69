"""Tickets: what a browser puts in the URL of a socket, good once and for seconds.

A ticket is a random word. What it stands for, the claims of the token that asked for
it, is kept in Redis under the word's digest, or in process memory where no Redis is
set. So it ends with its token: neither outlives a sign-out.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from perfguard.conf import conf
from perfguard.exceptions import (
    InvalidCredential,
    RedisUnavailable,
    TruthUnavailable,
)
from perfguard.redis.client import Client, get_client
from perfguard.redis.scripts import Script

LUA = Path(__file__).parent / "lua"
PUT, TAKE = (Script((LUA / f"{name}.lua").read_text()) for name in ("put", "take"))
BYTES = 32  # of chance
LONGEST = 64  # characters; what is longer is no ticket
MOST_IN_MEMORY = 10_000


@dataclass(frozen=True, slots=True)
class Stub:
    """What a ticket stands for. ``origin``: the page that asked, empty for none."""

    claims: Mapping[str, Any]
    origin: str = ""


class MemoryTickets:
    """For a process without Redis. ``clock`` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._held: dict[str, tuple[float, bytes]] = {}
        self._lock = threading.Lock()

    def put(self, digest: str, value: bytes, life: float) -> None:
        with self._lock:
            while len(self._held) >= MOST_IN_MEMORY:
                self._held.pop(next(iter(self._held)))  # the oldest
            self._held[digest] = self.clock() + life, value

    def take(self, digest: str) -> bytes | None:
        with self._lock:
            until, value = self._held.pop(digest, (0.0, b""))
        return value if self.clock() < until else None


memory = MemoryTickets()


def issue(stub: Stub) -> str:
    """Raises TruthUnavailable when Redis is away: another process would not know it."""
    ticket = secrets.token_urlsafe(BYTES)
    digest, value = _digest(ticket), json.dumps(asdict(stub)).encode()
    life = conf.SOCKET_TICKET_SECONDS
    client = get_client()
    if client is None:
        memory.put(digest, value, life)
        return ticket
    args = [value, b"%d" % round(life * 1000)]
    _call(client, digest, PUT, args)
    return ticket


def redeem(ticket: str, origin: str) -> Stub:
    """Use it up. Raises InvalidCredential, or TruthUnavailable when Redis is away."""
    value = _take(ticket) if 0 < len(ticket) <= LONGEST else None
    if value is None:
        message = "The ticket is unknown, over, or was used before."
        raise InvalidCredential(message, "ticket_invalid")
    stub = Stub(**json.loads(value))
    if stub.origin and stub.origin != origin:
        message = "The ticket was given to a page of another origin."
        raise InvalidCredential(message, "ticket_origin")
    return stub


def _take(ticket: str) -> bytes | None:
    client = get_client()
    digest = _digest(ticket)
    if client is None:
        return memory.take(digest)
    found: bytes | None = _call(client, digest, TAKE, [])
    return found


def _call(client: Client, digest: str, script: Script, args: list[bytes]) -> Any:
    identity = f"ticket:{digest}"
    key = f"{conf.REDIS_KEY_PREFIX}:{{{identity}}}".encode()
    try:
        if client.is_away(identity):
            raise RedisUnavailable("The circuit is open.")
        return client.call(identity, script, script.command([key], args))
    except RedisUnavailable as error:
        raise TruthUnavailable("Tickets are kept in Redis, which is away.") from error


def _digest(ticket: str) -> str:
    return sha256(ticket.encode(errors="surrogatepass")).hexdigest()[:32]
