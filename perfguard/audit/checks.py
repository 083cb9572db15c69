"""System checks of the audit log.

perfguard.E121  a setting of the audit log is wrong, or lacks another
perfguard.E122  USE_TZ is off
perfguard.E123  a signing key that is short
perfguard.W120  SQLite, and transactions that do not begin by taking the lock
perfguard.W121  included and excluded paths are both set
perfguard.W122  nothing is audited: AUDIT_LEVEL is set, and the middleware is missing
perfguard.W123  a spool, anchor or file that cannot be written
perfguard.W124  the log is signed by SECRET_KEY, which other things may rotate
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

from perfguard.conf import conf, mistyped

Check = Callable[..., list[CheckMessage]]

MIDDLEWARE = "perfguard.audit.middleware.AuditMiddleware"
PATHS = (
    *("AUDIT_INCLUDED_PATHS", "AUDIT_EXCLUDED_PATHS"),
    *("AUDIT_ALWAYS_PATHS", "AUDIT_PATH_BASES"),
)
SHORTEST_KEY = 32  # characters, as bytes of HMAC-SHA-256 (RFC 2104, section 3)
METHOD = re.compile(r"[A-Za-z]+")


def check_settings(**kwargs: Any) -> list[CheckMessage]:
    if mistyped("AUDIT_"):
        return []
    return [Error(text, hint=hint, id="perfguard.E121") for text, hint in _mistakes()]


def _mistakes() -> Iterator[tuple[str, str]]:
    if conf.AUDIT_DATABASE not in settings.DATABASES:
        yield (
            f"PERFGUARD['AUDIT_DATABASE'] is {conf.AUDIT_DATABASE!r}.",
            f"Give it an alias of DATABASES: {', '.join(settings.DATABASES)}.",
        )
    if conf.AUDIT_LEVEL != "NONE" and not conf.AUDIT_SINKS:
        yield (
            f"PERFGUARD['AUDIT_SINKS'] is empty, and AUDIT_LEVEL is "
            f"{conf.AUDIT_LEVEL!r}: entries go nowhere.",
            "Name a sink, or set AUDIT_LEVEL to 'NONE'.",
        )
    needs_spool = conf.AUDIT_DURABILITY == "spool" or conf.AUDIT_OVERFLOW == "spool"
    if needs_spool and not conf.AUDIT_SPOOL_DIR:
        yield (
            "PERFGUARD['AUDIT_SPOOL_DIR'] is empty, and AUDIT_DURABILITY or "
            "AUDIT_OVERFLOW is 'spool'.",
            "Give it a directory of this machine that outlives the process.",
        )
    if "file" in conf.AUDIT_SINKS and not conf.AUDIT_FILE_PATH:
        yield (
            "PERFGUARD['AUDIT_SINKS'] has 'file', and AUDIT_FILE_PATH is empty.",
            "Give it the path of a file.",
        )
    if (
        conf.AUDIT_SINKS
        and "database" not in conf.AUDIT_SINKS
        and conf.AUDIT_DURABILITY != "async"
    ):
        yield (
            f"PERFGUARD['AUDIT_DURABILITY'] is {conf.AUDIT_DURABILITY!r}, and "
            "AUDIT_SINKS has no 'database'.",
            "The other sinks are written to after the answer: use 'async'.",
        )
    yield from _wrong_words()


def _wrong_words() -> Iterator[tuple[str, str]]:
    for name in conf.AUDIT_METHODS:
        if not METHOD.fullmatch(name):
            yield (
                f"PERFGUARD['AUDIT_METHODS'] has {name!r}, which is no method.",
                "Write methods as in HTTP: POST, PUT.",
            )
    for key in PATHS:
        for path in getattr(conf, key):
            if not path.strip("/") or not path.startswith("/"):
                yield (
                    f"PERFGUARD[{key!r}] has {path!r}.",
                    "Write a path from its slash on, such as '/chats'. It is taken as "
                    "it is, and is no regular expression.",
                )


def check_time_zone(**kwargs: Any) -> list[CheckMessage]:
    if mistyped("AUDIT_") or conf.AUDIT_LEVEL == "NONE" or settings.USE_TZ:
        return []
    return [
        Error(
            "USE_TZ is False: the time of an audit entry would be one of two in the "
            "hour that comes twice a year.",
            hint="Set USE_TZ = True, which is Django's default.",
            id="perfguard.E122",
        )
    ]


def check_sqlite(**kwargs: Any) -> list[CheckMessage]:
    if mistyped("AUDIT_") or conf.AUDIT_LEVEL == "NONE":
        return []
    database = settings.DATABASES.get(conf.AUDIT_DATABASE, {})
    mode = str(database.get("OPTIONS", {}).get("transaction_mode", "")).upper()
    is_sqlite = str(database.get("ENGINE", "")).endswith("sqlite3")
    if not is_sqlite or mode in {"IMMEDIATE", "EXCLUSIVE"}:
        return []
    return [
        Warning(
            "The audit log is written to SQLite beside the requests, and a transaction "
            "of theirs that reads first and writes then fails at once: 'database is "
            "locked', whatever the time-out is.",
            hint=f"In DATABASES[{conf.AUDIT_DATABASE!r}] set OPTIONS = "
            "{'transaction_mode': 'IMMEDIATE', 'timeout': 10}.",
            id="perfguard.W120",
        )
    ]


def check_paths(**kwargs: Any) -> list[CheckMessage]:
    if mistyped("AUDIT_") or not (
        conf.AUDIT_INCLUDED_PATHS and conf.AUDIT_EXCLUDED_PATHS
    ):
        return []
    return [
        Warning(
            "PERFGUARD has AUDIT_INCLUDED_PATHS and AUDIT_EXCLUDED_PATHS: the second "
            "has no effect.",
            hint="Only what is included is audited. Remove one of them.",
            id="perfguard.W121",
        )
    ]


def check_middleware(**kwargs: Any) -> list[CheckMessage]:
    if mistyped("AUDIT_") or conf.AUDIT_LEVEL == "NONE":
        return []
    if MIDDLEWARE in settings.MIDDLEWARE:
        return []
    return [
        Warning(
            f"PERFGUARD['AUDIT_LEVEL'] is {conf.AUDIT_LEVEL!r}, and no request is "
            "audited.",
            hint=f"Add {MIDDLEWARE} to MIDDLEWARE, after Django's authentication.",
            id="perfguard.W122",
        )
    ]


def check_key_lengths(**kwargs: Any) -> list[CheckMessage]:
    if mistyped("AUDIT_"):
        return []
    keys = [("AUDIT_OLD_SIGNING_KEYS", key) for key in conf.AUDIT_OLD_SIGNING_KEYS]
    if conf.AUDIT_SIGNING_KEY:
        keys.append(("AUDIT_SIGNING_KEY", conf.AUDIT_SIGNING_KEY))
    return [
        Error(
            f"PERFGUARD[{name!r}] has a key of {len(key)} characters.",
            hint=f"Give it at least {SHORTEST_KEY}, such as secrets.token_urlsafe(48) "
            "makes: who guesses the key can sign anything.",
            id="perfguard.E123",
        )
        for name, key in keys
        if len(key) < SHORTEST_KEY
    ]


def check_files(**kwargs: Any) -> list[CheckMessage]:
    """When it is deployed: whoever else runs checks may be another user."""
    if mistyped("AUDIT_") or conf.AUDIT_LEVEL == "NONE":
        return []
    return [
        Warning(
            f"PERFGUARD[{name!r}] is {path!r}, which this user cannot write to.",
            hint="Have the directory belong to the user whom the server runs as.",
            id="perfguard.W123",
        )
        for name, path, directory in _places()
        if path and not _is_writable(Path(directory))
    ]


def _places() -> Iterator[tuple[str, str, str]]:
    yield "AUDIT_SPOOL_DIR", conf.AUDIT_SPOOL_DIR, conf.AUDIT_SPOOL_DIR
    for name in ("AUDIT_FILE_PATH", "AUDIT_ANCHOR_PATH"):
        path = getattr(conf, name)
        yield name, path, os.path.dirname(path) or "."


def _is_writable(directory: Path) -> bool:
    """It, or what it will be made in."""
    directory = directory.absolute()
    while not directory.exists():
        directory = directory.parent
    return directory.is_dir() and os.access(directory, os.W_OK | os.X_OK)


def check_key(**kwargs: Any) -> list[CheckMessage]:
    if mistyped("AUDIT_") or conf.AUDIT_LEVEL == "NONE" or conf.AUDIT_SIGNING_KEY:
        return []
    return [
        Warning(
            "The audit log is signed by a key derived from SECRET_KEY: when that is "
            "changed, and not kept in SECRET_KEY_FALLBACKS, nothing can be verified.",
            hint="Set PERFGUARD['AUDIT_SIGNING_KEY'] to a secret of its own.",
            id="perfguard.W124",
        )
    ]


ALL: tuple[Check, ...] = (
    check_settings,
    check_time_zone,
    check_sqlite,
    check_key_lengths,
    check_paths,
    check_middleware,
)
DEPLOY: tuple[Check, ...] = (check_files, check_key)
