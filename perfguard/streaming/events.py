"""Server-sent events as bytes: the WHATWG HTML standard, section 9.2."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from perfguard.exceptions import InvalidEvent

# Only these end a line (section 9.2.5); U+2028 and its like, at which splitlines()
# would break as well, are text.
LINE_END = re.compile(rb"\r\n|\n|\r")
HEARTBEAT = b":\n\n"  # a comment: clients skip it


@dataclass(frozen=True, slots=True)
class Event:
    """One event. ``data`` that is no text is sent as JSON; ``event`` is its type, empty
    for "message"; ``retry`` is in milliseconds.

    Raises InvalidEvent for a type or an id that would break the stream.
    """

    data: Any = ""
    event: str = ""
    id: str | None = None
    retry: int | None = None

    def __post_init__(self) -> None:
        _check_field("event", self.event, "\r\n")
        if self.id is not None:
            # With NUL a client would ignore the field.
            _check_field("id", self.id, "\r\n\0")
        if self.retry is not None and (type(self.retry) is not int or self.retry < 0):
            raise InvalidEvent(f"retry is {self.retry!r}: use whole milliseconds.")


def as_event(value: Any) -> Event:
    return value if isinstance(value, Event) else Event(value)


def frame(event: Event) -> bytes:
    """Raises InvalidEvent for data that is neither JSON nor text in UTF-8."""
    lines = []
    if event.event:
        lines.append(b"event: " + event.event.encode())
    if event.id is not None:
        lines.append(b"id: " + event.id.encode())
    if event.retry is not None:
        lines.append(b"retry: %d" % event.retry)
    # The blank is not a part of the data: a client drops one, and no more.
    lines += [b"data: " + line for line in LINE_END.split(encoded(event.data))]
    return b"\n".join(lines) + b"\n\n"


def encoded(data: Any) -> bytes:
    """Text as UTF-8, anything else as JSON. Raises InvalidEvent."""
    try:
        if isinstance(data, bytes):
            data.decode()
            return data
        return (data if isinstance(data, str) else _json(data)).encode()
    except (TypeError, ValueError, RecursionError) as error:
        # Without the data, which may be private.
        raise InvalidEvent(
            f"A {type(data).__name__} cannot be sent as data: {_reason(error)}."
        ) from error


def _json(data: Any) -> str:
    # NaN and Infinity are Python's, and no client's.
    return json.dumps(
        data,
        cls=DjangoJSONEncoder,
        ensure_ascii=False,
        allow_nan=False,
        separators=(",", ":"),
    )


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeError):
        return "it is no UTF-8"
    return f"it is no JSON ({type(error).__name__})"


def _check_field(name: str, value: object, barred: str) -> None:
    if not isinstance(value, str):
        raise InvalidEvent(f"{name} is a {type(value).__name__}: use a string.")
    if set(value) & set(barred):
        raise InvalidEvent(f"{name} has a line end or NUL: it would break the stream.")
    try:
        value.encode()
    except UnicodeError as error:
        raise InvalidEvent(f"{name} is no UTF-8.") from error
