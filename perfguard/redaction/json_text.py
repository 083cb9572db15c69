"""JSON without the secrets in it: token by token, so that what is no secret stays as it
was written, and so that a text which was cut is redacted as far as it goes."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from itertools import zip_longest

from perfguard.redaction.names import is_secret
from perfguard.redaction.patterns import BLANK, redact_text
from perfguard.redaction.plain_json import NAMED, NAMING, beside, decode, is_harmless

DEEPEST = 3  # JSON in a string of JSON in a string of JSON
MOST_OPEN = 1000  # objects and lists; what parses more would fail as well
BLANK_STRING = f'"{BLANK}"'

TOKEN = re.compile(
    r"[ \t\r\n]*+(?:"
    r'(?P<string>"(?:[^"\\]++|\\.)*+(?:"|\\?\Z))'
    r"|(?P<opening>[{\[])|(?P<closing>[}\]])|(?P<mark>[,:])"
    r"|(?P<scalar>[-+.\w]++)|(?P<end>\Z))",
    re.DOTALL,
)
NUMBER = re.compile(r"-?(?:0|[1-9]\d*+)(?:\.\d++)?(?:[eE][+-]?\d++)?")
NUMBER_BEGUN = re.compile(r"-?\d*+(?:\.\d*+)?(?:[eE][+-]?\d*+)?")
# Python's own writer knows the last ones too.
LITERALS = ("true", "false", "null", "NaN", "Infinity", "-Infinity")
# Escapes that are whole: a cut may leave half of one.
WHOLE_ESCAPES = re.compile(r"(?:[^\\]++|\\u[0-9A-Fa-f]{4}|\\[^u])*+", re.DOTALL)

# What may come next.
VALUE, VALUE_OR_END, KEY, KEY_OR_END, COLON, COMMA_OR_END, NOTHING = range(7)
VALUES, KEYS = {VALUE, VALUE_OR_END}, {KEY, KEY_OR_END}

IDENTIFIER = re.compile(r"[^\s\"']{1,128}")


class _Invalid(ValueError):
    """The text is no JSON, nor the beginning of any."""


def redact_json(
    text: str, *, is_cut: bool = False, limit: int | None = None, depth: int = 0
) -> str | None:
    """None for what is no JSON; ``is_cut``: it went on. No more than about ``limit``
    characters are looked for: what comes after them is cut by the caller."""
    if not is_cut and (limit is None or len(text) <= limit) and is_harmless(text):
        return text
    scanner = _Scanner(text, is_cut=is_cut, limit=limit, depth=depth)
    try:
        return scanner.run()
    except _Invalid:
        return None


def redact_value(text: str, *, is_cut: bool = False, depth: int = 0) -> str:
    """Text that may be JSON."""
    if depth < DEEPEST and '"' in text and text.lstrip()[:1] in {"{", "["}:
        redacted = redact_json(text, is_cut=is_cut, depth=depth + 1)
        if redacted is not None:
            return redacted
        if "\\u" in text:  # escapes hide names from patterns
            return BLANK
    return redact_text(text, is_cut=is_cut)


class _Frame:
    """An object or a list that is open."""

    __slots__ = ("begins", "is_object", "key", "names_secret", "values")

    def __init__(self, *, is_object: bool, begins: int) -> None:
        self.is_object = is_object
        self.begins = begins  # its first piece
        self.key = ""
        self.names_secret: bool | None = None  # None: no member has said a name yet
        self.values: list[tuple[int, int]] = []  # pieces of what waits for the name

    @property
    def is_named(self) -> bool:
        return self.key.lower() in NAMED

    @property
    def holds_secret(self) -> bool:
        """The value that comes next."""
        if self.names_secret and self.is_named:
            return True
        return self.is_object and is_secret(self.key)


class _Scanner:
    def __init__(
        self, text: str, *, is_cut: bool, limit: int | None, depth: int
    ) -> None:
        self.text = text
        self.also = beside(text)
        self.is_cut = is_cut
        self.limit = sys.maxsize if limit is None else limit
        self.depth = depth
        self.pieces: list[str] = []
        self.size = 0
        self.frames: list[_Frame] = []
        self.muted = 0  # how many frames there are within the secret one, and it
        self.next = VALUE

    def run(self) -> str:
        takes: dict[str | None, Callable[[str, str], None]] = {
            "string": self.string,
            "opening": self.opening,
            "closing": self.closing,
            "mark": self.mark,
            "scalar": self.scalar,
        }
        position = 0
        while self.size <= self.limit:
            match = TOKEN.match(self.text, position)
            if not match:
                raise _Invalid
            kind = match.lastgroup
            assert kind is not None
            token, blanks = match[kind], match[0][: match.start(kind) - match.start()]
            if kind == "end":
                self.end(blanks)
                break
            takes[kind](token, blanks)
            position = match.end()
        self._blank_unnamed()
        return "".join(self.pieces)

    def end(self, blanks: str) -> None:
        if self.next != NOTHING and not self.is_cut:
            raise _Invalid
        self._emit(blanks)

    # -- tokens ------------------------------------------------------------------------

    def string(self, token: str, blanks: str) -> None:
        inner, is_cut = self._inner(token)
        if self.next in KEYS:
            self._key(token, self._decoded(inner), blanks)
            return
        self._expect_value()
        if self.muted:
            return
        if self._holds_secret():
            self._value(blanks + BLANK_STRING)
            return
        text = self._decoded(inner)
        redacted = redact_value(text, is_cut=is_cut, depth=self.depth)
        self._value(blanks + _written(token, text, redacted))
        if not is_cut:
            self._hear_name(text)

    def _key(self, token: str, key: str, blanks: str) -> None:
        self.frames[-1].key = key
        self._emit(blanks + _written(token, key, redact_text(key)))
        self.next = COLON

    def scalar(self, token: str, blanks: str) -> None:
        self._expect_value()
        is_literal = token in LITERALS
        if not is_literal and not NUMBER.fullmatch(token):
            self._expect_begun(token)
        # That something is null, or true, tells no secret.
        if not is_literal and self._holds_secret():
            token = BLANK_STRING
        self._value(blanks + token)

    def opening(self, bracket: str, blanks: str) -> None:
        self._expect_value()
        if len(self.frames) == MOST_OPEN:
            raise _Invalid
        if self.muted:
            self.muted += 1
        elif self._holds_secret():
            self._emit(blanks + BLANK_STRING)
            self.muted = 1
        begins = len(self.pieces) - bool(self.muted == 1)
        self._emit(blanks + bracket)
        self.frames.append(_Frame(is_object=bracket == "{", begins=begins))
        self.next = KEY_OR_END if bracket == "{" else VALUE_OR_END

    def closing(self, bracket: str, blanks: str) -> None:
        if not self.frames or self.next not in {
            COMMA_OR_END,
            KEY_OR_END if bracket == "}" else VALUE_OR_END,
        }:
            raise _Invalid
        frame = self.frames.pop()
        if frame.is_object != (bracket == "}"):
            raise _Invalid
        self._emit(blanks + bracket)
        self.muted = max(0, self.muted - 1)
        self._remember(frame.begins)
        self.next = COMMA_OR_END if self.frames else NOTHING

    def mark(self, sign: str, blanks: str) -> None:
        if self.next == COLON and sign == ":":
            self.next = VALUE
        elif self.next == COMMA_OR_END and sign == ",":
            self.next = KEY if self.frames[-1].is_object else VALUE
        else:
            raise _Invalid
        self._emit(blanks + sign)

    # -- values ------------------------------------------------------------------------

    def _expect_value(self) -> None:
        if self.next not in VALUES:
            raise _Invalid
        self.next = COMMA_OR_END if self.frames else NOTHING

    def _expect_begun(self, token: str) -> None:
        is_last = self.is_cut and self.text.endswith(token)
        is_begun = any(literal.startswith(token) for literal in LITERALS)
        if not is_last or not (is_begun or NUMBER_BEGUN.fullmatch(token)):
            raise _Invalid

    def _holds_secret(self) -> bool:
        frame = self.frames[-1] if self.frames else None
        return bool(frame and (frame.key in self.also or frame.holds_secret))

    def _value(self, piece: str) -> None:
        begins = len(self.pieces)
        self._emit(piece)
        self._remember(begins)

    def _emit(self, piece: str) -> None:
        if not self.muted:
            self.pieces.append(piece)
            self.size += len(piece)

    def _inner(self, token: str) -> tuple[str, bool]:
        """A string without its quotes, and whether it was cut before the last one."""
        inner = token[1:-1]
        backslashes = len(inner) - len(inner.rstrip("\\"))
        # A quote after a backslash closes nothing.
        if len(token) > 1 and token[-1] == '"' and backslashes % 2 == 0:
            return inner, False
        if not self.is_cut:
            raise _Invalid
        return token[1:], True

    def _decoded(self, inner: str) -> str:
        if "\\" not in inner:
            return inner
        whole = WHOLE_ESCAPES.match(inner)
        assert whole is not None
        if whole.end() < len(inner) and not self.is_cut:
            raise _Invalid
        try:
            return str(decode(f'"{whole[0]}"'))
        except json.JSONDecodeError as error:
            raise _Invalid from error

    # -- names and values in members of their own --------------------------------------

    def _hear_name(self, text: str) -> None:
        # In a list each text is a part of the name: ["body", "password"].
        frame = next((each for each in self.frames[:-3:-1] if each.is_object), None)
        is_name = IDENTIFIER.fullmatch(text)
        if not frame or not is_name or frame.key.lower() not in NAMING:
            return
        if is_secret(text):
            frame.names_secret = True
            self._blank(frame)
        elif frame is self.frames[-1]:
            frame.names_secret = bool(frame.names_secret)

    def _remember(self, begins: int) -> None:
        """The value just written, until the name of it is known."""
        frame = self.frames[-1] if self.frames else None
        if frame and not self.muted and frame.is_named and not frame.names_secret:
            frame.values.append((begins, len(self.pieces)))

    def _blank(self, frame: _Frame) -> None:
        for begins, ends in frame.values:
            self.pieces[begins:ends] = [BLANK_STRING] + [""] * (ends - begins - 1)
        frame.values.clear()

    def _blank_unnamed(self) -> None:
        """Values of objects whose end, and so whose name, was not seen."""
        for frame, child in zip_longest(self.frames, self.frames[1:]):
            if frame.names_secret is not None:
                continue
            if child and frame.is_named:
                frame.values.append((child.begins, len(self.pieces)))
            self._blank(frame)


def _written(token: str, text: str, redacted: str) -> str:
    return token if text == redacted else json.dumps(redacted, ensure_ascii=False)
