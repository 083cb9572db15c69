"""Pairs of names and values, as in forms and in query strings."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection
from urllib.parse import quote_plus, unquote_plus

from perfguard.redaction.json_text import redact_value
from perfguard.redaction.names import is_secret
from perfguard.redaction.patterns import BLANK, redact_text
from perfguard.redaction.plain_json import NAMED, NAMING

SAFE = "*/:@,;()[]!$'~?="  # what a value of a pair may hold as it is
# "name=password&value=...", and the code of a grant (RFC 6749, section 4.1.3).
NAMES = re.compile(
    rf"(?i)(?:\A|&)(?:{'|'.join(sorted(NAMING))})=([^&]{{1,128}}+)(?=&|\Z)"
)
GRANT = re.compile(r"(?:\A|&)grant_type=")
HALF_ESCAPE = re.compile(r"%[0-9A-Fa-f]?\Z")


def redact_pairs(
    text: str,
    *,
    is_cut: bool = False,
    also: Collection[str] = (),
    limit: int = sys.maxsize,
) -> str:
    """``also``: names that are secret here, in lower case. No more than about ``limit``
    characters are looked for."""
    redacted, size = [], 0
    also = {*also, *_secret_beside(text)}
    pairs = text.split("&")
    for number, pair in enumerate(pairs, 1):
        piece = _pair(pair, also, is_cut=is_cut and number == len(pairs))
        redacted.append(piece)
        size += len(piece) + 1
        if size > limit + 1:
            break
    return "&".join(redacted)


def _secret_beside(text: str) -> set[str]:
    """The names that are secret here, for what else there is."""
    found = {"code"} if GRANT.search(text) else set()
    return found | NAMED if any(map(_names_secret, NAMES.findall(text))) else found


def _names_secret(value: str) -> bool:
    return is_secret(_decoded(value))


def _pair(pair: str, also: Collection[str], *, is_cut: bool) -> str:
    name, equals, value = pair.partition("=")
    plain = _decoded(name)
    if not equals:
        return _text(name, is_cut=is_cut)
    if is_secret(plain) or plain.partition("[")[0].strip().lower() in also:
        return f"{_text(name)}={BLANK}"
    return f"{_text(name)}={_text(value, is_cut=is_cut)}"


def _decoded(name: str) -> str:
    """Also of what was encoded twice, as some clients do."""
    plain = unquote_plus(name)
    return unquote_plus(plain) if "%" in plain else plain


def _text(encoded: str, *, is_cut: bool = False) -> str:
    plain = unquote_plus(HALF_ESCAPE.sub("", encoded) if is_cut else encoded)
    redacted = redact_value(plain, is_cut=is_cut)
    if redacted == plain and "%" in plain:
        # Encoded twice: it stays so, as a whole.
        twice = unquote_plus(plain)
        redacted = plain if redact_text(twice) == twice else BLANK
    return encoded if redacted == plain else quote_plus(redacted, safe=SAFE)
