"""Lines in an append-only file of the process, until the database has them.

A line is in the file before its answer leaves, so that the process may be killed at any
time: the kernel has what was written. Whoever finds the file of a process that is gone
stores what is in it. A record is ``E`` or ``O`` (an entry, or one of a stream that is
still open), the CRC-32 of the line in 8 hexadecimal digits, the line, and a newline.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from perfguard.audit.losses import Losses
from perfguard.audit.queues import BATCH_BYTES
from perfguard.audit.quiet import quiet
from perfguard.conf import conf

logger = logging.getLogger("perfguard.audit")

SUFFIX = ".spool"
SEGMENT_BYTES = 8 * 1024 * 1024  # then the next file is begun
READ_BYTES = 1024 * 1024
ENTRY, OPENED = b"E", b"O"


def to_record(mark: bytes, line: bytes) -> bytes:
    return b"%b%08x%b\n" % (mark, crc32(line), line)


def read_records(chunk: bytes) -> Iterator[tuple[bytes, bytes | None, int]]:
    """Mark, line and size of each record that is there as a whole; the line is None
    when it is not what was written."""
    start = 0
    while (end := chunk.find(b"\n", start)) >= 0:
        mark, check = chunk[start : start + 1], chunk[start + 1 : start + 9]
        line = chunk[start + 9 : end]
        is_whole = mark in (ENTRY, OPENED) and check == b"%08x" % crc32(line)
        yield mark, line if is_whole else None, end + 1 - start
        start = end + 1


def entry_key(line: bytes) -> bytes:
    return line[2:34]  # [" and the 32 digits of the entry's id


@dataclass(slots=True)
class Segment:
    """One file. Locked as long as its process lives (by ``lockf``: a child of ``fork``
    does not have the lock, and cannot keep it)."""

    path: Path
    descriptor: int
    size: int = 0  # bytes written
    read: int = 0  # bytes taken by the writer
    stored: int = 0  # bytes of which the database has all
    is_sound: bool = True

    @classmethod
    def create(cls, directory: Path, name: str) -> Segment:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = directory / (name + SUFFIX)
        new = path.with_suffix(".new")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(new, flags, 0o600)
        try:
            # Locked before it can be found: nobody takes it for a lost one.
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            new.rename(path)
        except OSError:
            cls(new, descriptor).remove()
            raise
        return cls(path, descriptor)

    def append(self, record: bytes) -> bool:
        """All of it or nothing."""
        try:
            if os.write(self.descriptor, record) == len(record):
                if conf.AUDIT_SPOOL_FSYNC == "always":
                    os.fdatasync(self.descriptor)
                self.size += len(record)
                return True
        except OSError:  # the disk is full, or gone
            pass
        self._cut()
        return False

    def _cut(self) -> None:
        try:
            os.ftruncate(self.descriptor, self.size)
        except OSError:
            self.is_sound = False  # nothing may follow a part of a record

    def empty(self) -> None:
        os.ftruncate(self.descriptor, 0)
        self.size = self.read = self.stored = 0

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        os.close(self.descriptor)


class Spool:
    """A source of lines, see :class:`perfguard.audit.queues.Source`."""

    def __init__(self, directory: str, losses: Losses) -> None:
        self._directory = Path(directory)
        self._losses = losses
        self.owner = f"{os.getpid()}-{os.urandom(6).hex()}"
        self._lock = threading.Lock()
        self._segments: deque[Segment] = deque()
        self._started = 0  # segments, ever
        self._open: dict[bytes, bytes] = {}  # entries of streams, by their ids
        self._waiting = 0  # lines; with damaged ones until all is stored
        self.is_refusing = False  # since all was stored
        self._reason = ""

    def put(self, line: bytes) -> bool:
        with self._lock:
            self._open.pop(entry_key(line), None)
            is_written = self._append(to_record(ENTRY, line))
            self._waiting += is_written
        return is_written or self._refuses()

    def put_opened(self, line: bytes) -> bool:
        """The entry of a stream as it would be if nothing more were heard of it."""
        with self._lock:
            is_written = self._append(to_record(OPENED, line))
            if is_written:
                self._open[entry_key(line)] = line
        return is_written or self._refuses()

    def take(self, most: int) -> list[bytes]:
        while (found := self._unread()) is not None:
            segment, end = found
            # Without the lock, so that no request waits for the disk: the writer alone
            # reads, and nobody changes what is before the end.
            if conf.AUDIT_SPOOL_FSYNC == "batch":
                _sync(segment.descriptor)
            lines, unreadable, read = _read_lines(segment, end, most)
            with self._lock:
                segment.read = read
            if unreadable:
                logger.error("%d records of the spool are damaged.", unreadable)
                self._losses.add("unreadable in the spool", unreadable)
            if lines:
                return lines
        self.done([])
        return []

    def done(self, lines: list[bytes]) -> None:
        with self._lock:
            self._waiting -= len(lines)
            for segment in self._segments:
                segment.stored = segment.read
            self._tidy()

    def waiting(self) -> int:
        return self._waiting

    def close(self) -> None:
        """Leaves the files to whoever comes next, unless the database has all."""
        with self._lock:
            self._tidy()
            for segment in self._segments:
                if segment.size:
                    os.close(segment.descriptor)
                else:
                    segment.remove()
            self._segments.clear()

    def _unread(self) -> tuple[Segment, int] | None:
        with self._lock:
            for segment in self._segments:
                if segment.read < segment.size:
                    return segment, segment.size
        return None

    def _append(self, record: bytes) -> bool:
        try:
            return self._has_room(record) and self._current().append(record)
        except OSError as error:
            self._reason = str(error)
            return False

    def _refuses(self) -> bool:
        """False. Without the lock, as whoever is told may write an entry."""
        if not self.is_refusing:
            self.is_refusing = True
            logger.error(
                "The spool in %s takes no more audit entries (%s): they wait in "
                "memory.",
                self._directory,
                self._reason or "it has AUDIT_SPOOL_BYTES, or the disk is full",
            )
        return False

    def _has_room(self, record: bytes) -> bool:
        backlog = sum(each.size - each.stored for each in self._segments)
        return backlog + len(record) <= conf.AUDIT_SPOOL_BYTES

    def _current(self) -> Segment:
        last = self._segments[-1] if self._segments else None
        if last is None or not last.is_sound or last.size >= SEGMENT_BYTES:
            self._started += 1
            name = f"{self.owner}-{self._started:06d}"
            segment = Segment.create(self._directory, name)
            # The older files go when the database has them, open streams or not.
            for line in self._open.values():
                segment.append(to_record(OPENED, line))
            self._segments.append(segment)
        return self._segments[-1]

    def _tidy(self) -> None:
        while len(self._segments) > 1 and self._is_stored(self._segments[0]):
            self._segments.popleft().remove()
        if self._segments and self._is_stored(self._segments[0]):
            self._waiting = 0
            self.is_refusing = False
            if not self._open:
                self._segments[0].empty()

    def _is_stored(self, segment: Segment) -> bool:
        return segment.stored == segment.size


def _read_lines(segment: Segment, end: int, most: int) -> tuple[list[bytes], int, int]:
    """Lines of entries, the number of damaged records, and where the rest begins.
    Those of streams that are open are passed over."""
    lines: list[bytes] = []
    unreadable, read = 0, segment.read
    for mark, line, length in _records(segment.descriptor, read, end):
        read += length
        if line is None:
            unreadable += 1
        elif mark == ENTRY:
            lines.append(line)
        if len(lines) == most or (lines and read - segment.read >= BATCH_BYTES):
            break
    return lines, unreadable, read


def _records(
    descriptor: int, start: int, end: int
) -> Iterator[tuple[bytes, bytes | None, int]]:
    while start < end:
        chunk = os.pread(descriptor, min(READ_BYTES, end - start), start)
        if b"\n" not in chunk:  # one long record
            chunk = os.pread(descriptor, end - start, start)
        if b"\n" not in chunk:  # somebody has cut the file
            yield b"", None, end - start
            return
        for mark, line, length in read_records(chunk):
            start += length
            yield mark, line, length


def _sync(descriptor: int) -> None:
    try:
        os.fdatasync(descriptor)
    except OSError as error:
        # The database is the better copy: what is in the spool goes there now.
        if quiet.begins("fdatasync"):
            logger.error("The spool could not be forced to the disk: %s.", error)
