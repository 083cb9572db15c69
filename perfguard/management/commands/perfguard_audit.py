from __future__ import annotations

import json
import os
import pwd
import re
from argparse import ArgumentParser, ArgumentTypeError
from dataclasses import asdict
from datetime import datetime, time
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, SystemCheckError
from django.db import DatabaseError
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from perfguard.audit import events, log
from perfguard.audit.database_sink import store
from perfguard.audit.exports import (
    CHOOSING,
    FORMS,
    Counted,
    check_target,
    choose,
    export_lines,
    write_file,
)
from perfguard.audit.replay import replay
from perfguard.audit.seals.retention import Retention
from perfguard.audit.seals.sealing import seal
from perfguard.audit.seals.verifying import Verification
from perfguard.audit.standing import standing
from perfguard.conf import conf
from perfguard.http.actor import Actor

FOUND, UNABLE = 1, 2  # exit codes; 0 is a log in which nothing was found
# Of the database, of files, and of what SQLite or an argument has for a time.
FAILURES = (DatabaseError, OSError, OverflowError, TypeError, ValueError)


def moment(text: str) -> datetime:
    """A day stands for its beginning; without an offset it is one of TIME_ZONE."""
    try:
        day = parse_date(text)
        at = datetime.combine(day, time()) if day else parse_datetime(text)
    except ValueError:
        at = None
    if at is None:
        raise ArgumentTypeError(f"{text!r} is no date, as in 2026-11-23 or with a time")
    return timezone.make_aware(at) if timezone.is_naive(at) else at


def bound(text: str) -> int | datetime:
    return int(text) if re.fullmatch("[1-9][0-9]{0,17}", text) else moment(text)


def status(text: str) -> tuple[int, int]:
    """``404`` or ``4xx``, as the first and the last of them."""
    if not re.fullmatch("[1-5]([0-9]{2}|xx)", text):
        raise ArgumentTypeError(f"{text!r} is no status, as in 404 or 4xx")
    return int(text.replace("x", "0")), int(text.replace("x", "9"))


def count(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text):
        raise ArgumentTypeError(f"{text!r} is no count")
    return int(text)


class Command(BaseCommand):
    help = "Seals, verifies, prunes, exports and replays the audit log."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        each = actions.add_parser("seal", help="close what is written, at once")
        each.add_argument("--limit", type=count, help="seals at most")
        _verify_arguments(actions.add_parser("verify", help="look for tampering"))
        _prune_arguments(actions.add_parser("prune", help="delete what is too old"))
        _export_arguments(actions.add_parser("export", help="write out entries"))
        each = actions.add_parser("replay", help="store what dead processes left")
        each.add_argument("directory", nargs="?", help="instead of AUDIT_SPOOL_DIR")
        each = actions.add_parser("status", help="how the log stands")
        each.add_argument("--json", action="store_true", dest="as_json")

    def check(self, *args: Any, **options: Any) -> None:
        try:
            super().check(*args, **options)
        except SystemCheckError as error:
            error.returncode = UNABLE  # and not FOUND
            raise

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        try:
            getattr(self, f"_{action}")(**options)
        except FAILURES as error:
            text = f"{action}: {type(error).__name__}: {error}"
            raise CommandError(text, returncode=UNABLE) from error

    def _seal(self, limit: int | None, **options: Any) -> None:
        self.stdout.write(f"Sealed {_entries(seal(limit))}.")

    # -- verify -------------------------------------------------------

    def _verify(self, first: Any, last: Any, **options: Any) -> None:
        anchor = options["anchor"] or conf.AUDIT_ANCHOR_PATH
        verification = Verification(
            **{"since" if isinstance(first, datetime) else "first": first},
            **{"until" if isinstance(last, datetime) else "last": last},
            anchor=Path(anchor) if anchor else None,
        )
        found = self._tell(verification, as_json=options["as_json"])
        if found:
            raise CommandError(f"Findings: {found}.", returncode=FOUND)
        if _is_void(verification):
            what = "There is no such seal: nothing was verified."
            raise CommandError(what, returncode=UNABLE)

    def _tell(self, verification: Verification, *, as_json: bool) -> int:
        found = 0
        for each in verification.findings():
            found += 1
            self.stdout.write(json.dumps(asdict(each)) if as_json else str(each))
        counts = {
            name: getattr(verification, name)
            for name in ("seals", "pruned", "entries", "unsealed")
        }
        summary = json.dumps({"findings": found, **counts})
        self.stdout.write(summary if as_json else _verified(**counts))
        return found

    # -- prune --------------------------------------------------------

    def _prune(self, **options: Any) -> None:
        names = Retention.__dataclass_fields__.keys() & options.keys()
        retention = Retention(**{name: options[name] for name in names})
        if not retention.is_bounded:
            raise CommandError(
                "Everything is kept: set AUDIT_RETENTION_DAYS or "
                "AUDIT_RETENTION_ENTRIES, or give --days or --entries.",
                returncode=UNABLE,
            )
        done = retention.prune()
        verb = "Would prune" if retention.dry_run else "Pruned"
        seals, entries = _seals(done.seals), _entries(done.entries)
        self.stdout.write(f"{verb} {seals} with {entries}.")
        if done.seals and not retention.dry_run:
            self._record("entries_pruned", seals=done.seals, entries=done.entries)
        if done.kept:
            numbers = ", ".join(map(str, done.kept))
            raise CommandError(
                f"These seals do not verify, so that their entries were kept: "
                f"{numbers}. Look at them with 'perfguard_audit verify'; --tampered "
                "prunes them, too."
            )

    # -- export -------------------------------------------------------

    def _export(self, form: str, output: str | None, **options: Any) -> None:
        path = Path(output) if output else None
        if path:
            check_target(path)
        asked = {name: options[name] for name in CHOOSING if options[name] is not None}
        exported = export_lines(choose(**asked), form)
        lines = Counted(exported, form)
        told = {"form": form, "asked": _told(asked)}
        try:
            if path:
                write_file(path, lines)
            else:
                self.stdout.writelines(lines)
        except BaseException as error:
            told["failed"] = type(error).__name__
            raise
        finally:
            exported.close()  # and with it its cursor
            # Also of what was broken off: that much has been seen.
            self._record("entries_exported", entries=lines.count, **told)
        if path:
            self.stdout.write(f"Exported {_entries(lines.count)} to {path}.")
        else:
            self.stderr.write(f"Exported {_entries(lines.count)}.")

    # -- the rest -----------------------------------------------------

    def _replay(self, directory: str | None, **options: Any) -> None:
        where = directory or conf.AUDIT_SPOOL_DIR
        if not where or not Path(where).is_dir():
            what = f"{where!r} is no directory of spools."
            raise CommandError(what, returncode=UNABLE)
        log.close()  # a spool of this very process would not be told apart
        done = replay(where, store)
        self.stdout.write(
            f"Stored {_entries(done.entries)} of {_many(done.files, 'file')}, and "
            f"{done.unfinished} of requests that were cut off. Unreadable: "
            f"{done.unreadable}. Refused by the database: {done.refused}. Files of "
            f"processes that live: {done.kept}."
        )

    def _status(self, as_json: bool, **options: Any) -> None:
        now = standing()
        if as_json:
            return self.stdout.write(json.dumps(now.told()))
        for line in now.lines():
            self.stdout.write(line)

    def _record(self, kind: str, **details: Any) -> None:
        events.record_known(kind, actor=Actor("other", label=_system_user()), **details)
        if not log.flush(conf.AUDIT_DRAIN_SECONDS):
            self.stderr.write("The entry that tells of this is not stored yet.")


