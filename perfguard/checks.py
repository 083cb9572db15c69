"""System checks: every mistake in ``PERFGUARD`` is met here first.

Those of the rooms are in the rooms: ``E0xx`` throttles and Redis, ``E11x`` redaction,
``E12x`` audit, ``E2xx`` trusted header, ``E3xx`` API keys, ``E4xx`` tokens, ``E5xx``
headers, ``E6xx`` compression and JSON, ``E7xx`` streaming, ``E8xx`` sockets, ``E9xx``
redirects, CORS, and the order of all middleware.

perfguard.E001  an unknown key
perfguard.E002  a value of a wrong type
perfguard.E005  TRUSTED_PROXIES
perfguard.W101  DRF's NUM_PROXIES is set
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

from perfguard import cors_checks, order_checks
from perfguard.api_keys import checks as api_keys
from perfguard.audit import checks as audit
from perfguard.compression import checks as compression
from perfguard.conf import conf, given, mistyped
from perfguard.exceptions import InvalidSetting
from perfguard.fast_json import checks as fast_json
from perfguard.headers import checks as headers
from perfguard.http.client_ip import trusted_networks
from perfguard.redaction import checks as redaction
from perfguard.redirects import checks as redirects
from perfguard.redis import checks as redis
from perfguard.schema import SETTINGS
from perfguard.sockets import checks as sockets
from perfguard.streaming import checks as streaming
from perfguard.throttling import checks as throttling
from perfguard.tokens import checks as tokens
from perfguard.trusted_header import checks as trusted_header

Check = Callable[..., list[CheckMessage]]


def check_names(**kwargs: Any) -> list[CheckMessage]:
    value = getattr(settings, "PERFGUARD", {})
    if not isinstance(value, Mapping):
        return [
            Error(
                f"PERFGUARD is a {type(value).__name__}.",
                hint="Write it as a dictionary: PERFGUARD = {...}.",
                id="perfguard.E002",
            )
        ]
    return [
        Error(
            f"PERFGUARD has no setting {name!r}.",
            hint=suggestion(str(name)),
            id="perfguard.E001",
        )
        for name in sorted(value.keys() - SETTINGS.keys(), key=str)
    ]


def suggestion(name: str) -> str:
    close = get_close_matches(name.upper(), SETTINGS, n=1, cutoff=0.5)
    return f"Did you mean {close[0]!r}?" if close else "See docs/settings.md."


def check_types(**kwargs: Any) -> list[CheckMessage]:
    return [
        Error(
            f"PERFGUARD[{name!r}] is {shown(name, given()[name])}.",
            hint=f"Give it {wanted}.",
            id="perfguard.E002",
        )
        for name, wanted in mistyped().items()
    ]


def shown(name: str, value: object) -> str:
    """The value, unless it may hold a password."""
    if any(
        word in name
        for word in (
            "PASSWORD",
            "URL",
            "SECRET",
            "PEPPER",
            "KEYS",
            "SIGNING",
        )
    ):
        return f"a {type(value).__name__}"
    return repr(value)[:100]


def check_proxies(**kwargs: Any) -> list[CheckMessage]:
    if mistyped():
        return []
    messages: list[CheckMessage] = []
    try:
        trusted_networks()
    except InvalidSetting as error:
        messages.append(Error(str(error), id="perfguard.E005"))
    rest = getattr(settings, "REST_FRAMEWORK", {})
    if rest.get("NUM_PROXIES") and not conf.TRUSTED_PROXIES:
        messages.append(
            Warning(
                "REST_FRAMEWORK['NUM_PROXIES'] is set, and perfguard does not use it: "
                "all clients behind your proxies share one address.",
                hint="List the proxies' networks in PERFGUARD['TRUSTED_PROXIES'].",
                id="perfguard.W101",
            )
        )
    return messages


ALL: tuple[Check, ...] = (
    *order_checks.ALL,
    *cors_checks.ALL,
    *trusted_header.ALL,
    *api_keys.ALL,
    *audit.ALL,
    *redaction.ALL,
    *tokens.ALL,
    *headers.ALL,
    *compression.ALL,
    *streaming.ALL,
    *sockets.ALL,
    *redirects.ALL,
    *fast_json.ALL,
    *throttling.ALL,
    *redis.ALL,
    check_names,
    check_types,
    check_proxies,
)
DEPLOY: tuple[Check, ...] = (
    *order_checks.DEPLOY,
    *audit.DEPLOY,
    *tokens.DEPLOY,
    *headers.DEPLOY,
    *compression.DEPLOY,
    *streaming.DEPLOY,
    *sockets.DEPLOY,
    *throttling.DEPLOY,
)
