"""System checks of sockets.

perfguard.E801  an origin that is none     perfguard.W801  any origin is let in
perfguard.E802  any origin, and cookies    perfguard.W802  a time that makes no sense
perfguard.E803  a path that is none        perfguard.W803  sessions that nobody keeps
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from django.apps import apps
from django.core.checks import CheckMessage, Error, Warning

from perfguard.conf import conf, mistyped

Check = Callable[..., list[CheckMessage]]

LONGEST_TICKET = 300  # seconds; then it is no ticket any more
LONGEST_RECHECK = 300  # seconds; then signing out means little to an open socket


def has_types() -> bool:
    """Whether the settings of this room are of the right types; else E002 tells."""
    return not mistyped("SOCKET_")


def check_origins(**kwargs: Any) -> list[CheckMessage]:
    if not has_types():
        return []
    return [
        Error(
            f"PERFGUARD['SOCKET_ORIGINS'] has {entry[:100]!r}, which is no origin.",
            hint="Write scheme, host and, if it is not the usual one, port: "
            "'https://app.example.com'. No slash at the end; patterns are not read.",
            id="perfguard.E801",
        )
        for entry in conf.SOCKET_ORIGINS
        if entry != "*" and not is_origin(entry)
    ]


def is_origin(text: str) -> bool:
    """As browsers write it (RFC 6454, section 6.1), whatever its case."""
    try:
        parts = urlsplit(text)
        port = parts.port  # raises for one that is no number
    except ValueError:
        return False
    if not parts.scheme or not parts.hostname or "*" in text or "@" in text:
        return False
    usual = {"http": 80, "https": 443}.get(parts.scheme, 0)
    # A browser leaves the usual port out, so that the text would never be met.
    exact = f"{parts.scheme}://{parts.netloc}".lower() == text.lower()
    return exact and port != usual and text.isprintable() and " " not in text


def check_cookies(**kwargs: Any) -> list[CheckMessage]:
    if not has_types() or "*" not in conf.SOCKET_ORIGINS:
        return []
    if "session" in conf.SOCKET_AUTHENTICATION:
        return [
            Error(
                "Any origin may open sockets, and cookies sign in: every site could "
                "open them in the name of its visitors.",
                hint="List PERFGUARD['SOCKET_ORIGINS'], or take 'session' out of "
                "SOCKET_AUTHENTICATION.",
                id="perfguard.E802",
            )
        ]
    return [
        Warning(
            "PERFGUARD['SOCKET_ORIGINS'] lets the pages of any site open sockets.",
            hint="List the origins of your own pages.",
            id="perfguard.W801",
        )
    ]


def check_paths(**kwargs: Any) -> list[CheckMessage]:
    if not has_types():
        return []
    return [
        Error(
            f"PERFGUARD['SOCKET_PATHS'] has {entry[:100]!r}, which is no path.",
            hint="Write a path that begins with a slash, such as '/ws'.",
            id="perfguard.E803",
        )
        for entry in conf.SOCKET_PATHS
        if not entry.startswith("/") or {"?", "*", "<", "%"} & set(entry)
    ]


def check_times(**kwargs: Any) -> list[CheckMessage]:
    if not has_types():
        return []
    return [
        Warning(message, hint=hint, id="perfguard.W802") for message, hint in _times()
    ]


def _times() -> Iterator[tuple[str, str]]:
    if conf.SOCKET_TICKET_SECONDS > LONGEST_TICKET:
        yield (
            f"A ticket is good for {conf.SOCKET_TICKET_SECONDS:g} seconds, and is in "
            "the logs of all servers on its way.",
            "Set PERFGUARD['SOCKET_TICKET_SECONDS'] to the time that a page needs.",
        )
    if conf.SOCKET_RECHECK_SECONDS > LONGEST_RECHECK:
        yield (
            "Who signs out keeps open sockets for up to "
            f"{conf.SOCKET_RECHECK_SECONDS:g} seconds.",
            "Lower PERFGUARD['SOCKET_RECHECK_SECONDS'].",
        )


def check_sessions(**kwargs: Any) -> list[CheckMessage]:
    if not has_types() or "session" not in conf.SOCKET_AUTHENTICATION:
        return []
    if apps.is_installed("django.contrib.sessions"):
        return []
    return [
        Warning(
            "SOCKET_AUTHENTICATION has 'session', and django.contrib.sessions is not "
            "installed.",
            hint="Add it to INSTALLED_APPS, or take 'session' out.",
            id="perfguard.W803",
        )
    ]


ALL: tuple[Check, ...] = (
    check_origins,
    check_cookies,
    check_paths,
    check_times,
    check_sessions,
)
DEPLOY: tuple[Check, ...] = ()
