"""The anchor: the digests of the seals, in a file that the database cannot reach."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from perfguard.audit.entries import stamp
from perfguard.audit.models import AuditSeal
from perfguard.conf import conf

logger = logging.getLogger("perfguard.audit")

TAIL = 4096  # bytes: of some lines
BATCH = 500  # seals


class Anchored(NamedTuple):
    number: int
    digest: str
    last_id: int
    sealed_at: str


def append(alias: str) -> None:
    """Write down each seal after the last one that is there, so that a line that was
    lost is filled in. Sealing does not depend on it: an error is logged."""
    if not conf.AUDIT_ANCHOR_PATH:
        return
    try:
        _append(Path(conf.AUDIT_ANCHOR_PATH), alias)
    except OSError as error:
        logger.error("The anchor of the audit log cannot be written: %s", error)


def _append(path: Path, alias: str) -> None:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
    with os.fdopen(os.open(path, flags, 0o600), "r+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL))
        tail = file.read(TAIL)
        lines = [_line(seal) for seal in _seals_after(_last_number(tail), alias)]
        # A line that was cut off, by a full disk say, is ended first.
        start = b"" if not tail or tail.endswith(b"\n") else b"\n"
        file.write(start + b"".join(lines))
        os.fsync(file.fileno())


def _last_number(tail: bytes) -> int:
    return max((each.number for each in _read(tail.splitlines())), default=0)


def _seals_after(number: int, alias: str) -> Iterator[AuditSeal]:
    fields = Anchored._fields
    seals = AuditSeal.objects.using(alias).filter(number__gt=number)
    return seals.order_by("number").only(*fields).iterator(chunk_size=BATCH)


def _line(seal: AuditSeal) -> bytes:
    line = Anchored(seal.number, seal.digest, seal.last_id, stamp(seal.sealed_at))
    return json.dumps(line._asdict()).encode() + b"\n"


def read_anchor(path: Path) -> Iterator[list[Anchored]]:
    """In batches. What is no line is passed over: a power cut leaves such, and the
    seal is written down again. OSError if there is no such file."""
    with path.open("rb") as file:
        lines = _read(file)
        while batch := list(islice(lines, BATCH)):
            yield batch


def _read(lines: Iterator[bytes] | list[bytes]) -> Iterator[Anchored]:
    for line in lines:
        try:
            value = Anchored(**json.loads(line))
        except (ValueError, TypeError):
            continue
        if isinstance(value.number, int):
            yield value
