"""System checks of redaction.

perfguard.E111  REDACTED_PATTERNS or REDACTED_NAMES has something that finds nothing
"""

from __future__ import annotations

import re
from collections.abc import Callable

from django.core.checks import CheckMessage, Error

from perfguard.conf import conf, mistyped

Check = Callable[..., list[CheckMessage]]

# A repetition within a repetition: time that grows with a power of the text's length.
NESTED = re.compile(r"[+*}]\)?[^()|]*\)[+*{]")


def check_settings(**kwargs: object) -> list[CheckMessage]:
    if mistyped("REDACTED_"):
        return []
    patterns = [
        Error(
            f"PERFGUARD['REDACTED_PATTERNS'] has {pattern!r}: {reason}.",
            hint="Write a regular expression of Python without nested repetitions.",
            id="perfguard.E111",
        )
        for pattern in conf.REDACTED_PATTERNS
        if (reason := _wrong(pattern))
    ]
    names = [
        Error(
            f"PERFGUARD['REDACTED_NAMES'] has {name!r}, in which there is no letter.",
            hint="Write the name of a field, such as 'tax_id'.",
            id="perfguard.E111",
        )
        for name in conf.REDACTED_NAMES
        if not any(map(str.isalpha, name))
    ]
    return [*patterns, *names]


def _wrong(pattern: str) -> str:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        return str(error)
    if compiled.match(""):
        return "it matches the empty text"
    if NESTED.search(pattern):
        return "a repetition within a repetition may take for ever"
    return ""


ALL: tuple[Check, ...] = (check_settings,)
