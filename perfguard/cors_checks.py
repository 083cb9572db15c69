"""System checks of django-cors-headers' settings.

perfguard.E905  every site may read answers in the name of its visitors
perfguard.W902  an expression for origins that looks at their beginning alone
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

Check = Callable[..., list[CheckMessage]]

# No expression that means the project's own sites knows these.
STRANGERS = (
    "https://perfguard-probe.invalid",
    "https://a.b.invalid",
    "http://invalid",
    "http://a.b.invalid:8443",
)


def check_credentials(**kwargs: Any) -> list[CheckMessage]:
    if not apps.is_installed("corsheaders"):
        return []
    if not getattr(settings, "CORS_ALLOW_CREDENTIALS", False):
        return []
    return [
        Error(
            f"{reason}, and CORS_ALLOW_CREDENTIALS is True: every site may send "
            "requests with the cookies of its visitors, and read what comes back.",
            hint="List the origins in CORS_ALLOWED_ORIGINS, or do without credentials.",
            id="perfguard.E905",
        )
        for reason in _anybody()
    ]


def _anybody() -> Iterator[str]:
    for name in ("CORS_ALLOW_ALL_ORIGINS", "CORS_ORIGIN_ALLOW_ALL"):
        if getattr(settings, name, False):
            yield f"{name} is True"
    for name in ("CORS_ALLOWED_ORIGINS", "CORS_ORIGIN_WHITELIST"):
        if "null" in (getattr(settings, name, ()) or ()):
            # Any page becomes "null" in a sandboxed frame.
            yield f"{name} has 'null'"
    for name, pattern in _expressions():
        if any(pattern.match(origin) for origin in STRANGERS):
            yield f"{name} has {pattern.pattern!r}, which matches sites of anybody's"


def check_ends(**kwargs: Any) -> list[CheckMessage]:
    return [
        Warning(
            f"{name} has {pattern.pattern!r}, which has no end: "
            "https://example.com.evil.test begins like https://example.com.",
            hint="End it with '$'.",
            id="perfguard.W902",
        )
        for name, pattern in _expressions()
        if not pattern.pattern.endswith(("$", r"\Z"))
    ]


def _expressions() -> Iterator[tuple[str, re.Pattern[str]]]:
    for name in ("CORS_ALLOWED_ORIGIN_REGEXES", "CORS_ORIGIN_REGEX_WHITELIST"):
        for pattern in getattr(settings, name, ()) or ():
            try:
                found = re.compile(pattern)
            except (re.error, TypeError):
                continue  # django-cors-headers has a check of its own
            if isinstance(found.pattern, str):
                yield name, found


ALL: tuple[Check, ...] = (check_credentials, check_ends)
