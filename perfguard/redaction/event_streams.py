"""Server-sent events (WHATWG HTML, section 9.2) and lines of JSON."""

from __future__ import annotations

import re
import sys

from perfguard.redaction.json_text import redact_json
from perfguard.redaction.patterns import redact_text

LINES = re.compile(r"[^\r\n]*+(?:\r\n|\r|\n|\Z)")
DATA = re.compile(r"data(?::[ ]?|(?=[\r\n]|\Z))")
ENDING = re.compile(r"[\r\n]*+\Z")


def redact_lines(text: str, *, is_cut: bool = False, limit: int = sys.maxsize) -> str:
    """A value of JSON in each line, after an RS in json-seq (RFC 7464). No more than
    about ``limit`` characters are looked for."""
    pieces, size = [], 0
    for match in LINES.finditer(text):
        is_last = is_cut and match.end() == len(text)
        piece = _line(match[0], is_cut=is_last, limit=limit)
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            break
    return "".join(pieces)


def _line(line: str, *, is_cut: bool, limit: int) -> str:
    value = line.strip(" \t\r\n\x1e")
    if not value:
        return line
    start = line.index(value[0])
    before, after = line[:start], line[start + len(value) :]
    return before + _json(value, is_cut=is_cut and not after, limit=limit) + after


def _json(text: str, *, is_cut: bool, limit: int) -> str:
    redacted = redact_json(text, is_cut=is_cut, limit=limit)
    return (
        unreadable(len(text.encode(errors="replace"))) if redacted is None else redacted
    )


def unreadable(size: int) -> str:
    return f"[unreadable, {size} bytes]"


def redact_events(text: str, *, is_cut: bool = False, limit: int = sys.maxsize) -> str:
    """Lines of data that follow each other are one text, and that may be JSON. No more
    than about ``limit`` characters are looked for."""
    pieces: list[str] = []
    data: list[str] = []
    size = 0
    for match in LINES.finditer(text):
        line = match[0]
        prefix = DATA.match(line)
        if prefix:
            data.append(line)
            continue
        pieces += _data(data, limit=limit), redact_text(line)
        data.clear()
        size += len(pieces[-2]) + len(pieces[-1])
        if size > limit:
            return "".join(pieces)
    pieces.append(_data(data, is_cut=is_cut, limit=limit))
    return "".join(pieces)


def _data(lines: list[str], *, is_cut: bool = False, limit: int) -> str:
    if not lines:
        return ""
    prefixes, values = zip(*map(_parts, lines), strict=True)
    ending = _ending(lines[-1])
    redacted = _payload("\n".join(values), is_cut=is_cut, limit=limit)
    given = redacted.split("\n")
    if len(given) != len(lines):
        return "\n".join(f"data: {value}" for value in given) + ending
    endings = map(_ending, lines)
    parts = zip(prefixes, given, endings, strict=True)
    return "".join(prefix + value + end for prefix, value, end in parts)


def _parts(line: str) -> tuple[str, str]:
    prefix = DATA.match(line)
    assert prefix is not None
    return prefix[0], line[prefix.end() : len(line) - len(_ending(line))]


def _ending(line: str) -> str:
    return line[len(line.rstrip("\r\n")) :]


def _payload(text: str, *, is_cut: bool, limit: int) -> str:
    # "[DONE]" is no JSON, and does not look like it but for its first character.
    if '"' in text and text.lstrip()[:1] in {"{", "[", '"'}:
        return _json(text, is_cut=is_cut, limit=limit)
    return redact_text(text, is_cut=is_cut)