def _told(asked: dict[str, Any]) -> str:
    values = {
        name: "-".join(map(str, each)) if isinstance(each, tuple) else each
        for name, each in asked.items()
    }
    return " ".join(f"{name}={each}" for name, each in values.items())


def _is_void(verification: Verification) -> bool:
    """A part was asked for, and it holds nothing."""
    numbers = (verification.first, verification.last)
    times = (verification.since, verification.until)
    if verification.seals or not any((*numbers, *times)):
        return False
    return any(numbers) or not verification.unsealed


def _verified(seals: int, pruned: int, entries: int, unsealed: int) -> str:
    verb = "is" if unsealed == 1 else "are"
    return (
        f"Verified {_seals(seals)}, {pruned} of them pruned, with {_entries(entries)}, "
        f"and {_entries(unsealed)} that {verb} not sealed yet."
    )


def _seals(count: int) -> str:
    return _many(count, "seal")


def _entries(count: int) -> str:
    return _many(count, "entry", "entries")


def _many(count: int, one: str, more: str = "") -> str:
    return f"{count} {one if count == 1 else more or f'{one}s'}"


def _system_user() -> str:
    """By the process's own id: names in the environment are anybody's to set."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _verify_arguments(parser: ArgumentParser) -> None:
    what = "a seal's number, or a date"
    parser.add_argument("--from", type=bound, dest="first", help=what)
    parser.add_argument("--to", type=bound, dest="last", help=what)
    parser.add_argument("--anchor", help="a file, instead of AUDIT_ANCHOR_PATH")
    parser.add_argument(
        "--json", action="store_true", dest="as_json", help="one a line"
    )


def _prune_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--days", type=count, help="instead of AUDIT_RETENTION_DAYS")
    parser.add_argument(
        "--entries", type=count, help="instead of AUDIT_RETENTION_ENTRIES"
    )
    parser.add_argument("--limit", type=count, help="seals at most")
    parser.add_argument("--seconds", type=count, help="then no further one is begun")
    parser.add_argument(
        "--pause-ms", type=count, default=50, help="between two seals, for others"
    )
    parser.add_argument("--dry-run", action="store_true", help="count, delete nothing")
    parser.add_argument(
        "--tampered", action="store_true", help="also what does not verify"
    )


def _export_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--format", choices=FORMS, default="csv", dest="form")
    parser.add_argument("--output", help="a file, instead of the standard output")
    parser.add_argument("--since", type=moment, help="from this time on")
    parser.add_argument("--until", type=moment, help="before this time")
    parser.add_argument("--user", help="an id or a name of a user")
    parser.add_argument("--kind", help="request, or that of an event")
    parser.add_argument("--status", type=status, help="404 or 4xx")
    parser.add_argument("--limit", type=count, help="entries at most, the oldest")
