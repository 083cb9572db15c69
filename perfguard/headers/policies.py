"""Content security policies: read from text, and looked at for mistakes.

Browsers pass over what they do not know without a word, so that a slip of the pen
opens what it should close.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from perfguard.exceptions import InvalidSetting
from perfguard.headers.csp import CSP

FETCH = (
    *("default-src", "script-src", "script-src-elem", "script-src-attr", "style-src"),
    *("style-src-elem", "style-src-attr", "img-src", "font-src", "connect-src"),
    *("media-src", "object-src", "frame-src", "child-src", "worker-src"),
    *("manifest-src", "fenced-frame-src", "prefetch-src"),
)
SOURCES = frozenset((*FETCH, "base-uri", "form-action", "frame-ancestors"))
DIRECTIVES = SOURCES | {
    *("sandbox", "upgrade-insecure-requests", "block-all-mixed-content"),
    *("require-trusted-types-for", "trusted-types", "report-uri", "report-to"),
    *("webrtc", "plugin-types", "require-sri-for"),
}
KEYWORDS = frozenset(
    (
        *("self", "none", "unsafe-inline", "unsafe-eval", "unsafe-hashes"),
        *("strict-dynamic", "report-sample", "wasm-unsafe-eval", "inline-speculation"),
        *("unsafe-allow-redirects", "trusted-types-eval", "report-sha256"),
        *("report-sha384", "report-sha512"),
    )
)
NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
SOURCE = re.compile(r"[!-+\--:<-~]+")  # ASCII that is visible, but "," and ";"
HASH = re.compile(r"(?:sha256|sha384|sha512)-[A-Za-z0-9+/_-]+={0,2}")
OPAQUE = ("nonce-", "sha256-", "sha384-", "sha512-")
PLACE = "'nonce-{nonce}'"  # what CSP.NONCE is called in text

Policy = Mapping[str, Any]


def read_policy(value: Any) -> dict[str, Any]:
    """A policy as text or as a dictionary, as a dictionary whose order is fixed.

    Raises InvalidSetting when a browser would read something else than is meant.
    """
    given = _parsed(value) if isinstance(value, str) else value
    if not isinstance(given, Mapping):
        raise InvalidSetting(f"{value!r} is neither text nor a dictionary.")
    return {name: _sources(name, each) for name, each in given.items()}


def _parsed(text: str) -> dict[str, Any]:
    directives: dict[str, Any] = {}
    for part in filter(None, map(str.strip, text.split(";"))):
        name, *sources = part.split()
        if name.lower() in directives:
            raise InvalidSetting(f"{name!r} is there twice: browsers read the first.")
        directives[name.lower()] = [
            CSP.NONCE if it == PLACE else it for it in sources
        ] or True
    return directives


def _sources(name: Any, value: Any) -> Any:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise InvalidSetting(f"{name!r} is no name of a directive.")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        value = value.split() if value != CSP.NONCE else [value]
    if isinstance(value, set | frozenset):
        value = sorted(value)  # a set has another order in each process
    if not isinstance(value, list | tuple):
        raise InvalidSetting(
            f"{name!r} is {value!r}: give it a list of sources, or True for none."
        )
    return [_source(name, each) for each in value]


def _source(name: str, source: Any) -> str:
    if source == CSP.NONCE:
        return source  # type: ignore[no-any-return]
    if not isinstance(source, str) or not SOURCE.fullmatch(source):
        raise InvalidSetting(
            f"{name!r} has the source {source!r}: one source an item, in visible ASCII "
            "without ';' and ',', which would begin another directive or policy."
        )
    return str(source)


def doubts(policy: Policy) -> Iterator[tuple[str, str]]:
    """What a browser would pass over, and what was probably meant."""
    for name, sources in policy.items():
        if name not in DIRECTIVES:
            yield f"{name!r} is no directive that is known", _close(name, DIRECTIVES)
        elif name in SOURCES and isinstance(sources, list):
            for source in sources:
                yield from _doubts_of(name, source)
            if "'none'" in sources and len(sources) > 1:
                yield f"{name!r} has 'none' beside others", "'none' stands alone."


def _doubts_of(name: str, source: str) -> Iterator[tuple[str, str]]:
    bare = source.strip("'\"").lower()
    is_quoted = source == f"'{bare}'" or source[:1] == source[-1:] == "'"
    known = bare in KEYWORDS or bare.startswith(OPAQUE)
    if known and not is_quoted:
        meant = source.strip("'\"")
        yield f"{name!r} has {source!r} without single quotes", f"Write {meant!r}."
    elif bare.startswith("nonce-"):
        yield (
            f"{name!r} has a nonce that is always the same",
            "Use CSP.NONCE: everybody can read the one in the header.",
        )
    elif is_quoted and bare not in KEYWORDS and not HASH.fullmatch(source[1:-1]):
        yield f"{name!r} has the unknown keyword {source!r}", _close(bare, KEYWORDS)


def _close(word: str, words: Any) -> str:
    close = get_close_matches(word.lower(), sorted(words), n=1, cutoff=0.6)
    return f"Did you mean {close[0]!r}?" if close else "Browsers will pass over it."


def has_nonce(policy: Policy) -> bool:
    return any(
        CSP.NONCE in sources for sources in policy.values() if isinstance(sources, list)
    )
