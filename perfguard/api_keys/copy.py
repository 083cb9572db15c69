"""The fast copy of API keys, in Redis.

All keys of an API key share a hash tag::

    perfguard:{key:<id>}:record   what the database says of it, and the era
    perfguard:{key:<id>}:used     it was used within the last minute

A record is believed only when its era is that of the server that holds it (see
``perfguard.redis.era``). A change deletes the record; see ``lua/fill.lua`` for why a
reader that was slow cannot put an older one back.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import NamedTuple

from perfguard.api_keys.records import Record, as_bytes, believed
from perfguard.conf import conf
from perfguard.redis.client import Client
from perfguard.redis.scripts import Script, packed

LUA = Path(__file__).parent / "lua"
FENCE, FILL = (Script((LUA / f"{name}.lua").read_text()) for name in ("fence", "fill"))
FORGET = Script("return redis.call('DEL', KEYS[1])")
CLAIM = Script("return redis.call('SET', KEYS[1], '1', 'NX', 'PX', ARGV[1]) and 1 or 0")
FENCE_MS = 10_000  # the longest that reading the database may take
UNKNOWN_MS = 30_000  # an attacker chooses how many ids there are that nobody has
USED_MS = 60_000
FENCED = b"~"  # no record begins so


class Kept(NamedTuple):
    """What Redis has for an API key."""

    is_believed: bool
    record: Record | None  # None, when it is believed: nobody has that id
    was_used: bool  # within the last minute
    seen: bytes  # as it is, empty for nothing
    era: str


def identity(key_id: str) -> str:
    return f"key:{key_id}"


def look(client: Client, key_id: str) -> Kept:
    """One round trip. Raises RedisUnavailable."""
    command = packed(b"MGET", _key(key_id, "record"), _key(key_id, "used"))
    (raw, used), era = client.read(identity(key_id), command)
    seen = raw or b""
    is_believed, record = believed(seen, era)
    return Kept(is_believed, record, used is not None, seen, era)


def fence(client: Client, key_id: str, kept: Kept) -> bytes:
    """To be set before the database is read, so that a record may be filled in; empty
    when it may not: another reader is at it, or Redis may lose it unseen.

    Raises RedisUnavailable.
    """
    if not kept.era or kept.seen.startswith(FENCED):
        return b""
    word = FENCED + secrets.token_hex(8).encode()
    args = [kept.seen, word, b"%d" % FENCE_MS]
    command = FENCE.command([_key(key_id, "record")], args)
    return word if client.call(identity(key_id), FENCE, command) else b""


def fill(
    client: Client, key_id: str, record: Record | None, *, fence: bytes, era: str
) -> bool:
    """Whether it was stored. Raises RedisUnavailable."""
    life = round(conf.API_KEYS_CACHE_SECONDS * 1000)
    if record is None:
        life = min(life, UNKNOWN_MS)
    args = [fence, as_bytes(record, era), b"%d" % max(life, 1)]
    command = FILL.command([_key(key_id, "record")], args)
    return bool(client.call(identity(key_id), FILL, command))


def forget(client: Client, key_id: str) -> None:
    """To be called after a change was committed. Raises RedisUnavailable."""
    command = FORGET.command([_key(key_id, "record")], [])
    client.call(identity(key_id), FORGET, command)


def claim_use(client: Client, key_id: str) -> bool:
    """Whether nobody else used the key within the last minute. Raises
    RedisUnavailable."""
    command = CLAIM.command([_key(key_id, "used")], [b"%d" % USED_MS])
    return bool(client.call(identity(key_id), CLAIM, command))


def _key(key_id: str, name: str) -> bytes:
    return f"{conf.REDIS_KEY_PREFIX}:{{{identity(key_id)}}}:{name}".encode()
