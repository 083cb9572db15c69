"""Events as bytes, read back by a client that follows the HTML standard."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from perfguard.exceptions import InvalidEvent
from perfguard.streaming.events import HEARTBEAT, Event, as_event, frame
from tests.streaming.sse import Parser, parsed


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        ("plain", "plain"),
        ("two\nlines", "two\nlines"),
        ("two\rlines", "two\nlines"),
        ("two\r\nlines", "two\nlines"),
        ("a\n\rb", "a\n\nb"),
        ("ends\n", "ends\n"),
        ("\n", "\n"),
        ("\u2028 and \u2029 and \x85 and \x0b", "\u2028 and \u2029 and \x85 and \x0b"),
        (" leading", " leading"),
        ("  two", "  two"),
        (":colon", ":colon"),
        ("data: data", "data: data"),
        ("", ""),
        ("\0", "\0"),
        ("\ufeffmark", "\ufeffmark"),
        ("καλημέρα 🌍".encode(), "καλημέρα 🌍"),
    ],
    ids=lambda value: ascii(value)[:24],
)
def test_text_arrives_as_it_was_but_for_the_kind_of_line_ends(data, seen):
    (message,) = parsed(frame(Event(data)))
    assert message.data == seen
    # One byte at a time, as a network may have it.
    parser = Parser()
    raw = frame(Event(data))
    found = [one for at in range(len(raw)) for one in parser.feed(raw[at : at + 1])]
    assert [one.data for one in found] == [seen]


def test_everything_else_is_json():
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    data = {"at": moment, "sum": Decimal("1.10"), "text": "é\u2028\n", "none": None}
    (message,) = parsed(frame(Event(data)))
    assert json.loads(message.data) == {
        "at": "2026-01-02T03:04:05Z",
        "sum": "1.10",
        "text": "é\u2028\n",
        "none": None,
    }
    assert [parsed(frame(as_event(each)))[0].data for each in (1, None, [], True)] == [
        "1",
        "null",
        "[]",
        "true",
    ]


def test_type_id_and_retry_are_fields():
    parser = Parser()
    (message,) = parser.feed(frame(Event("x", event="note", id="é7", retry=250)))
    assert (message.event, message.id, parser.retry) == ("note", "é7", 250)
    (again,) = parser.feed(frame(Event("y", id="")))
    assert (again.event, again.id) == ("message", "")


def test_a_heartbeat_is_no_event():
    parser = Parser()
    assert parser.feed(HEARTBEAT) == []
    assert parser.comments == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"id": "a\nb"},
        {"id": "a\rb"},
        {"id": "a\0b"},
        {"id": "\ud800"},
        {"id": 7},
        {"event": "a\nb"},
        {"event": "a\rb"},
        {"event": "\ud800"},
        {"event": None},
        {"retry": -1},
        {"retry": 1.5},
        {"retry": True},
        {"retry": "10"},
    ],
    ids=ascii,
)
def test_a_field_that_would_break_the_stream_is_refused(fields):
    with pytest.raises(InvalidEvent):
        Event("x", **fields)


DEEP = []
for _ in range(100_000):
    DEEP = [DEEP]
ROUND = []
ROUND.append(ROUND)


@pytest.mark.parametrize(
    "data",
    [
        "\ud800",
        b"\xff",
        {"a": "\udfff"},
        object(),
        {"n": math.nan},
        {"n": math.inf},
        {(1, 2): 3},
        ROUND,
        DEEP,
    ],
    ids=[
        "surrogate",
        "bytes",
        "inside",
        "object",
        "nan",
        "inf",
        "key",
        "round",
        "deep",
    ],
)
def test_data_that_is_neither_utf_8_nor_json_is_refused_without_being_quoted(data):
    with pytest.raises(InvalidEvent, match=f"A {type(data).__name__} cannot be sent"):
        frame(Event(data))


@pytest.mark.parametrize(
    "first", ["\ud800", b"\xff", {"a": object()}], ids=["text", "bytes", "object"]
)
def test_what_is_no_event_is_refused_before_the_response_starts(server, first):
    source = [first] if not server.is_async else _asynchronous([first])
    with pytest.raises(InvalidEvent):
        server.open(source)


async def _asynchronous(events):
    for each in events:
        yield each
