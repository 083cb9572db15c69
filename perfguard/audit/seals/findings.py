"""What a verification found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

MOST_KEYS = 100  # that are gathered: each of them is held


class Kind(StrEnum):
    CHANGED = "changed_entry"
    REMOVED = "removed_entry"
    INSERTED = "inserted_entry"
    EXCHANGED = "exchanged_entry"
    UNPRUNED = "entry_in_pruned_seal"
    UNKNOWN_KEY = "unknown_key"
    CHANGED_SEAL = "changed_seal"
    MISSING_SEALS = "missing_seals"
    BROKEN_CHAIN = "broken_chain"
    TOMBSTONE = "wrong_tombstone"
    TRUNCATED = "truncated"
    NOT_ANCHORED = "differs_from_anchor"


@dataclass(frozen=True, slots=True)
class Finding:
    kind: Kind
    message: str
    seal: int | None = None  # its number
    entry: int | None = None  # the id of the row, or of the first one of them
    count: int = 1  # entries; of a seal, itself
    key_id: str = ""  # that is not configured

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


def gathered(found: Iterable[Finding]) -> Iterator[Finding]:
    """With one finding for all the entries of a key that is not configured: it may have
    signed millions. They come last."""
    lost: dict[str, Finding] = {}
    for each in found:
        first = lost.get(each.key_id)
        if each.kind != Kind.UNKNOWN_KEY or each.entry is None:
            yield each
        elif first:
            lost[each.key_id] = replace(first, count=first.count + 1)
        elif len(lost) < MOST_KEYS:
            lost[each.key_id] = each
        else:
            yield each
    yield from map(_of_all, lost.values())


def _of_all(found: Finding) -> Finding:
    if found.count == 1:
        return found
    what = (
        f"{found.count} entries, the first of them {found.entry}, are signed with a "
        f"key that is not configured, {found.key_id!r}."
    )
    where = "" if found.seal is None else f"Of seal {found.seal}: "
    return replace(found, message=where + what)
