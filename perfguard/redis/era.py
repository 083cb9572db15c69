"""Whether what Redis does not have was never there.

A copy of the truth that is kept in Redis can lose its newest part without a word: by
FLUSHALL, by a restart, by a fail-over to a replica that lagged, by eviction. So whoever
keeps one writes the era beside it, and does not believe it when the era is another.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, NamedTuple

from perfguard.redis.scripts import bulk

# Sent along with a read, in the same round trip, when a connection was last told so
# long ago. A server that is restarted, or another that takes over, is met by a new
# connection, at once. What is done to a server that runs on, to its eviction policy or
# its role, is met after this time: INFO costs it several times what the read does.
ERA_SECONDS = 1.0
INFO = b"*1\r\n" + bulk(b"INFO")


class Reading(NamedTuple):
    """What a server replied, and its era: 16 hexadecimal characters that change when
    it is restarted, another becomes master, or a key was evicted. Empty when it is no
    master, or may evict keys to make room: then nothing may be concluded from what it
    lacks."""

    reply: Any
    era: str


def era_of(info: bytes) -> str:
    """The era that the reply to ``INFO`` tells."""
    evicts = (
        _fact(info, b"maxmemory") != b"0"
        and _fact(info, b"maxmemory_policy") != b"noeviction"
    )
    # The run id changes with each start. The replication id changes with each
    # promotion, also of a server that was master before, and was never restarted. The
    # count tells of a policy that evicted for a while, and no longer does.
    names = (b"run_id", b"master_replid", b"evicted_keys")
    facts = [_fact(info, name) for name in names]
    if evicts or _fact(info, b"role") != b"master" or not all(facts):
        return ""
    return blake2b(b" ".join(facts), digest_size=8).hexdigest()


def _fact(info: bytes, name: bytes) -> bytes:
    # Not all hundred lines into a dictionary: this is asked with each token.
    start = info.find(b"\n" + name + b":")
    if start < 0:
        return b""
    return info[start + len(name) + 2 : info.find(b"\r", start)]
