"""The fast copy of the journal, in Redis.

All keys of a user share a hash tag::

    perfguard:{user:42}:generation      "<generation> <era>"
    perfguard:{user:42}:revoked:<jti>   until the token's own exp
    perfguard:{user:42}:ended:<sid>     until the session's end

What is there is revoked. What is not there is good only while the state says, by its
era, that Redis has lost nothing since it was filled (see ``perfguard.redis.era``).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from perfguard.conf import conf
from perfguard.exceptions import RedisUnavailable
from perfguard.redis.client import Client
from perfguard.redis.scripts import Script
from perfguard.tokens.claims import Marks

LUA = Path(__file__).parent / "lua"
PUSH, FENCE, REFILL = (
    Script((LUA / f"{name}.lua").read_text()) for name in ("push", "fence", "refill")
)
# The command of every request, packed but for the keys.
LOOK = (
    b"*4\r\n$4\r\nMGET\r\n$%d\r\n%bgeneration\r\n"
    b"$%d\r\n%brevoked:%b\r\n$%d\r\n%bended:%b\r\n"
)
# Milliseconds that a key outlives its token: two clocks never agree to the last one.
# Clocks that differ by more are what SIMPLE_JWT["LEEWAY"] is for; it is added.
MARGIN_MS = 1000


class Mark(NamedTuple):
    """Something revoked: a key without its prefix, and until when it matters."""

    name: str  # "revoked:<jti>" or "ended:<sid>"
    until_ms: int  # Unix time; 0 is for ever

    @classmethod
    def of_token(cls, jti: str, until_ms: int) -> Mark:
        return cls(f"revoked:{jti}", until_ms)

    @classmethod
    def of_session(cls, sid: str, until_ms: int) -> Mark:
        return cls(f"ended:{sid}", until_ms)


class Look(NamedTuple):
    revoked: bool  # some mark was found, which is final
    generation: int | None  # None: Redis cannot say
    era: str  # of the server that replied; empty when it must not be filled


def look(client: Client, marks: Marks) -> Look:
    """One round trip. Raises RedisUnavailable."""
    identity = f"user:{marks.user_key}"
    start = f"{conf.REDIS_KEY_PREFIX}:{{{identity}}}:".encode(errors="surrogatepass")
    # A token without a session asks for that of no name.
    jti, sid = marks.jti.encode(), marks.sid.encode()
    command = LOOK % (
        *(len(start) + 10, start),
        *(len(start) + 8 + len(jti), start, jti),
        *(len(start) + 6 + len(sid), start, sid),
    )
    if client.is_away(identity):
        raise RedisUnavailable("The circuit is open.")
    (state, token, session), era = client.read(identity, command)
    if token or session:
        return Look(True, None, era)
    number, _, written = (state or b"").partition(b" ")
    believed = era and written == era.encode()
    return Look(False, int(number) if believed else None, era)


def push(client: Client, user_key: str, marks: Iterable[Mark], generation: int) -> None:
    """Tell Redis; ``generation`` 0 leaves it. Raises RedisUnavailable."""
    identity, keys, times = _keyed(user_key, marks)
    if client.is_away(identity):
        raise RedisUnavailable("The circuit is open.")
    command = PUSH.command(keys, [b"%d" % generation, *times])
    client.call(identity, PUSH, command)


def fence(client: Client, user_key: str) -> bytes | None:
    """To be set before the journal is read for a refill; None when another is at it.

    Raises RedisUnavailable.
    """
    identity, keys, _ = _keyed(user_key, ())
    word = b"~" + secrets.token_hex(8).encode()
    done = client.call(identity, FENCE, FENCE.command(keys, [word]))
    return word if done else None


def refill(
    client: Client,
    user_key: str,
    marks: Iterable[Mark],
    generation: int,
    *,
    fence: bytes,
    era: str,
) -> bool:
    """Whether the state may be believed from now on. Raises RedisUnavailable."""
    identity, keys, times = _keyed(user_key, marks)
    args = [fence, b"%d" % generation, era.encode(), *times]
    return bool(client.call(identity, REFILL, REFILL.command(keys, args)))


def _keyed(
    user_key: str, marks: Iterable[Mark]
) -> tuple[str, list[bytes], list[bytes]]:
    identity = f"user:{user_key}"
    start = f"{conf.REDIS_KEY_PREFIX}:{{{identity}}}:"
    marks = list(marks)
    names = ["generation", *(each.name for each in marks)]
    keys = [f"{start}{name}".encode(errors="surrogatepass") for name in names]
    return identity, keys, [b"%d" % each.until_ms for each in marks]
