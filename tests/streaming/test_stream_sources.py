"""Sources of both kinds under servers of both kinds, without a process of their own."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import threading
import tracemalloc

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import BadRequest, SynchronousOnlyOperation
from django.db import connection
from django.http import Http404
from django.test import AsyncRequestFactory
from django.utils import translation
from django.utils.translation import gettext

from perfguard.http.request_id import current_request_id, work_for
from perfguard.http.standing import remember
from perfguard.signals import stream_ended, stream_started
from perfguard.streaming.drain import drain
from perfguard.streaming.events import Event
from perfguard.streaming.pauses import apause, pause
from perfguard.streaming.responses import aevent_stream, event_stream
from tests.servers import wait_until
from tests.streaming.conftest import Wsgi
from tests.streaming.sse import Parser, parsed


class Source:
    """Counts what is made of it and how often it is closed."""

    def __init__(self, values=(), error=None):
        self.values, self.error = values, error
        self.made, self.closed = 0, 0
        self.is_open = threading.Event()  # what a silent source waits for

    def sync(self):
        try:
            for value in self.values:
                self.made += 1
                yield value
            if self.error:
                raise self.error
            while not self.is_open.is_set():
                pause(30)
        finally:
            self.closed += 1

    async def asynchronous(self):
        try:
            for value in self.values:
                self.made += 1
                yield value
            if self.error:
                raise self.error
            while not self.is_open.is_set():
                await asyncio.sleep(30)
        finally:
            await asyncio.sleep(0.01)
            self.closed += 1

    def of(self, kind):
        return self.sync() if kind == "sync" else self.asynchronous()


@pytest.fixture(params=["sync", "async"])
def kind(request):
    return request.param


@pytest.fixture
def ended():
    """The outcomes of streams, as the signal tells them."""
    outcomes = []

    def note(outcome, **kwargs):
        outcomes.append(outcome)

    stream_ended.connect(note)
    yield outcomes
    stream_ended.disconnect(note)


def closed_once(server, source):
    wait_until(lambda: server.wait(0.01) or source.closed, "the source to be closed")
    server.wait(0.02)
    return source.closed == 1


def test_an_event_is_made_when_the_one_before_has_left(server, kind):
    source = Source(range(5))
    response = server.open(source.of(kind))
    assert server.next(response) == b"data: 0\n\n"
    for number in range(1, 5):
        server.wait(0.02)  # time enough to be ahead
        assert source.made == number
        assert server.next(response) == b"data: %d\n\n" % number
    server.drop(response)
    assert closed_once(server, source)


def test_an_infinite_source_neither_hangs_nor_grows(server, kind):
    def numbers():
        yield from iter(int, 1)

    async def anumbers():
        while True:
            yield 0

    response = server.open(numbers() if kind == "sync" else anumbers())
    for _ in range(200):
        server.next(response)
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(2000):
            assert server.next(response) == b"data: 0\n\n"
        assert tracemalloc.get_traced_memory()[0] < 200_000
    finally:
        tracemalloc.stop()
    server.drop(response)
    server.wait(0.05)


def test_heartbeats_cover_silence_and_the_source_is_closed_once(
    server, kind, perfguard, ended
):
    perfguard(STREAM_HEARTBEAT=0.03, STREAM_FIRST_EVENT_WAIT=0.0)
    source = Source()
    response = server.open(source.of(kind))
    assert [server.next(response) for _ in range(4)] == [b":\n\n"] * 4
    server.drop(response)
    response.close()
    assert closed_once(server, source)
    assert ended == ["left"]


def test_a_client_that_leaves_at_once_closes_the_source_once(server, kind, ended):
    source = Source([1])
    response = server.open(source.of(kind))
    response.close()
    assert closed_once(server, source)
    assert ended == ["left"]


def test_a_response_that_is_thrown_away_gives_all_back(server, kind, ended):
    source = Source([1])
    response = server.open(source.of(kind))
    del response
    gc.collect()
    assert closed_once(server, source)
    assert ended == ["left"]


def test_a_source_that_ends_is_closed_and_told_as_finished(server, kind, ended):
    source = Source([1, 2])
    source.is_open.set()
    response = server.open(source.of(kind))
    chunks = list(iter(lambda: server.next(response), None))
    assert b"".join(chunks) == b"data: 1\n\ndata: 2\n\n"
    response.close()
    assert closed_once(server, source)
    assert ended == ["finished"]


def test_a_source_without_events_is_an_empty_stream(server, kind):
    source = Source()
    source.is_open.set()
    response = server.open(source.of(kind))
    assert list(iter(lambda: server.next(response), None)) == [b":\n\n"]
    response.close()


# -- errors ----------------------------------------------------------------------------


def test_an_error_before_the_first_event_is_the_views(server, kind, ended):
    source = Source(error=Http404("Nothing here"))
    with pytest.raises(Http404):
        server.open(source.of(kind))
    assert closed_once(server, source)
    assert ended == ["failed"]


def test_an_error_after_the_first_event_is_an_event_without_internals(
    server, kind, ended, caplog
):
    source = Source([1], error=RuntimeError("a secret of the inside"))
    response = server.open(source.of(kind))
    chunks = list(iter(lambda: server.next(response), None))
    first, last = parsed(b"".join(chunks))
    assert (first.data, last.event) == ("1", "error")
    assert last.data == '{"detail":"The stream has failed."}'
    response.close()
    assert closed_once(server, source)
    assert ended == ["failed"]
    lines = [each for each in caplog.records if each.name == "perfguard.streaming"]
    assert [each.levelno for each in lines] == [logging.ERROR]
    assert "a secret of the inside" in caplog.text  # where operators look


def test_an_event_that_cannot_be_sent_ends_the_stream_as_an_error(server, kind, ended):
    source = Source([1, object(), 3])
    response = server.open(source.of(kind))
    chunks = list(iter(lambda: server.next(response), None))
    assert [each.event for each in parsed(b"".join(chunks))] == ["message", "error"]
    response.close()
    assert closed_once(server, source)
    assert ended == ["failed"]


def test_a_source_that_fails_while_it_is_closed_is_logged(server, caplog):
    def failing():
        try:
            yield 1
            yield 2
        finally:
            raise RuntimeError("not even this")

    async def afailing():
        try:
            yield 1
            yield 2
        finally:
            raise RuntimeError("not even this")

    for source in (failing(), afailing()):
        caplog.clear()
        response = server.open(source)
        server.next(response)
        server.drop(response)
        wait_until(
            lambda: server.wait(0.01) or "while it was closed" in caplog.text, ""
        )


def test_a_slow_start_is_no_longer_waited_for_than_the_setting_says(
    server, kind, perfguard
):
    perfguard(STREAM_FIRST_EVENT_WAIT=0.05)
    source = Source(error=None)
    response = server.open(source.of(kind))  # returns, though nothing came
    assert server.next(response) == b":\n\n"  # and sends the headers on their way
    server.drop(response)
    server.wait(0.05)


# -- what a source may be --------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    ["text", b"bytes", {"a": 1}, 7, None],
    ids=["text", "bytes", "dict", "number", "none"],
)
def test_what_is_no_source_is_refused(server, source):
    with pytest.raises(TypeError, match="The source of an event stream is a"):
        server.open(source)


def test_a_coroutine_is_no_source(server):
    async def make():
        return [1]

    with pytest.raises(TypeError, match="is a coroutine"):
        server.open(lambda seen: make())


def test_an_object_with_a_close_of_its_own_is_closed_once(server):
    class Lines:
        closed = 0

        def __iter__(self):
            yield from ["a", "b"]

        def close(self):
            self.closed += 1

    lines = Lines()
    response = server.open(lines)
    list(iter(lambda: server.next(response), None))
    response.close()
    wait_until(lambda: lines.closed, "the close")
    assert lines.closed == 1


def test_a_function_is_given_the_last_event_id(server):
    request = server.factory.get("/", headers={"Last-Event-ID": "era-7"})
    response = server.open(lambda seen: [Event(seen, id="era-8")], request)
    assert server.next(response) == b"id: era-8\ndata: era-7\n\n"
    response.close()


def test_a_list_will_do_and_deltas_are_joined(server):
    response = server.open(["a", "b", "c", {"n": 1}, "d"], deltas="2")
    chunks = list(iter(lambda: server.next(response), None))
    data = [each.data for each in parsed(b"".join(chunks))]
    assert data == ["ab", "c", '{"n":1}', "d"]
    response.close()


def test_a_wrong_number_of_deltas_is_a_bad_request(server):
    with pytest.raises(BadRequest):
        server.open(["a"], deltas="many")


def test_deltas_of_a_slow_source_leave_after_the_flush_time(server, kind, perfguard):
    perfguard(STREAM_FLUSH_MS=20, STREAM_FIRST_EVENT_WAIT=0.01)
    source = Source(["a", "b"])
    response = server.open(source.of(kind), deltas=10)
    assert server.next(response) == b":\n\n"
    assert server.next(response) == b"data: ab\n\n"
    server.drop(response)
    server.wait(0.05)


def test_head_is_answered_without_the_source(server):
    called = []
    request = server.factory.head("/")
    response = server.open(called.append, request)
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert server.next(response) is None
    assert called == []
    source = (each for each in [1])
    server.open(source, server.factory.head("/")).close()
    assert list(source) == []


def test_the_headers_are_those_of_a_stream(server):
    response = server.open([1])
    assert dict(response.items()) == {
        "Content-Type": "text/event-stream; charset=utf-8",
        "Cache-Control": "no-cache",
        "X-Accel-Buffering": "no",
    }
    assert response.is_async == server.is_async
    list(iter(lambda: server.next(response), None))
    response.close()


# -- where views and servers differ ----------------------------------------------------


def test_an_async_view_is_told_to_await(rf):
    async def view():
        return event_stream([1], request=rf.get("/"))

    with pytest.raises(SynchronousOnlyOperation, match="await aevent_stream"):
        async_to_sync(view)()


def test_an_async_view_under_wsgi_streams_by_a_sync_iterator(rf, kind):
    async def view():
        return await aevent_stream(source.of(kind), request=rf.get("/"))

    source = Source([1, 2])
    source.is_open.set()
    response = async_to_sync(view)()
    assert not response.is_async
    assert list(response) == [b"data: 1\n\n", b"data: 2\n\n"]
    response.close()
    assert source.closed == 1


def test_a_sync_view_without_a_loop_above_it_gets_one_for_its_source(kind):
    source = Source([1, 2])
    source.is_open.set()
    request = AsyncRequestFactory().get("/")
    response = event_stream(source.of(kind), request=request)

    async def read():
        return [chunk async for chunk in response]

    assert asyncio.run(read()) == [b"data: 1\n\n", b"data: 2\n\n"]
    response.close()


def test_cancelled_while_it_waits_for_the_first_event_a_view_leaves_nothing(perfguard):
    perfguard(STREAM_FIRST_EVENT_WAIT=30.0)
    source = Source()

    async def view():
        request = AsyncRequestFactory().get("/")
        return await aevent_stream(source.asynchronous(), request=request)

    async def leave():
        task = asyncio.ensure_future(view())
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0.1)
        assert task.cancelled()

    asyncio.run(leave())
    assert source.closed == 1


def test_an_async_source_runs_in_one_task_from_its_beginning_to_its_end(server):
    tasks = []

    async def watched():
        try:
            for number in range(3):
                tasks.append(asyncio.current_task())
                yield number
        finally:
            tasks.append(asyncio.current_task())

    response = server.open(watched())
    server.next(response)
    server.next(response)
    server.drop(response)
    wait_until(lambda: server.wait(0.01) or len(tasks) > 2, "the cleaning up")
    assert len(set(tasks)) == 1


def test_a_source_speaks_the_language_of_its_view(server, kind):
    def words():
        yield {"word": gettext("Yes")}

    async def awords():
        yield {"word": gettext("Yes")}

    with translation.override("fr"):
        response = server.open(words() if kind == "sync" else awords())
    assert parsed(server.next(response))[0].data == '{"word":"Oui"}'
    list(iter(lambda: server.next(response), None))
    response.close()


def test_pauses_outside_a_stream_only_sleep():
    pause(0.001)
    asyncio.run(apause(0.001))


# -- how a stream ends otherwise -------------------------------------------------------


def test_a_stream_ends_with_its_lifetime(server, kind, perfguard, ended):
    perfguard(STREAM_MAX_SECONDS=0.05, STREAM_FIRST_EVENT_WAIT=0.01)
    source = Source([1])
    response = server.open(source.of(kind))
    chunks = list(iter(lambda: server.next(response), None))
    parser = Parser()
    last = parser.feed(b"".join(chunks))[-1]
    assert (last.event, last.data) == ("close", '{"reason":"lifetime"}')
    assert parser.retry >= 1000
    response.close()
    assert closed_once(server, source)
    assert ended == ["lifetime"]


def test_draining_ends_a_silent_stream_at_once(server, kind, ended, perfguard):
    perfguard(STREAM_HEARTBEAT=1000.0)
    source = Source([1])
    response = server.open(source.of(kind))
    server.next(response)
    timer = threading.Timer(0.05, drain.begin)
    timer.start()
    (last,) = parsed(server.next(response))
    assert (last.event, last.data) == ("close", '{"reason":"drain"}')
    assert server.next(response) is None
    # Before the response is over, and so the process may be.
    assert source.closed == 1
    response.close()
    assert ended == ["drain"]
    refused = server.open([1])
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) >= 1


def test_a_worker_that_ends_by_itself_ends_its_streams(server, perfguard, ended):
    class Worker:
        alive = True

    perfguard(STREAM_HEARTBEAT=0.03)
    drain._worker = Worker()
    source = Source([1])
    response = server.open(source.of("sync"))
    server.next(response)
    Worker.alive = False
    chunks = list(iter(lambda: server.next(response), None))
    assert parsed(b"".join(chunks))[-1].data == '{"reason":"drain"}'
    response.close()
    assert ended == ["drain"]


@pytest.mark.parametrize("flowing", [False, True], ids=["silent", "flowing"])
def test_a_stream_ends_when_its_client_may_not_listen_any_more(
    server, perfguard, ended, flowing
):
    perfguard(STREAM_HEARTBEAT=0.05, STREAM_FIRST_EVENT_WAIT=0.01)
    good, asked_in = [True], []

    def still_good():
        asked_in.append(threading.current_thread())
        return good[0]

    source = Source(iter(lambda: pause(0.001), 0) if flowing else [1])
    response = server.open(source.sync(), still_good=still_good)
    while not asked_in:
        server.next(response)
    good[0] = False
    chunks = list(iter(lambda: server.next(response), None))
    assert parsed(b"".join(chunks))[-1].data == '{"reason":"revoked"}'
    assert len(asked_in) == 2
    # On a loop it would keep everybody waiting.
    main = threading.main_thread()
    assert all((each is main) != server.is_async for each in asked_in)
    response.close()
    assert ended == ["revoked"]


def test_a_stream_ends_when_nobody_can_tell(server, perfguard, ended):
    from perfguard.exceptions import TruthUnavailable  # noqa: PLC0415

    def unknown():
        raise TruthUnavailable

    perfguard(STREAM_HEARTBEAT=0.02)
    request = server.factory.get("/")
    remember(request, unknown)
    response = server.open(Source([1]).sync(), request)
    chunks = list(iter(lambda: server.next(response), None))
    assert parsed(b"".join(chunks))[-1].data == '{"reason":"unverifiable"}'
    response.close()
    assert ended == ["unverifiable"]


def test_a_question_that_fails_fails_the_stream(server, perfguard, ended):
    perfguard(STREAM_HEARTBEAT=0.02)
    response = server.open(Source([1]).sync(), still_good=lambda: 1 / 0)
    chunks = list(iter(lambda: server.next(response), None))
    assert parsed(b"".join(chunks))[-1].event == "error"
    response.close()
    assert ended == ["failed"]


# -- what gunicorn's socket tells ------------------------------------------------------


@pytest.fixture
def connected(rf, perfguard):
    """A request of gunicorn's, and its client's end."""
    perfguard(STREAM_HEARTBEAT=0.02)
    client, accepted = socket.socketpair()
    with client, accepted:
        request = rf.get("/", **{"gunicorn.socket": accepted})
        request.META["SERVER_PROTOCOL"] = "HTTP/1.1"
        yield request, client, accepted


def test_what_a_client_sends_meanwhile_is_no_leaving(connected):
    request, client, _ = connected
    response = event_stream(Source([1]).sync(), request=request)
    chunks = iter(response)
    assert next(chunks) == b"data: 1\n\n"
    client.sendall(b"GET /the-next HTTP/1.1")
    assert [next(chunks) for _ in range(3)] == [b":\n\n"] * 3
    response.close()


def test_no_heartbeat_is_sent_to_a_client_that_has_left(connected, ended):
    request, client, _ = connected
    response = event_stream(Source([1]).sync(), request=request)
    chunks = iter(response)
    next(chunks)
    client.close()
    assert len(list(chunks)) <= 1  # one, if it was due before anybody looked
    response.close()
    assert ended == ["left"]


@pytest.mark.parametrize(
    ("protocol", "hung_up"), [("HTTP/1.1", True), ("HTTP/2", False)]
)
def test_a_drained_connection_is_not_kept_for_another_request(
    connected, protocol, hung_up
):
    request, _, accepted = connected
    request.META["SERVER_PROTOCOL"] = protocol
    response = event_stream(Source([1]).sync(), request=request)
    chunks = iter(response)
    next(chunks)
    drain.begin()
    assert parsed(b"".join(chunks))[-1].event == "close"
    response.close()
    accepted.setblocking(False)
    # The end of the file is what gunicorn sees as a client that has gone.
    if hung_up:
        assert accepted.recv(1) == b""
    else:
        with pytest.raises(BlockingIOError):
            accepted.recv(1)


# -- signals ---------------------------------------------------------------------------


def test_each_stream_is_told_of_once_from_both_ends(server):
    told = []

    def note(signal, **kwargs):
        told.append((signal, kwargs))

    stream_started.connect(note)
    stream_ended.connect(note)
    request = server.factory.get("/", REMOTE_ADDR="203.0.113.7")
    request.META["REMOTE_ADDR"] = "203.0.113.7"
    response = server.open(["a", "b", "c"], request)
    list(iter(lambda: server.next(response), None))
    response.close()
    response.close()
    stream_started.disconnect(note)
    stream_ended.disconnect(note)
    (one, started), (two, done) = told
    assert (one, two) == (stream_started, stream_ended)
    assert started["identity"] == "ip:203.0.113.7"
    assert started["request"] is done["request"] is request
    assert (done["outcome"], done["events"]) == ("finished", 3)
    assert done["seconds"] >= 0


def test_a_source_that_cannot_be_made_is_told_of_from_both_ends_too(server, ended):
    started = []

    def note(**kwargs):
        started.append(kwargs)

    stream_started.connect(note)
    with pytest.raises(ZeroDivisionError):
        server.open(lambda seen: 1 / 0)
    stream_started.disconnect(note)
    assert (len(started), ended) == (1, ["failed"])


# -- the database ----------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_the_requests_connection_is_given_back_when_the_stream_begins(rf):
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    assert connection.connection is not None
    response = event_stream(Source([1]).sync(), request=rf.get("/"))
    assert connection.connection is not None  # the view may be at work in it
    next(iter(response))
    assert connection.connection is None
    response.close()


@pytest.mark.django_db
def test_a_transaction_is_not_taken_from_under_who_is_in_it(rf):
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    response = event_stream([1], request=rf.get("/"))
    assert list(response) == [b"data: 1\n\n"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    response.close()


def test_a_sync_source_knows_the_id_of_its_request():
    """On its log lines too, though it runs in a thread of its own."""
    server = Wsgi()
    work_for("of-this-test")
    try:
        response = server.open(current_request_id() for _ in range(1))
    finally:
        work_for("-")
    assert server.next(response) == b"data: of-this-test\n\n"
    server.drop(response)
