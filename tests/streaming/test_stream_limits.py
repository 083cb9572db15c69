"""How many streams there may be, and that none is forgotten."""

from __future__ import annotations

import gc
import json
import os
import threading
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import AnonymousUser
from django.utils.functional import SimpleLazyObject

from perfguard.streaming.identity import identity_of
from perfguard.streaming.pauses import pause
from perfguard.streaming.responses import event_stream
from perfguard.streaming.slots import Full, Slots, slots
from tests.servers import wait_until


def waiting():
    yield 1
    pause(60)


async def awaiting():
    yield 1


@pytest.mark.parametrize(
    ("setting", "status", "code"),
    [
        ("STREAM_MAX_PER_WORKER", 503, "streams_full"),
        ("STREAM_MAX_PER_IDENTITY", 429, "too_many_streams"),
    ],
)
def test_one_stream_too_many_is_refused(server, perfguard, setting, status, code):
    perfguard(**{setting: 2, "STREAM_RETRY_MS": 2500})
    opened = [server.open(waiting()) for _ in range(2)]
    refused = server.open(waiting())
    assert (refused.status_code, refused.headers["Retry-After"]) == (status, "3")
    assert json.loads(refused.content)["code"] == code
    assert refused.headers["Vary"] == "Accept"
    server.drop(opened.pop())
    wait_until(lambda: server.wait(0.01) or slots.taken() == 1, "the slot")
    opened.append(server.open(waiting()))
    for each in opened:
        server.drop(each)
    server.wait(0.05)


def test_a_refusal_is_problem_details_for_whoever_accepts_them(server, perfguard):
    perfguard(STREAM_MAX_PER_IDENTITY=1)
    accept = {"Accept": "text/event-stream, application/problem+json"}
    opened = server.open(waiting())
    refused = server.open(waiting(), server.factory.get("/", headers=accept))
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert json.loads(refused.content) == {
        "title": "Too Many Requests",
        "status": 429,
        "detail": "You have too many open streams. Close one, or try again later.",
        "code": "too_many_streams",
    }
    server.drop(opened)
    server.wait(0.05)


def test_a_refused_source_is_not_called_and_is_closed(server, perfguard):
    perfguard(STREAM_MAX_PER_WORKER=1)
    opened, called = server.open(waiting()), []
    source = (each for each in [1])
    assert server.open(called.append).status_code == 503
    assert server.open(source).status_code == 503
    assert (called, list(source)) == ([], [])
    server.drop(opened)
    server.wait(0.05)


def test_others_have_room_while_one_identity_has_none(server, perfguard):
    perfguard(STREAM_MAX_PER_IDENTITY=1)
    opened = [server.open(waiting(), identity="user:1")]
    assert server.open(waiting(), identity="user:1").status_code == 429
    opened.append(server.open(waiting(), identity="user:2"))
    assert opened[-1].status_code == 200
    for each in opened:
        server.drop(each)
    server.wait(0.05)


# -- nothing leaks ---------------------------------------------------------------------


def test_ten_thousand_aborted_connects_leak_nothing(rf, perfguard):
    """Aborted in every way: closed, read and closed, thrown away, failed at once."""
    perfguard(STREAM_MAX_PER_WORKER=400, STREAM_MAX_PER_IDENTITY=400)
    threads = threading.active_count()
    for number in range(10_000):
        # What ends does so in threads of its own, a moment later.
        if number % 200 == 0:
            wait_until(lambda: slots.taken() < 100, "room")
        abort(rf.get("/"), number % 4)
    gc.collect()
    wait_until(lambda: not slots.taken(), "all slots to be given back")
    wait_until(lambda: threading.active_count() <= threads, "all threads to end")
    assert not slots._taken


def abort(request, how):
    if how == 3:
        with pytest.raises(ZeroDivisionError):
            event_stream(iter(lambda: 1 / 0, 1), request=request)
        return
    response = event_stream(waiting(), request=request)
    assert response.status_code == 200
    if how == 1:
        next(iter(response))
    if how < 2:
        response.close()


def test_aborted_connects_leak_no_task_and_no_slot_on_a_loop(server, perfguard):
    perfguard(STREAM_MAX_PER_WORKER=50, STREAM_MAX_PER_IDENTITY=50)
    for number in range(500):
        response = server.open(awaiting() if number % 2 else waiting())
        assert response.status_code == 200
        response.close()
        if number % 10 == 0:
            server.wait(0.001)
            wait_until(lambda: server.wait(0.005) or slots.taken() < 30, "room")
    wait_until(lambda: server.wait(0.01) or not slots.taken(), "all slots")


def test_a_slot_is_held_until_the_source_has_ended_too(server, perfguard):
    """Or a source that hangs would leave a thread for each client that gave up."""
    perfguard(STREAM_MAX_PER_WORKER=1)
    wake = threading.Event()

    def hanging():
        yield 1
        wake.wait(30)  # nobody can interrupt this

    response = server.open(hanging())
    server.next(response)
    server.drop(response)
    assert server.open([1]).status_code == 503
    wake.set()
    wait_until(lambda: not slots.taken(), "the slot")


def test_slots_are_exact_among_threads(perfguard):
    perfguard(STREAM_MAX_PER_WORKER=20, STREAM_MAX_PER_IDENTITY=5)
    own, most, held = Slots(), [], threading.Semaphore(0)

    def hold(identity):
        for _ in range(200):
            try:
                slot = own.take(identity)
            except Full:
                continue
            most.append(own.taken())
            slot.give_back()
        held.release()

    for number in range(32):
        threading.Thread(target=hold, args=(f"user:{number % 8}",)).start()
    for _ in range(32):
        assert held.acquire(timeout=30)
    assert own.taken() == 0
    assert max(most) <= 20
    five = [own.take("one") for _ in range(5)]
    with pytest.raises(Full):
        own.take("one")
    five.pop().give_back()
    own.take("one")


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_has_none_of_its_parents_streams(perfguard):
    slot = slots.take("user:1")
    child = os.fork()
    if not child:
        good = slots.taken() == 0
        slot.give_back()  # as its garbage collector may
        os._exit(0 if good and slots.taken() == 0 else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert slots.taken() == 1
    slot.give_back()


# -- for whom a stream is counted ------------------------------------------------------


def test_the_api_key_is_counted_before_the_user_and_the_user_before_the_address(rf):
    request = rf.get("/", REMOTE_ADDR="203.0.113.7")
    assert identity_of(request) == "ip:203.0.113.7"
    request.user = SimpleNamespace(pk=42)
    assert identity_of(request) == "user:42"
    request.perfguard_api_key = SimpleNamespace(key_id="ab12")
    assert identity_of(request) == "key:ab12"


def test_nobody_is_looked_up_to_be_counted(rf):
    def look_up():
        raise AssertionError("a query")

    request = rf.get("/", REMOTE_ADDR="2001:db8:1:2:3::4")
    request.user = SimpleLazyObject(look_up)
    assert identity_of(request) == "ip:2001:db8:1:2::/64"
    request._acached_user = SimpleNamespace(pk=7)
    assert identity_of(request) == "user:7"
    request._acached_user = AnonymousUser()
    assert identity_of(request) == "ip:2001:db8:1:2::/64"


def test_a_peer_without_an_address_is_counted_as_one(rf):
    assert identity_of(rf.get("/", REMOTE_ADDR="")) == "ip:unknown"
