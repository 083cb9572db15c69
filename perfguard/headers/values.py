"""What a header may say. A wrong value is refused, and never replaced by another."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from perfguard.exceptions import InvalidSetting
from perfguard.headers.permissions import permissions_text, read_permissions

# What Python raises for an expression that it cannot read.
BAD_PATTERN = (re.error, OverflowError, RecursionError)

Reader = Callable[[str], str]

HSTS = "Strict-Transport-Security"
CSP_HEADERS = ("Content-Security-Policy", "Content-Security-Policy-Report-Only")
PERMISSIONS = "Permissions-Policy"

NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token of RFC 9110
# Latin-1 without controls: what a header can hold on its way to the client.
TEXT = re.compile(r"[\x20-\x7e\xa0-\xff]+")
# Each answer has its own, or the server writes them.
OF_THE_ANSWER = frozenset(
    (
        *("allow", "connection", "content-encoding", "content-length", "content-range"),
        *("content-type", "date", "etag", "keep-alive", "last-modified", "location"),
        *("retry-after", "set-cookie", "trailer", "transfer-encoding", "upgrade"),
        *("vary", "www-authenticate", "clear-site-data"),
    )
)


def read_value(name: str, value: Any) -> str:
    """The header's text, in its usual spelling; raises InvalidSetting.

    Not for the two headers of a content security policy.
    """
    if name.lower() == PERMISSIONS.lower():
        return permissions_text(read_permissions(_clean(value)))
    if not isinstance(value, str):
        raise InvalidSetting(f"{value!r} is no text.")
    reader = READERS.get(name.lower())
    return reader(_clean(value)) if reader else _clean(value)


def read_name(name: Any) -> str:
    """The header's name in its usual case; raises InvalidSetting."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise InvalidSetting(f"{name!r} is no name of a header.")
    if name.lower() in OF_THE_ANSWER:
        raise InvalidSetting(f"{name!r} is not the same on every answer.")
    return name


def _clean(value: Any) -> Any:
    if isinstance(value, str) and not TEXT.fullmatch(value.strip(" ")):
        raise InvalidSetting(
            f"{value!r} cannot be sent: a header holds Latin-1 text, without CR, LF "
            "and other controls, and is not empty."
        )
    return value.strip(" ") if isinstance(value, str) else value


def _one_of(*allowed: str) -> Reader:
    known = {each.lower(): each for each in allowed}

    def read(text: str) -> str:
        if text.lower() not in known:
            raise InvalidSetting(f"{text!r} is none of: {', '.join(allowed)}.")
        return known[text.lower()]

    return read


REPORT_TO = re.compile(r'\s*;\s*report-to="?([A-Za-z0-9._-]+)"?$')


def _isolating(*allowed: str) -> Reader:
    """One of them, and where to report to."""
    token = _one_of(*allowed)

    def read(text: str) -> str:
        found = REPORT_TO.search(text)
        group = f'; report-to="{found[1]}"' if found else ""
        return token(text[: found.start()] if found else text) + group

    return read


def _listed(*allowed: str) -> Reader:
    token = _one_of(*allowed)

    def read(text: str) -> str:
        return ", ".join(token(part.strip()) for part in text.split(","))

    return read


def _hsts(text: str) -> str:
    parts = [part.strip().lower() for part in text.split(";") if part.strip()]
    age = [part for part in parts if re.fullmatch(r'max-age="?\d{1,10}"?', part)]
    flags = {part for part in parts if part not in age}
    if len(age) != 1 or len(flags) + 1 != len(parts):
        flags = {"wrong"}
    if flags - {"includesubdomains", "preload"}:
        raise InvalidSetting(
            f"{text!r}: write 'max-age=31536000; includeSubDomains; preload', the last "
            "two as you like."
        )
    words = {"includesubdomains": "includeSubDomains", "preload": "preload"}
    chosen = [word for flag, word in words.items() if flag in flags]
    return "; ".join([age[0].replace('"', ""), *chosen])


CACHE_SECONDS = {
    *("max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"),
}
CACHE_FLAGS = {
    *("no-store", "no-cache", "no-transform", "must-revalidate", "proxy-revalidate"),
    *("must-understand", "private", "public", "immutable"),
}


def _cache_control(text: str) -> str:
    parts = [part.strip().lower() for part in text.split(",")]
    for part in parts:
        name, equals, seconds = part.partition("=")
        is_flag = name in CACHE_FLAGS and not equals
        if not is_flag and not (name in CACHE_SECONDS and seconds.isdecimal()):
            raise InvalidSetting(
                f"{part!r} is no directive: use {', '.join(sorted(CACHE_FLAGS))}, and "
                f"{', '.join(sorted(CACHE_SECONDS))} with seconds."
            )
    return ", ".join(parts)


ENDPOINT = re.compile(r'[a-z*][a-z0-9_.*-]*="(?:https://[^"\s]+|/[^"\s]*)"')


def _endpoints(text: str) -> str:
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        if not ENDPOINT.fullmatch(part):
            raise InvalidSetting(
                f'{part!r} is no end-point: write name="/path" or '
                'name="https://host/path", with commas between.'
            )
    return ", ".join(parts)


READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "strict-transport-security": _hsts,
        "x-content-type-options": _one_of("nosniff"),
        "x-frame-options": _one_of("DENY", "SAMEORIGIN"),
        "referrer-policy": _listed(
            *("no-referrer", "no-referrer-when-downgrade", "origin"),
            *("origin-when-cross-origin", "same-origin", "strict-origin"),
            *("strict-origin-when-cross-origin", "unsafe-url"),
        ),
        "cross-origin-opener-policy": _isolating(
            *("same-origin", "same-origin-allow-popups", "noopener-allow-popups"),
            "unsafe-none",
        ),
        "cross-origin-embedder-policy": _isolating(
            *("require-corp", "credentialless", "unsafe-none")
        ),
        "cross-origin-resource-policy": _one_of(
            *("same-origin", "same-site", "cross-origin")
        ),
        "origin-agent-cluster": _one_of("?1", "?0"),
        "x-permitted-cross-domain-policies": _one_of(
            *("none", "master-only", "by-content-type", "by-ftp-filename", "all"),
            "none-this-response",
        ),
        "x-download-options": _one_of("noopen"),
        "cache-control": _cache_control,
        "reporting-endpoints": _endpoints,
    }
)
