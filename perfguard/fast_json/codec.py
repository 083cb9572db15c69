"""orjson, where it is installed, held to what the standard library reads and writes.

Where orjson cannot do that, or would write or read another value, ``HandOver`` is
raised, and the caller takes the standard library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from math import isfinite
from typing import Any

from perfguard.optional import orjson

UTF_8 = frozenset({"utf-8", "utf8"})
# Digits become "0", all else a space: a long number is then found as fast as memory
# is searched, ten times as fast as by a regular expression.
DIGITS = bytes(48 if byte in b"0123456789" else 32 for byte in range(256))
# The fewest digits that 64 bits may not hold; orjson makes a float of such a number.
LONG_NUMBER = b"0" * 19
CONTAINERS = frozenset({dict, list, tuple})
WRITTEN = 254  # so many containers in one another are written by orjson
SMALL = 4096  # bytes
LOOKED_AT = CONTAINERS | {float}
# The standard library takes subclasses for what they are, whatever else they say;
# of a dict it takes items(), which a subclass may have made its own.
PLAIN: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    (dict, lambda given: dict(given.items())),
    (list, list),
    (tuple, list),
)


class HandOver(Exception):
    """The standard library has to do this."""


def is_installed() -> bool:
    return orjson is not None


def write(
    value: Any, default: Callable[[Any], Any], *, looks_for_nan: bool = True
) -> bytes:
    """JSON in UTF-8, without spaces; ``default`` is as for ``json.JSONEncoder``.

    Raises ``HandOver``, and whatever ``default`` raises.
    """
    made: list[Any] = [value]
    failures: list[BaseException] = []  # orjson puts an error of its own over them

    def unknown(given: Any) -> Any:
        try:
            found = _plain(given, default)
        except BaseException as failure:
            failures.append(failure)
            raise
        if type(found) in LOOKED_AT:
            made.append(found)
        return found

    try:
        body = orjson.dumps(value, unknown, _options())
    except orjson.JSONEncodeError:
        failure = failures[0] if failures else HandOver()
        raise failure from failure.__cause__
    # orjson writes null for what is no number: only then is it worth a look.
    if looks_for_nan and _has(body, b"null") and not _are_finite(made):
        raise HandOver
    return _escaped(body) if b"\xe2" in body else body


def _options() -> int:
    # What orjson knows, but writes in its own way, comes to unknown() instead. A key
    # that is no str is refused by it, and therefore left to the standard library.
    return int(
        orjson.OPT_PASSTHROUGH_SUBCLASS
        | orjson.OPT_PASSTHROUGH_DATETIME
        | orjson.OPT_PASSTHROUGH_DATACLASS
    )


def _plain(given: Any, default: Callable[[Any], Any]) -> Any:
    for kind, plain in PLAIN:
        if isinstance(given, kind):
            return plain(given)
    if hasattr(given, "__next__"):
        # It can be walked through once, and orjson may not get to the answer's end.
        raise HandOver
    return default(given)


def _are_finite(values: Iterable[Any]) -> bool:
    level = [each for each in values if type(each) in LOOKED_AT]
    while level:
        if not all(map(isfinite, [each for each in level if type(each) is float])):
            return False
        level = _inside(level)
    return True


def _inside(level: Iterable[Any]) -> list[Any]:
    """The containers and floats that the containers of this level hold."""
    return [
        each
        for held in level
        if type(held) is not float
        for each in (held.values() if type(held) is dict else held)
        if type(each) in LOOKED_AT
    ]


def _escaped(body: bytes) -> bytes:
    # Line ends to JavaScript, though not to JSON: DRF escapes them.
    for sign, escape in ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029")):
        if _has(body, sign):
            body = body.replace(sign, escape)
    return body


def _has(body: bytes, text: bytes) -> bool:
    # From the end: CPython searches a few bytes that way in a third of the time.
    return body.rfind(text) >= 0


def read(body: bytes, charset: str) -> Any:
    """The value of a JSON text, or ``HandOver``, also where it is not JSON."""
    if not is_installed() or charset.lower() not in UTF_8:
        raise HandOver
    if LONG_NUMBER in body.translate(DIGITS):
        raise HandOver
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise HandOver from None


def is_shallow(body: bytes, charset: str, depth: int) -> bool:
    """Whether so few brackets are seen at once; in other charsets they are others."""
    return (
        len(body) < SMALL
        and charset.lower() in UTF_8
        and body.count(b"[") + body.count(b"{") <= depth
    )


def is_deeper(value: Any, depth: int) -> bool:
    """Whether it has more than ``depth`` containers in one another.

    orjson is asked, which writes nothing beyond a depth of its own; in doubt one
    level is taken after the other.
    """
    if is_installed() and _is_written(value, depth):
        return False
    level = [value]
    for _ in range(depth + 1):
        level = [each for each in level if type(each) in CONTAINERS]
        if not level:
            return False
        level = _inside(level)
    return True


def _is_written(value: Any, depth: int) -> bool:
    """Whether orjson can write it with as many containers around it as leave room for
    that depth: not where it is deeper, nor where it has a number that is too long."""
    return _counts_every_container() and not _refuses(value, WRITTEN - depth)


@cache
def _counts_every_container() -> bool:
    inmost: tuple[Any, ...] = ([None], [], {})
    # orjson before 3.12 counts no empty ones.
    return all(_refuses(each, WRITTEN) for each in inmost)


def _refuses(value: Any, depth: int) -> bool:
    for _ in range(depth):
        value = [value]
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        return True
    return False
