"""What a seal signs, and how it lists the entries that it closes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from hashlib import sha256

from perfguard.audit.entries import stamp
from perfguard.audit.lines import known_keys, mac_of, signing_key
from perfguard.audit.models import AuditSeal

MARK = 8  # bytes of each entry: enough to tell which one was exchanged
# ``content`` stands for the listing, so that the digest of a pruned seal, which has
# none, can be verified as before.
SIGNED = ("number", "first_id", "last_id", "count", "content", "previous", "key_id")


def ranges_of(ids: Iterable[int]) -> str:
    """Ascending ids as text: ``12-40,42,44-99``."""
    ranges: list[list[int]] = []
    for each in ids:
        if ranges and each == ranges[-1][1] + 1:
            ranges[-1][1] = each
        else:
            ranges.append([each, each])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)


def ids_of(ranges: str) -> Iterator[int]:
    for each in filter(None, ranges.split(",")):
        first, _, last = each.partition("-")
        yield from range(int(first), int(last or first) + 1)


def mark_of(mac: str) -> bytes:
    # Its hash, because what stands in the row need not be a MAC any more.
    return sha256(mac.encode()).digest()[:MARK]


def marks_of(macs: Iterable[str]) -> bytes:
    """A mark of each MAC, then the SHA-256 over all of them."""
    known = list(macs)
    whole = sha256("\n".join(known).encode()).digest()
    return b"".join(map(mark_of, known)) + whole


def listing(seal: AuditSeal) -> dict[int, bytes]:
    """The mark of each entry that was sealed, by id. For a seal that is as it was
    made: what was changed need not be a listing."""
    marks = bytes(seal.marks)
    return {
        each: marks[place * MARK : (place + 1) * MARK]
        for place, each in enumerate(ids_of(seal.ids))
    }


def content_of(seal: AuditSeal) -> str:
    return sha256(seal.ids.encode() + b"\0" + bytes(seal.marks)).hexdigest()


def digest_of(seal: AuditSeal, key: bytes) -> str:
    values = [getattr(seal, name) for name in SIGNED]
    times = [stamp(each) for each in (seal.first_at, seal.last_at, seal.sealed_at)]
    # No line of an entry begins like this.
    return mac_of(b"seal" + json.dumps(values + times).encode(), key)


def tombstone_of(seal: AuditSeal) -> str:
    """Signed with the key of now: the seal's own may be out of use by then."""
    key_id, key = signing_key()
    return f"{key_id}:{_tombstone_mac(seal, key)}"


def has_right_tombstone(seal: AuditSeal) -> bool:
    """KeyError for a key that is not configured."""
    key_id, _, mac = seal.tombstone.partition(":")
    return mac == _tombstone_mac(seal, known_keys()[key_id])


def _tombstone_mac(seal: AuditSeal, key: bytes) -> str:
    assert seal.pruned_at is not None
    values = [seal.number, seal.digest, stamp(seal.pruned_at)]
    return mac_of(b"tombstone" + json.dumps(values).encode(), key)
