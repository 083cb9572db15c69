"""What is sent when, on a clock that the tests move."""

from __future__ import annotations

from math import ceil

import pytest

from perfguard.exceptions import InvalidParameter
from perfguard.streaming.events import Event
from perfguard.streaming.flow import Flow
from perfguard.streaming.parameters import chunk_deltas, last_event_id
from tests.streaming.sse import Parser, parsed


@pytest.fixture
def flow(clock, perfguard):
    def make(deltas=1, **settings):
        perfguard(**{"STREAM_HEARTBEAT": 15.0, **settings})
        return Flow(deltas, clock=clock)

    return make


@pytest.mark.parametrize("size", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("count", [0, 1, 6, 7, 20])
def test_so_many_deltas_make_one_message_and_the_last_is_sent(flow, size, count):
    stream = flow(size)
    words = [f"w{each}\n" for each in range(count)]
    raw = b"".join(map(stream.received, words)) + stream.flush()
    messages = parsed(raw)
    assert len(messages) == stream.events == ceil(count / size)
    assert "".join(each.data for each in messages) == "".join(words)


def test_deltas_that_wait_leave_before_another_kind_of_event(flow):
    stream = flow(10)
    assert stream.received("a") + stream.received("b") == b""
    messages = parsed(stream.received({"usage": 2}))
    assert [each.data for each in messages] == ["ab", '{"usage":2}']
    assert stream.received("c") == b""
    messages = parsed(stream.received(Event("x", event="tool")))
    assert [(each.data, each.event) for each in messages] == [
        ("c", "message"),
        ("x", "tool"),
    ]


def test_deltas_wait_no_longer_than_the_flush_time(flow, clock):
    stream = flow(10, STREAM_FLUSH_MS=50)
    stream.received("a")
    assert stream.patience == pytest.approx(0.05)
    clock.advance(0.04)
    stream.received("b")
    assert stream.elapsed() == b""
    clock.advance(0.01)
    assert stream.patience == 0
    assert [each.data for each in parsed(stream.elapsed())] == ["ab"]
    assert stream.patience > 1


def test_deltas_that_come_without_a_gap_wait_no_longer_either(flow, clock):
    stream = flow(1000, STREAM_FLUSH_MS=50)
    sent = []
    for _ in range(20):
        sent.append(stream.received("a"))
        clock.advance(0.01)
    assert [len(parsed(each)) for each in sent if each] == [1, 1, 1]


def test_without_a_flush_time_deltas_wait_for_more(flow, clock):
    stream = flow(10, STREAM_FLUSH_MS=0)
    stream.received("a")
    clock.advance(14.9)
    assert stream.elapsed() == b""


def test_deltas_leave_before_an_error_and_before_the_close(flow):
    for end in ("failure", "closing"):
        stream = flow(10)
        stream.received("a")
        chunk = stream.failure() if end == "failure" else stream.closing("drain")
        assert parsed(chunk)[0].data == "a"


def test_a_silent_source_is_covered_by_heartbeats(flow, clock):
    stream = flow(STREAM_HEARTBEAT=10.0)
    assert stream.patience == 10
    clock.advance(9.9)
    assert stream.elapsed() == b""
    clock.advance(0.1)
    assert stream.elapsed() == b":\n\n"
    assert stream.elapsed() == b""
    clock.advance(9)
    stream.received("x")
    clock.advance(9)
    assert stream.elapsed() == b""


def test_a_stream_is_asked_about_each_interval_also_while_events_flow(flow, clock):
    stream = flow(STREAM_HEARTBEAT=10.0)
    asked = 0
    for _ in range(100):
        clock.advance(1)
        stream.received("x")
        asked += stream.asks()
    assert asked == 10


def test_a_stream_has_a_lifetime(flow, clock):
    stream = flow(STREAM_MAX_SECONDS=20.0)
    clock.advance(19)
    assert not stream.has_expired
    assert stream.patience <= 1
    clock.advance(1)
    assert stream.has_expired
    endless = flow(STREAM_MAX_SECONDS=0)
    clock.advance(10**9)
    assert not endless.has_expired


def test_those_who_are_sent_away_do_not_all_come_back_at_once(flow):
    retries = set()
    for _ in range(50):
        parser = Parser()
        (message,) = parser.feed(flow(STREAM_RETRY_MS=1000).closing("drain"))
        assert (message.event, message.data) == ("close", '{"reason":"drain"}')
        retries.add(parser.retry)
    assert len(retries) > 5
    assert min(retries) >= 1000
    assert max(retries) <= 2000


def test_an_event_above_the_bound_is_dropped_and_told_once(flow, caplog):
    stream = flow(STREAM_EVENT_BYTES=100)
    assert parsed(stream.received({"text": "x" * 60}))
    assert stream.received({"text": "x" * 100}) == b""
    assert stream.received({"text": "x" * 100}) == b""
    assert parsed(stream.received("after"))
    assert stream.events == 2
    assert caplog.text.count("was dropped") == 1
    assert "xxx" not in caplog.text


# -- parameters ------------------------------------------------------------------------


def test_the_larger_number_of_deltas_counts(perfguard):
    perfguard(STREAM_CHUNK_DELTAS=5)
    wanted = (None, "", 3, "3", "8", 8, "1000")
    assert [chunk_deltas(each) for each in wanted] == [5, 5, 5, 5, 8, 8, 1000]


@pytest.mark.parametrize(
    "text",
    ["many", "0", "-1", "1.5", "1e3", "1_0", " 3", "३", "1001", "9" * 5000, True],
    ids=lambda text: ascii(text)[:12],
)
def test_a_number_of_deltas_that_is_none_is_refused(text, rf, client):
    with pytest.raises(ValueError, match="is no number of deltas"):
        chunk_deltas(text)


@pytest.mark.parametrize("seen", ["", "7", "era-7", "é", "x" * 256])
def test_the_last_event_id_is_read(rf, seen):
    raw = seen.encode().decode("latin-1")  # as servers hand it over
    assert last_event_id(rf.get("/", headers={"Last-Event-ID": raw})) == seen


@pytest.mark.parametrize("raw", ["x" * 257, "a\0b", "\xff"], ids=["long", "nul", "odd"])
def test_a_last_event_id_that_is_none_is_refused(rf, raw):
    with pytest.raises(InvalidParameter):
        last_event_id(rf.get("/", headers={"Last-Event-ID": raw}))
