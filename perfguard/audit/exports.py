"""Entries as CSV or JSON lines, read by a cursor of the server and never held whole."""

from __future__ import annotations

import csv
import errno
import os
import re
from collections.abc import Generator, Iterable, Iterator
from datetime import datetime
from io import StringIO
from pathlib import Path
from tempfile import mkstemp
from typing import Any

from django.db.models import Q, QuerySet

from perfguard.audit.entries import FIELDS, stamp
from perfguard.audit.lines import dumps
from perfguard.audit.models import AuditEntry
from perfguard.audit.pages.users import ids_of
from perfguard.conf import conf

Lines = Generator[str, None, None]
FORMS = ("csv", "jsonl")
COLUMNS = ("id", *FIELDS, "key_id", "mac")
CHUNK = 2000  # rows at a time

# A spreadsheet takes a cell that begins like this for a formula, some of them also
# after blanks and quotes, or in full width (OWASP, "CSV Injection").
FORMULA = re.compile(
    r"""[\t\r\n]|[\s"'`\u200b-\u200f\u2060\ufeff]*[=+@\uff1d\uff0b\uff0d\uff20-]"""
)


CHOOSING = ("since", "until", "user", "kind", "status", "limit")


def choose(
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    user: str | None = None,  # an id or a name
    kind: str | None = None,
    status: tuple[int, int] | None = None,  # the first and the last
    limit: int | None = None,
) -> QuerySet[AuditEntry]:
    """The oldest first; None is no bound."""
    rows = AuditEntry.objects.using(conf.AUDIT_DATABASE).order_by("at", "id")
    bounds = {"at__gte": since, "at__lt": until, "kind": kind, "status__range": status}
    rows = rows.filter(**{name: each for name, each in bounds.items() if each})
    if user:
        # Not every entry tells both.
        ids = [user, *ids_of([user])]
        rows = rows.filter(Q(actor_id__in=ids) | Q(actor_label=user))
    return rows[:limit]


def export_lines(queryset: QuerySet[AuditEntry], form: str) -> Lines:
    """Each with its end of line; of CSV the first is the header. Times are in UTC.
    ``form`` is one of FORMS."""
    rows = queryset.values_list(*COLUMNS).iterator(chunk_size=CHUNK)
    plain = (list(map(_plain, row)) for row in rows)
    return _csv_lines(plain) if form == "csv" else _json_lines(plain)


class Counted:
    """The lines of an export, and how many entries were taken so far."""

    def __init__(self, lines: Iterable[str], form: str) -> None:
        self._lines = lines
        self._taken = 0
        self._headers = 1 if form == "csv" else 0

    @property
    def count(self) -> int:
        return max(0, self._taken - self._headers)

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self._taken += 1
            yield line


def _plain(value: Any) -> str | int | bool | None:
    """As it was signed, so that whoever has the key can verify an export, too."""
    if isinstance(value, datetime):
        return stamp(value)
    return value if isinstance(value, str | int | None) else value.hex


def _json_lines(rows: Iterable[list[Any]]) -> Lines:
    for row in rows:
        yield dumps(dict(zip(COLUMNS, row, strict=True))) + "\n"


def _csv_lines(rows: Iterable[list[Any]]) -> Lines:
    buffer = StringIO()
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    yield _taken(buffer)
    for row in rows:
        writer.writerow(map(_cell, row))
        yield _taken(buffer)


def _taken(buffer: StringIO) -> str:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return f"'{value}" if FORMULA.match(value) else value
    return str(value).lower() if isinstance(value, bool) else value


def check_target(path: Path) -> None:
    """OSError for what :func:`write_file` could not write, before all is read for it;
    and for a device or a pipe, in whose place it would put a file."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "It is no file", str(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "There is no such directory", str(path))
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def write_file(path: Path, lines: Iterable[str]) -> None:
    """All of them, for its owner alone, or no file: OSError, and what was there stays
    there."""
    try:
        _write_whole(path, lines)
    except OSError as error:
        if error.filename is None:
            raise
        # Not that of the temporary file.
        raise OSError(error.errno, error.strerror, str(path)) from error


def _write_whole(path: Path, lines: Iterable[str]) -> None:
    descriptor, name = mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    """Or a crash of the machine may forget the new name."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
