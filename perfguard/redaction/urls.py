"""URLs without the secrets in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

from perfguard.conf import conf
from perfguard.redaction.forms import redact_pairs
from perfguard.redaction.names import IN_URLS, is_secret
from perfguard.redaction.patterns import BLANK, redact_text

SHORTEST = 3  # characters: shorter ones are anywhere in a path
SAFE = "/:@!$&'()*+,;=~"

# A segment that is long, or anything but letters, digits and "/", "_", ".", "-": the
# paths of most requests hold neither.
SUSPECT = re.compile(r"[^\w/.-]|[\w.-]{12}")
# The query and the fragment, which holds tokens too (RFC 6749, section 4.2.2).
PAIRS = re.compile(r"([?#])([^\s<>\"?#]++)")


def redact_url(path: str, query: str) -> str:
    if SUSPECT.search(path) or conf.REDACTED_PATTERNS:
        path = _path(path)
    if not query:
        return path
    return f"{path}?{redact_pairs(query, also=IN_URLS)}"


def redact_path(path: str, values: Mapping[str, Any]) -> str:
    """``values`` are what the path was resolved to, by name: ``/reset/<token>/``."""
    if not values:
        return path
    texts = {
        str(value)
        for name, value in values.items()
        if value is not None and (name.lower() in IN_URLS or is_secret(name))
    }
    for text in sorted(texts, key=len, reverse=True):
        if len(text) >= SHORTEST:
            path = _without(text, path)
    return path


def _without(text: str, path: str) -> str:
    path = path.replace(text, BLANK)
    # A client may encode any of its characters, in capitals or not.
    plain = unquote(path)
    return quote(plain.replace(text, BLANK), safe=SAFE) if text in plain else path


def _path(path: str) -> str:
    if "%" not in path:
        return redact_text(path)
    plain = unquote(path)
    redacted = redact_text(plain)
    return path if redacted == plain else quote(redacted, safe=SAFE)


def redact_urls(text: str) -> str:
    """Text that is a URL, or holds some: Location, Referer, Link."""
    return redact_text(PAIRS.sub(_pairs, text))


def _pairs(match: re.Match[str]) -> str:
    return match[1] + redact_pairs(match[2], also=IN_URLS)
