"""What processes that are gone left in their spools is stored by whoever finds it."""

from __future__ import annotations

import fcntl
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

from django.db import DataError, IntegrityError

from perfguard.audit.losses import loss_line
from perfguard.audit.queues import BATCH_BYTES
from perfguard.audit.spool import ENTRY, READ_BYTES, SUFFIX, entry_key, read_records

logger = logging.getLogger("perfguard.audit")

Store = Callable[[list[bytes]], None]
BATCH = 500  # lines


@dataclass(slots=True)
class Replayed:
    """``entries`` and ``unfinished`` (of streams whose process ended before they did)
    were handed to the database; ``unreadable`` records were damaged by a crash of the
    machine, or changed by somebody; ``refused`` ones the database does not take;
    ``kept`` are files of processes that live, or that this one may not open."""

    files: int = 0
    entries: int = 0
    unfinished: int = 0
    unreadable: int = 0
    refused: int = 0
    kept: int = 0

    def add(self, other: Replayed) -> None:
        for each in fields(self):
            value = getattr(self, each.name) + getattr(other, each.name)
            setattr(self, each.name, value)


def replay(directory: str, store: Store, *, but: str = "") -> Replayed:
    """Store what no living process will, and remove its files.

    ``store`` may be given an entry that is in the database already. Whatever it raises
    leaves the files as they are. ``but`` is the owner of the spool that this process
    writes: to open and close a file of one's own would give up its lock.
    """
    result = Replayed()
    for owner, paths in _by_owner(Path(directory)).items():
        if owner == but:
            continue
        with _locked(paths) as descriptors:
            if descriptors is None:
                result.kept += len(paths)
                continue
            found = _replay_owner(descriptors, store)
            _record_losses(owner, store, found)
            result.add(found)
            for path in paths:
                path.unlink(missing_ok=True)
            result.files += len(paths)
    return result


def _by_owner(directory: Path) -> dict[str, list[Path]]:
    owners: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(directory.glob(f"*{SUFFIX}")):
        owner = path.name.rpartition("-")[0]
        owners[owner].append(path)
    return owners


@contextmanager
def _locked(paths: list[Path]) -> Iterator[list[int] | None]:
    """None: the process that writes them lives, or somebody else replays them."""
    with ExitStack() as stack:
        descriptors = []
        for path in paths:
            descriptor = _lock(path)
            if descriptor is None:
                yield None
                return
            stack.callback(os.close, descriptor)
            descriptors.append(descriptor)
        yield descriptors


def _lock(path: Path) -> int | None:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:  # another user's, say; it must not keep those of others
        logger.warning("A spool cannot be replayed: %s.", error)
        return None
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Somebody may have replayed and removed it between the two.
        if path.stat().st_ino == os.fstat(descriptor).st_ino:
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


def _replay_owner(descriptors: list[int], store: Store) -> Replayed:
    result = Replayed()
    unfinished: dict[bytes, bytes] = {}
    for descriptor in descriptors:
        entries = _entries(descriptor, unfinished, result)
        result.entries += _store_all(entries, store, result)
    result.unfinished = _store_all(iter(unfinished.values()), store, result)
    return result


def _entries(
    descriptor: int, unfinished: dict[bytes, bytes], result: Replayed
) -> Iterator[bytes]:
    for mark, line in _records(descriptor, result):
        if mark == ENTRY:
            unfinished.pop(entry_key(line), None)
            yield line
        else:
            unfinished[entry_key(line)] = line


def _store_all(lines: Iterator[bytes], store: Store, result: Replayed) -> int:
    count = 0
    for batch in _batches(lines):
        refused = _store_apart(batch, store)
        result.refused += refused
        count += len(batch) - refused
    return count


def _batches(lines: Iterator[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for line in lines:
        batch.append(line)
        size += len(line)
        if len(batch) == BATCH or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _store_apart(lines: list[bytes], store: Store) -> int:
    """How many the database refused: one of them must not keep the others from it."""
    try:
        store(lines)
    except (DataError, IntegrityError):
        if len(lines) == 1:
            return 1
        middle = len(lines) // 2
        return _store_apart(lines[:middle], store) + _store_apart(lines[middle:], store)
    return 0


def _record_losses(owner: str, store: Store, found: Replayed) -> None:
    reasons = {
        "unreadable in the spool": found.unreadable,
        "refused by the database": found.refused,
    }
    for reason, count in reasons.items():
        if count:
            logger.error("Of the spool %s: %d entries %s.", owner, count, reason)
            store([loss_line("database", reason, count)])


def _records(descriptor: int, result: Replayed) -> Iterator[tuple[bytes, bytes]]:
    rest = b""
    while chunk := os.read(descriptor, READ_BYTES):
        rest += chunk
        used = 0
        for mark, line, length in read_records(rest):
            used += length
            if line is None:
                result.unreadable += 1
            else:
                yield mark, line
        rest = rest[used:]
    # The process was killed while it wrote this: its answer had not left.
    if rest:
        logger.info("A spool ended within a record of %d bytes.", len(rest))
