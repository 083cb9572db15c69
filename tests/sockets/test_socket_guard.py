"""The guard without a server: what it counts, ends and gives back."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import threading
import time
from types import SimpleNamespace

import pytest

from perfguard.exceptions import InvalidCredential, TruthUnavailable
from perfguard.sockets import connection, watch
from perfguard.sockets.doors import SignedIn
from perfguard.sockets.refusals import refused
from tests.sockets.socket_peers import LIMIT, SIGNED, Peer, echo, scope_of


async def opened(guard, scope=None):
    peer = Peer(guard, scope)
    assert (await peer.next())["type"] == "websocket.accept"
    return peer


async def refusal(guard, scope=None):
    """(status, body) of a handshake."""
    peer = Peer(guard, scope)
    await peer.done()
    start, body = await peer.next(), await peer.next()
    return start["status"], json.loads(body["body"])["code"]


async def closing(peer):
    message = await peer.until("websocket.close")
    return message.get("code", 1000), message.get("reason", "")


async def until(is_true):
    async with asyncio.timeout(LIMIT):
        while not is_true():
            await asyncio.sleep(0.01)


def is_empty(guard):
    slots = guard.slots
    return not (slots.taken or slots.by_identity or guard.watch.open)


# -- places are given back -------------------------------------------------------------


def test_a_place_is_given_back_however_a_socket_ends(make_guard):
    async def failing(scope, receive, send):
        await receive()
        raise RuntimeError("inside")

    async def aborted(guard, number):
        peer = Peer(guard)
        for _ in range(number % 6):
            await asyncio.sleep(0)
        # Left, cancelled by the server, or gone while the application answers.
        if number % 3:
            peer.running.cancel()
        else:
            peer.leave()
        await asyncio.wait({peer.running}, timeout=LIMIT)

    async def main():
        for application in (echo, failing):
            guard = make_guard(application)
            for start in range(0, 1000, 40):
                wave = (aborted(guard, number) for number in range(start, start + 40))
                await asyncio.gather(*wave)
            assert is_empty(guard)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.wait(left, timeout=LIMIT) if left else None
            assert asyncio.all_tasks() == {asyncio.current_task()}

    logging.disable(logging.CRITICAL)
    try:
        asyncio.run(main())
    finally:
        logging.disable(logging.NOTSET)


def test_a_place_is_given_back_after_each_refusal(make_guard, perfguard):
    perfguard()
    ends = [InvalidCredential("no"), TruthUnavailable("no"), refused(403, "no", "no")]

    async def main():
        guard = make_guard()
        for end in ends:
            guard.door.signed_in = end
            status, _ = await refusal(guard)
            assert (status, is_empty(guard)) in {(401, True), (503, True), (403, True)}

    asyncio.run(main())


def test_a_full_process_says_503_and_a_full_identity_429(make_guard, perfguard):
    perfguard(SOCKET_MAX_PER_WORKER=2, SOCKET_MAX_PER_IDENTITY=1)

    async def main():
        guard = make_guard()
        one = await opened(guard)
        assert await refusal(guard) == (429, "too_many_sockets")
        other = SimpleNamespace(pk=2, is_authenticated=True)
        guard.door.signed_in = SignedIn(other, None, "user:2")
        two = await opened(guard)
        asked = len(guard.door.counted)
        assert await refusal(guard) == (503, "too_many_sockets")
        assert len(guard.door.counted) == asked  # nobody was asked in vain
        for peer in (one, two):
            peer.leave()
            await peer.done()
        assert is_empty(guard)

    asyncio.run(main())


# -- who is counted, and let in --------------------------------------------------------


def test_an_address_is_counted_before_anything_is_verified(make_guard, perfguard):
    perfguard(SOCKET_REQUIRE_SIGN_IN=False)

    async def main():
        guard = make_guard()
        guard.door.signed_in = InvalidCredential("no")
        await refusal(guard)
        assert guard.door.counted == [("ip:127.0.0.1", "socket_connect_address")]
        guard.door.signed_in = SignedIn(SimpleNamespace(pk=1), None, "user:1")
        peer = await opened(guard)
        assert guard.door.counted[1:] == [
            ("ip:127.0.0.1", "socket_connect_address"),
            ("user:1", "socket_connect"),
        ]
        nobody = await opened(guard, scope_of())
        assert set(guard.slots.by_identity) == {"user:1", "ip:127.0.0.1"}
        for each in (peer, nobody):
            each.leave()
            await each.done()

    asyncio.run(main())


def test_who_need_not_sign_in_is_an_anonymous_user(make_guard, perfguard):
    perfguard(SOCKET_REQUIRE_SIGN_IN=False)
    given = {}

    async def inside(scope, receive, send):
        given.update(scope)
        await echo(scope, receive, send)

    async def main():
        peer = await opened(make_guard(inside), scope_of())
        peer.leave()
        await peer.done()

    asyncio.run(main())
    assert (given["user"].is_authenticated, given["auth"]) == (False, None)
    assert given["client"] == ("127.0.0.1", 4711)


def test_a_switch_closes_all_sockets(make_guard, perfguard):
    perfguard(SOCKET_ENABLED=False)
    assert asyncio.run(_refusal(make_guard)) == (404, "not_found")


def test_a_url_that_is_no_text_is_400(make_guard, perfguard):
    perfguard()
    scope = scope_of(headers=SIGNED, query_string=b"a=\xff")
    assert asyncio.run(_refusal(make_guard, scope)) == (400, "malformed")


def test_a_credential_of_a_kind_that_is_not_listed_is_refused(make_guard, perfguard):
    perfguard(SOCKET_AUTHENTICATION=["ticket"])
    assert asyncio.run(_refusal(make_guard)) == (401, "not_accepted")


async def _refusal(make_guard, scope=None):
    return await refusal(make_guard(), scope)


def test_a_server_without_the_extension_answers_403_by_itself(make_guard, perfguard):
    perfguard()

    async def main():
        peer = Peer(make_guard(), scope_of(extensions=None))
        await peer.done()
        assert (await peer.next())["type"] == "websocket.close"

    asyncio.run(main())


def test_a_cookie_counts_from_a_trusted_origin_alone(make_guard, perfguard):
    perfguard(SOCKET_AUTHENTICATION=["session"])
    cookie = {"cookie": "sessionid=abcdefgh"}

    async def main():
        guard = make_guard()
        scope = scope_of(headers=cookie)
        assert await refusal(guard, scope) == (403, "origin_missing")
        scope = scope_of(headers={**cookie, "origin": "https://evil.example"})
        assert await refusal(guard, scope) == (403, "origin")
        scope = scope_of(headers={**cookie, "origin": "http://localhost"})
        peer = await opened(guard, scope)
        peer.leave()
        await peer.done()

    asyncio.run(main())


# -- what is said ----------------------------------------------------------------------


def test_so_many_messages_in_any_second_and_then_it_is_closed(make_guard, perfguard):
    perfguard(SOCKET_MESSAGES_PER_SECOND=5)
    heard = []

    async def main():
        guard = make_guard()
        peer = await opened(guard)
        for number in range(7):
            peer.say(str(number))
        while (message := await peer.next())["type"] == "websocket.send":
            heard.append(message["text"])
        assert (message["code"], message["reason"]) == (4429, "too_many_messages")
        await peer.done()
        assert is_empty(guard)

    asyncio.run(main())
    assert heard == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("message", "is_longer"),
    [
        ({"text": "x" * 8}, False),
        ({"text": "x" * 9}, True),
        ({"text": "\N{GRINNING FACE}" * 2}, False),
        ({"text": "\N{GRINNING FACE}" * 3}, True),
        ({"text": "\ud800" * 9}, True),
        ({"bytes": b"x" * 8}, False),
        ({"bytes": b"x" * 9, "text": None}, True),
        ({}, False),
    ],
    ids=str,
)
def test_a_message_is_measured_in_bytes(message, is_longer):
    assert connection._is_longer(message, 8) is is_longer


# -- while it is open ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "closed"), [("token_revoked", 4401), ("insufficient_scope", 4403)]
)
def test_what_is_no_longer_good_is_closed(code, closed, make_guard, perfguard):
    perfguard(SOCKET_RECHECK_SECONDS=0.05)

    async def main():
        guard = make_guard()
        peer = await opened(guard)
        await until(lambda: len(guard.door.asked) >= 3)
        guard.door.answer = code
        assert await closing(peer) == (closed, code)
        await peer.done()
        assert is_empty(guard)

    asyncio.run(main())


def test_a_socket_ends_at_exp(make_guard, perfguard):
    perfguard()

    async def main():
        end = time.time() + 0.3
        peer = await opened(make_guard(expires_at=end))
        assert await closing(peer) == (4401, "token_expired")
        assert time.time() >= end

    asyncio.run(main())


def test_what_nobody_knows_keeps_a_socket_for_a_while(make_guard, perfguard):
    perfguard(SOCKET_RECHECK_SECONDS=0.02, SOCKET_UNKNOWN_SECONDS=3600.0)

    async def main():
        guard = make_guard(answer=None)
        peer = await opened(guard)
        await until(lambda: len(guard.door.asked) >= 5)
        peer.say("still here")
        assert (await peer.next())["text"] == "still here"
        guard.door.answer = ""
        await until(lambda: len(guard.door.asked) >= 8)
        guard.door.answer = None
        perfguard(SOCKET_UNKNOWN_SECONDS=0.0)
        assert await closing(peer) == (1013, "unavailable")

    asyncio.run(main())


def test_the_time_that_nobody_knows_begins_with_the_last_good_answer(perfguard):
    perfguard(SOCKET_UNKNOWN_SECONDS=60.0, SOCKET_RECHECK_SECONDS=5.0)
    ends = []
    guarded = SimpleNamespace(end=lambda code, reason: ends.append(code))
    looks = watch.Watch(lambda those: [])
    each = watch.Watched(guarded, None, due=0.0, known_at=0.0)
    looks._judge(each, "", 100.0)
    assert (each.known_at, each.due) == (100.0, 105.0)
    looks._judge(each, None, 159.9)
    looks.open.add(each)
    looks._give_up(170.0)
    assert ends == []
    looks._judge(each, None, 160.0)
    looks._give_up(170.1)
    assert ends == [1013, 1013]


def test_a_check_that_fails_is_logged_and_taken_for_unknown(
    make_guard, perfguard, caplog
):
    perfguard(SOCKET_RECHECK_SECONDS=0.02, SOCKET_UNKNOWN_SECONDS=0.1)

    async def main():
        peer = await opened(make_guard(answer=ValueError("a bug")))
        assert await closing(peer) == (1013, "unavailable")

    asyncio.run(main())
    assert "Open sockets could not be checked." in caplog.text


def test_a_check_that_hangs_does_not_keep_a_socket_for_ever(make_guard, perfguard):
    perfguard(SOCKET_RECHECK_SECONDS=0.02, SOCKET_UNKNOWN_SECONDS=0.05)
    hangs = threading.Event()

    async def main():
        guard = make_guard()
        guard.watch._refusals = lambda those: hangs.wait(LIMIT)
        peer = await opened(guard)
        assert await closing(peer) == (1013, "unavailable")
        hangs.set()

    asyncio.run(main())


def test_thousands_of_idle_sockets_take_a_few_threads(make_guard, perfguard):
    perfguard(SOCKET_RECHECK_SECONDS=0.2, SOCKET_MAX_PER_IDENTITY=2000)

    async def main():
        before = set(threading.enumerate())
        guard = make_guard()
        peers = [await opened(guard) for _ in range(1500)]
        asked = guard.door.asked
        await until(lambda: sum(asked) >= 4500)
        started = set(threading.enumerate()) - before
        # The loop's own verify handshakes, and are as few.
        asking = {each for each in started if "asyncio" not in each.name}
        assert len(asking) <= watch.THREADS
        assert len(started) <= watch.THREADS + 40
        assert max(asked) <= watch.BATCH
        for peer in peers:
            peer.leave()
        await asyncio.gather(*(peer.done() for peer in peers))
        assert is_empty(guard)
        assert guard.watch._task is None

    asyncio.run(main())


def test_checks_of_sockets_that_came_together_are_spread(make_guard, perfguard):
    perfguard(SOCKET_RECHECK_SECONDS=100.0, SOCKET_MAX_PER_IDENTITY=2000)

    async def main():
        guard = make_guard()
        peers = [await opened(guard) for _ in range(200)]
        now = asyncio.get_running_loop().time()
        waits = [each.due - now for each in guard.watch.open]
        assert min(waits) < 20
        assert max(waits) > 80
        for peer in peers:
            peer.leave()
        await asyncio.gather(*(peer.done() for peer in peers))

    asyncio.run(main())


# -- applications that do not behave ---------------------------------------------------


def test_an_application_that_does_not_end_is_cancelled(
    make_guard, perfguard, monkeypatch
):
    perfguard(SOCKET_RECHECK_SECONDS=0.02)
    monkeypatch.setattr(connection, "GRACE", 0.05)
    ends = []

    async def stubborn(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    async def main():
        guard = make_guard(stubborn, answer="token_revoked")
        peer = await opened(guard)
        assert await closing(peer) == (4401, "token_revoked")
        await peer.done()
        assert is_empty(guard)

    asyncio.run(main())
    assert ends == ["cancelled"]


def test_an_application_that_goes_on_sending_is_told_that_it_is_closed(
    make_guard, perfguard, caplog
):
    perfguard(SOCKET_RECHECK_SECONDS=0.02)

    async def talking(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            await send({"type": "websocket.send", "text": "x"})
            await asyncio.sleep(0.01)

    async def main():
        peer = await opened(make_guard(talking, answer="token_revoked"))
        assert await closing(peer) == (4401, "token_revoked")
        await peer.done()
        assert peer.sent.empty()

    asyncio.run(main())
    assert caplog.text == ""


def test_an_application_hears_why_its_socket_was_closed(make_guard, perfguard):
    perfguard(SOCKET_RECHECK_SECONDS=0.02)
    heard = []

    async def listening(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        heard.append(await receive())

    async def main():
        peer = await opened(make_guard(listening, answer="token_revoked"))
        await peer.done()

    asyncio.run(main())
    assert heard == [
        {"type": "websocket.disconnect", "code": 4401, "reason": "token_revoked"}
    ]


def test_an_application_refuses_with_a_status_of_its_own(make_guard, perfguard):
    perfguard()

    async def refusing(scope, receive, send):
        await receive()
        start = {"type": "websocket.http.response.start", "status": 418, "headers": []}
        await send(start)
        await send({"type": "websocket.http.response.body", "body": b"no"})

    async def main():
        peer = Peer(make_guard(refusing))
        await peer.done()
        assert (await peer.next())["status"] == 418
        assert (await peer.next())["body"] == b"no"
        assert peer.sent.empty()

    asyncio.run(main())


def test_a_server_that_closed_first_is_no_fault(make_guard, perfguard, caplog):
    perfguard(SOCKET_RECHECK_SECONDS=0.02)

    async def main():
        guard = make_guard(answer="token_revoked")
        given = asyncio.Queue()
        given.put_nowait({"type": "websocket.connect"})

        async def closed_before(message):
            if message["type"] == "websocket.close":
                given.put_nowait({"type": "websocket.disconnect", "code": 1011})
                raise RuntimeError("Unexpected message after websocket.close.")

        running = guard(scope_of(headers=SIGNED), given.get, closed_before)
        await asyncio.wait_for(running, LIMIT)
        assert is_empty(guard)

    asyncio.run(main())
    assert caplog.text == ""


def test_a_client_that_left_is_no_fault_of_the_application(
    make_guard, perfguard, caplog
):
    perfguard()

    async def accepting(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})

    async def gone(message):
        raise ConnectionResetError

    async def run():
        guard = make_guard(accepting)
        given = asyncio.Queue()
        given.put_nowait({"type": "websocket.connect"})
        await guard(scope_of(headers=SIGNED), given.get, gone)
        assert is_empty(guard)

    asyncio.run(run())
    assert caplog.text == ""


def test_a_client_that_does_not_read_cannot_hold_its_place(
    make_guard, perfguard, monkeypatch
):
    perfguard(SOCKET_RECHECK_SECONDS=0.02)
    monkeypatch.setattr(connection, "CLOSING", 0.05)
    monkeypatch.setattr(connection, "GRACE", 0.05)

    async def main():
        guard = make_guard(answer="token_revoked")
        given = asyncio.Queue()
        given.put_nowait({"type": "websocket.connect"})

        async def stuck(message):
            if message["type"] == "websocket.close":
                await asyncio.Event().wait()

        running = guard(scope_of(headers=SIGNED), given.get, stuck)
        await asyncio.wait_for(running, LIMIT)
        assert is_empty(guard)

    asyncio.run(main())


def test_nothing_is_left_behind_by_a_thousand_sockets(make_guard, perfguard):
    perfguard()

    def connections():
        gc.collect()
        return sum(type(it) is connection.Connection for it in gc.get_objects())

    async def main():
        guard = make_guard()
        before = connections()  # of tests that went before
        for _ in range(1000):
            peer = await opened(guard)
            peer.leave()
            await peer.done()
        assert connections() - before < 5

    asyncio.run(main())
