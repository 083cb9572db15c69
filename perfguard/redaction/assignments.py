"""``password=...`` and ``"password": "..."`` within a text."""

from __future__ import annotations

import re

from perfguard.redaction.names import is_secret

# A name, the quote that closes it, and what joins it to its value. A name begins where
# a word does, so that a long one is read once.
NAME = re.compile(
    r"(?<![\w.\[\]-])([\w.\[\]-]++)(\\*+[\"'`])?[ \t]*+(=>|[:=])([ \t\r\n]*+)"
)
# Also three at once: the block strings of GraphQL and of Python.
OPENING = re.compile(r"(?:[bfru]{1,2}(?=[\"']))?(\\*+[\"'`])(\1\1)?")
QUOTE = re.compile(r"(?<!\\)(\\*+[\"'`])(\1\1)?")
SCHEME = r"(?:(?:bearer|basic|digest|token|api-?key)[ \t]++)?"
# A value without quotes ends at a blank; with quotes around its name, as in a program.
BARE = re.compile(rf"(?i:{SCHEME})[^\s&<>]*+")
BARE_IN_JSON = re.compile(r"[^\s,}\]&<>]*+")
INDENTED = 80  # characters that are looked at before a name
LINE = re.compile(r"[^\r\n]*+")


def redact_assignments(text: str, blank: str) -> str:
    pieces: list[str] = []
    kept = position = 0
    while match := NAME.search(text, position):
        position = match.end()
        if not is_secret(match[1]):
            # The value may be a name itself: "a=password=x".
            position = match.end(3)
            continue
        start, end = _value(text, match)
        if text.startswith(blank, start):
            position = start + len(blank)  # of another pattern
            continue
        if start < end:
            pieces += text[kept:start], blank
            kept = position = end
    return "".join(pieces) + text[kept:] if pieces else text


def _value(text: str, name: re.Match[str]) -> tuple[int, int]:
    """Where it begins and ends, without its quotes."""
    start = name.end()
    opening = OPENING.match(text, start)
    if opening:
        return opening.end(), _closing(text, opening)
    if "\n" in name[4] or "\r" in name[4]:
        return start, start
    if name[2]:
        # A list or an object has no end that could be told here.
        is_open = text[start : start + 1] in {"{", "["}
        end = len(text) if is_open else _end(BARE_IN_JSON, text, start)
    elif name[4] and _begins_line(text, name.start()):
        end = _end(LINE, text, start)
    else:
        end = _end(BARE, text, start)
    return start, end


def _closing(text: str, opening: re.Match[str]) -> int:
    """A quote with fewer or more backslashes is a part of the value."""
    for quote in QUOTE.finditer(text, opening.end()):
        if quote[1] == opening[1] and (quote[2] or not opening[2]):
            return quote.start()
    return len(text)


def _begins_line(text: str, start: int) -> bool:
    before = text[max(start - INDENTED, 0) : start].rstrip(" \t-\"'")
    return not before or before[-1] in "\r\n"


def _end(pattern: re.Pattern[str], text: str, start: int) -> int:
    match = pattern.match(text, start)
    return match.end() if match else start
