"""System checks of API keys.

perfguard.E301  API_KEYS_PREFIX           perfguard.W301  restricted to nothing
perfguard.E302  a wrong endpoint          perfguard.W302  a short API_KEYS_PEPPER
perfguard.E303  a wrong lifetime          perfguard.W303  endpoints, and no restriction
perfguard.E304  API_KEYS_HEADER           perfguard.W304  an endpoint that leads nowhere
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

from perfguard.api_keys.rules import covers, is_known
from perfguard.conf import conf, mistyped
from perfguard.exceptions import InvalidLifetime
from perfguard.lifetimes import read_lifetime

Check = Callable[..., list[CheckMessage]]

# In lower case no prefix is the start of a JWT, which is "eyJ".
PREFIX = re.compile(r"[a-z][a-z0-9]{1,15}")
HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
# Headers that mean something else, or that browsers send by themselves.
TAKEN = frozenset({"authorization", "cookie", "host", "origin", "referer"})
SHORTEST_PEPPER = 32  # characters


def has_types() -> bool:
    """Whether the settings of this room are of the right types; else E002 tells."""
    return not mistyped("API_KEYS_")


def check_prefix(**kwargs: Any) -> list[CheckMessage]:
    if not has_types() or PREFIX.fullmatch(conf.API_KEYS_PREFIX):
        return []
    return [
        Error(
            f"PERFGUARD['API_KEYS_PREFIX'] is {conf.API_KEYS_PREFIX!r}.",
            hint="Write 2 to 16 lower-case letters and digits, a letter first.",
            id="perfguard.E301",
        )
    ]


def check_endpoints(**kwargs: Any) -> list[CheckMessage]:
    if not has_types():
        return []
    return [
        Error(
            f"PERFGUARD['API_KEYS_ALLOWED_ENDPOINTS'] has {entry!r}, which allows "
            "nothing.",
            hint="Write a path that begins with a slash, without '//', '.' or '..' "
            "in it.",
            id="perfguard.E302",
        )
        for entry in conf.API_KEYS_ALLOWED_ENDPOINTS
        if not covers(entry, entry)
    ]


def check_lifetimes(**kwargs: Any) -> list[CheckMessage]:
    if not has_types():
        return []
    return [
        Error(message, hint=hint, id="perfguard.E303") for message, hint in _lifetimes()
    ]


def _lifetimes() -> Iterator[tuple[str, str | None]]:
    for name in ("API_KEYS_MAX_LIFETIME", "API_KEYS_ROTATION_OVERLAP"):
        try:
            found = read_lifetime(getattr(conf, name))
        except InvalidLifetime as error:
            yield f"PERFGUARD[{name!r}]: {error}", None
        else:
            if found is None and name == "API_KEYS_ROTATION_OVERLAP":
                yield (
                    f"PERFGUARD[{name!r}] is without end: a key that is rotated would "
                    "go on for ever.",
                    "Write how long the old key should go on, such as '1d'.",
                )


def check_header(**kwargs: Any) -> list[CheckMessage]:
    name = conf.API_KEYS_HEADER if has_types() else ""
    if not name or (HEADER.fullmatch(name) and name.lower() not in TAKEN):
        return []
    return [
        Error(
            f"PERFGUARD['API_KEYS_HEADER'] is {name!r}.",
            hint="Name a header of its own, such as 'X-API-Key'. Authorization is "
            "always read.",
            id="perfguard.E304",
        )
    ]


def check_restrictions(**kwargs: Any) -> list[CheckMessage]:
    if not has_types():
        return []
    is_on, listed = conf.API_KEYS_ENDPOINT_RESTRICTIONS, conf.API_KEYS_ALLOWED_ENDPOINTS
    if is_on and not listed:
        return [
            Warning(
                "API keys are restricted to an empty list of endpoints: every use of "
                "one is refused.",
                hint="Fill PERFGUARD['API_KEYS_ALLOWED_ENDPOINTS'].",
                id="perfguard.W301",
            )
        ]
    if listed and not is_on:
        return [
            Warning(
                "PERFGUARD['API_KEYS_ALLOWED_ENDPOINTS'] is set, and has no effect.",
                hint="Set PERFGUARD['API_KEYS_ENDPOINT_RESTRICTIONS'] to True.",
                id="perfguard.W303",
            )
        ]
    return []


def check_known(**kwargs: Any) -> list[CheckMessage]:
    if not has_types() or not getattr(settings, "ROOT_URLCONF", None):
        return []
    return [
        Warning(
            f"PERFGUARD['API_KEYS_ALLOWED_ENDPOINTS'] has {entry!r}, and no URL of "
            "this site begins so.",
            hint="Compare it with the URL configuration.",
            id="perfguard.W304",
        )
        for entry in conf.API_KEYS_ALLOWED_ENDPOINTS
        if covers(entry, entry) and not is_known(entry)
    ]


def check_pepper(**kwargs: Any) -> list[CheckMessage]:
    if not has_types() or not 0 < len(conf.API_KEYS_PEPPER) < SHORTEST_PEPPER:
        return []
    return [
        Warning(
            f"PERFGUARD['API_KEYS_PEPPER'] is shorter than {SHORTEST_PEPPER} "
            "characters.",
            hint='python -c "import secrets; print(secrets.token_urlsafe(48))" '
            "makes one.",
            id="perfguard.W302",
        )
    ]


ALL: tuple[Check, ...] = (
    check_prefix,
    check_endpoints,
    check_lifetimes,
    check_header,
    check_restrictions,
    check_known,
    check_pepper,
)
