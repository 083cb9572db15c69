"""Entries as JSON lines in a file that many processes share, and that is rotated.

Every batch opens the file anew, under a lock that all processes ask for. So the next
line is in the file that has the name, whoever renamed or removed the one before it:
another process, logrotate, or somebody by hand. A full one is renamed under that lock,
and compressed without it.
"""

from __future__ import annotations

import fcntl
import gzip
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from perfguard.audit.other_sinks import as_json
from perfguard.conf import conf

logger = logging.getLogger("perfguard.audit")

Moment = tuple[str, int]  # UTC, and a number within that second
TAIL_BYTES = 64 * 1024


def utc_now() -> datetime:
    return datetime.now(UTC)


class FileSink:
    name = "file"

    def __init__(self, clock: Callable[[], datetime] = utc_now) -> None:
        # To rename a symbolic link would leave the file that it points to.
        self._path = Path(os.path.realpath(conf.AUDIT_FILE_PATH))
        self._clock = clock
        self._has_rotated = True  # another process may have ended before it compressed
        self._can_rotate = True

    def write(self, lines: list[bytes]) -> None:
        batch = "".join(f"{as_json(line)}\n" for line in lines).encode()
        with _locked(self._path.with_name(f"{self._path.name}.lock")):
            self._rotate_if_full(len(batch))
            with _opened(self._path) as descriptor:
                _append(descriptor, batch)

    def upkeep(self, *, is_idle: bool) -> None:
        if not self._has_rotated:
            return
        self._has_rotated = False
        rotated = self._rotated()
        if conf.AUDIT_FILE_KEEP:
            for moment in sorted(rotated)[: -conf.AUDIT_FILE_KEEP]:
                for path in rotated.pop(moment):
                    path.unlink(missing_ok=True)
        for moment in rotated:
            _compress(self._rotated_path(moment))

    def close(self) -> None:
        return None

    def _rotate_if_full(self, wanted: int) -> None:
        # Not a directory: that is to fail where it is opened.
        size = self._path.stat().st_size if self._path.is_file() else 0
        if not size or size + wanted <= conf.AUDIT_FILE_BYTES:
            return
        try:
            self._rotate()
            self._has_rotated = self._can_rotate = True
        except OSError as error:
            # Better a file that grows than entries that are nowhere.
            if self._can_rotate:
                logger.warning("The audit file cannot be rotated: %s.", error)
            self._can_rotate = False

    def _rotate(self) -> None:
        now = self._clock().strftime("%Y%m%dT%H%M%SZ")
        last, number = max(self._rotated(), default=("", 0))
        # Never before the last one, even if the clock was put back: it would be taken
        # for the oldest, and be removed first.
        moment = (now, 1) if now > last else (last, number + 1)
        self._path.rename(self._rotated_path(moment))

    def _rotated_path(self, moment: Moment) -> Path:
        return self._path.with_name(f"{self._path.name}.{moment[0]}.{moment[1]}")

    def _rotated(self) -> dict[Moment, list[Path]]:
        """The forms that each has: as it was, compressed, and on the way to that."""
        pattern = re.compile(
            re.escape(self._path.name) + r"\.(\d{8}T\d{6}Z)\.(\d+)(\.gz|\.gz\.new)?"
        )
        found: dict[Moment, list[Path]] = {}
        for path in self._path.parent.iterdir():
            if match := pattern.fullmatch(path.name):
                found.setdefault((match[1], int(match[2])), []).append(path)
        return found


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """By ``lockf``, which a child of ``fork`` does not have: with ``flock`` it would
    keep all others waiting if its parent were killed meanwhile."""
    with _opened(path) as descriptor:
        fcntl.lockf(descriptor, fcntl.LOCK_EX)
        yield  # to close it is to release it


@contextmanager
def _opened(path: Path, flags: int = os.O_APPEND) -> Iterator[int]:
    descriptor = _open(path, flags | os.O_RDWR | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open(path: Path, flags: int) -> int:
    with suppress(FileNotFoundError):
        return os.open(path, flags)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, flags | os.O_CREAT, 0o600)
    os.fchmod(descriptor, 0o600)  # whatever the umask took
    return descriptor


def _append(descriptor: int, batch: bytes) -> None:
    """All of it or nothing, so that it may be tried again."""
    size = _whole_size(descriptor)
    if size != os.fstat(descriptor).st_size:
        os.ftruncate(descriptor, size)
    try:
        while batch:
            batch = batch[os.write(descriptor, batch) :]
    except OSError:
        with suppress(OSError):
            os.ftruncate(descriptor, size)
        raise


def _whole_size(descriptor: int) -> int:
    """Up to the last newline: a process may have been killed within a line."""
    end = os.fstat(descriptor).st_size
    while end:
        start = max(0, end - TAIL_BYTES)
        place = os.pread(descriptor, end - start, start).rfind(b"\n")
        if place >= 0:
            return start + place + 1
        end = start
    return 0


def _compress(path: Path) -> None:
    """There are its lines at any time, if twice for a moment."""
    with suppress(FileNotFoundError, BlockingIOError), path.open("rb+") as plain:
        fcntl.lockf(plain, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.fstat(plain.fileno()).st_nlink:
            return  # it has just been done
        new = path.with_name(f"{path.name}.gz.new")
        try:
            _write_compressed(plain, new)
        except OSError:
            new.unlink(missing_ok=True)  # what there is of it fills the disk
            raise
        new.rename(path.with_name(f"{path.name}.gz"))
        path.unlink()


def _write_compressed(plain: BinaryIO, path: Path) -> None:
    with _opened(path, os.O_TRUNC) as descriptor:
        with (
            open(descriptor, "wb", closefd=False) as raw,
            gzip.GzipFile(path.stem, "wb", fileobj=raw) as packed,
        ):
            shutil.copyfileobj(plain, packed)
        os.fsync(descriptor)
