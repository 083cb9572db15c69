"""The queue is bounded, whatever its policy, and says what it does not take."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from perfguard.audit.lines import from_line
from perfguard.audit.losses import Losses, LossRecords
from perfguard.audit.queues import Queue
from perfguard.signals import audit_entries_dropped
from tests.servers import wait_until

THREADS = 32


@pytest.fixture
def losses() -> Losses:
    return Losses("database")


@pytest.fixture
def queue(losses: Losses) -> Queue:
    return Queue(losses)


def put_all(queue: Queue, *lines: bytes) -> list[bool]:
    return [queue.put(line) for line in lines]


# -- bounds ---------------------------------------------------------------------------


def test_it_is_bounded_in_number_and_has_room_when_lines_are_done(queue, perfguard):
    perfguard(AUDIT_QUEUE_SIZE=2)
    assert put_all(queue, b"1", b"2", b"3") == [True, True, False]
    taken = queue.take(10)
    assert taken == [b"1", b"2"]
    # What the writer holds is in memory still.
    assert not queue.put(b"4")
    queue.done(taken)
    assert queue.put(b"5")
    assert queue.waiting() == 1


def test_it_is_bounded_in_bytes(queue, perfguard):
    perfguard(AUDIT_QUEUE_BYTES=10)
    assert put_all(queue, b"12345", b"67890", b"x") == [True, True, False]
    queue.done(queue.take(1))
    assert put_all(queue, b"123456", b"12345", b"x") == [False, True, False]


def test_a_batch_has_so_many_lines_and_about_so_many_bytes(
    queue, perfguard, monkeypatch
):
    monkeypatch.setattr("perfguard.audit.queues.BATCH_BYTES", 10)
    perfguard()
    put_all(queue, *(b"%d" % number for number in range(5)), b"x" * 50, b"y" * 50)
    assert queue.take(3) == [b"0", b"1", b"2"]
    assert queue.take(5) == [b"3", b"4", b"x" * 50]
    assert queue.take(5) == [b"y" * 50]
    assert queue.take(5) == []


# -- overflow -------------------------------------------------------------------------


def test_drop_old_makes_room_by_the_oldest_and_counts_them(queue, losses, perfguard):
    perfguard(AUDIT_QUEUE_SIZE=3, AUDIT_OVERFLOW="drop_old")
    assert put_all(queue, *(b"%d" % number for number in range(5))) == [True] * 5
    assert queue.take(10) == [b"2", b"3", b"4"]
    assert losses.total() == {"queue full": 2}
    # These are on their way: none of them may go, and there is no other.
    assert not queue.put(b"5")


def test_drop_old_drops_no_line_for_one_that_is_too_long_anyway(
    queue, losses, perfguard
):
    perfguard(AUDIT_QUEUE_BYTES=10, AUDIT_OVERFLOW="drop_old")
    queue.put(b"12345")
    assert not queue.put(b"x" * 11)
    assert queue.take(10) == [b"12345"]
    assert losses.total() == {}


def test_who_is_told_of_dropped_lines_may_write_one(queue, perfguard):
    perfguard(AUDIT_QUEUE_SIZE=2, AUDIT_OVERFLOW="drop_old")
    told = []

    def receiver(sink, reason, count, **kwargs: Any) -> None:
        told.append((sink, reason, count))
        if len(told) == 1:
            queue.put(b"told")

    audit_entries_dropped.connect(receiver)
    try:
        put_all(queue, b"1", b"2", b"3")
    finally:
        audit_entries_dropped.disconnect(receiver)
    assert told == [("database", "queue full", 1)] * 2
    assert queue.take(10) == [b"3", b"told"]


def test_block_waits_for_room(queue, perfguard):
    perfguard(AUDIT_QUEUE_SIZE=1, AUDIT_OVERFLOW="block", AUDIT_BLOCK_MS=60_000)
    queue.put(b"1")
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(queue.put, b"2")
        queue.done(queue.take(1))
        assert second.result(60)
    assert queue.take(10) == [b"2"]


def test_block_waits_no_longer_than_it_may(queue, perfguard):
    perfguard(AUDIT_QUEUE_SIZE=1, AUDIT_OVERFLOW="block", AUDIT_BLOCK_MS=1)
    assert put_all(queue, b"1", b"2") == [True, False]


def test_block_does_not_wait_with_a_line_that_is_too_long_anyway(queue, perfguard):
    perfguard(AUDIT_QUEUE_BYTES=1, AUDIT_OVERFLOW="block", AUDIT_BLOCK_MS=3_600_000)
    assert not queue.put(b"12")


# -- tickets --------------------------------------------------------------------------


def test_a_ticket_is_done_with_its_line(queue, perfguard):
    perfguard()
    first, second = queue.put_with_ticket(b"1"), queue.put_with_ticket(b"2")
    queue.done(queue.take(1))
    assert first.done()
    assert not second.done()


def test_without_room_there_is_no_ticket(queue, perfguard):
    perfguard(AUDIT_QUEUE_SIZE=1)
    queue.put(b"1")
    assert queue.put_with_ticket(b"2") is None


def test_nobody_waits_for_a_line_that_was_dropped(queue, perfguard):
    perfguard(AUDIT_QUEUE_SIZE=1, AUDIT_OVERFLOW="drop_old")
    ticket = queue.put_with_ticket(b"1")
    queue.put(b"2")
    assert ticket.done()
    assert queue._tickets == {}


def test_who_no_longer_waits_keeps_no_other_from_his_ticket(queue, perfguard):
    perfguard()
    left, waits = queue.put_with_ticket(b"1"), queue.put_with_ticket(b"2")
    left.cancel()
    queue.done(queue.take(2))
    assert waits.done()


# -- 32 threads -----------------------------------------------------------------------


@pytest.mark.parametrize("overflow", ["drop_new", "drop_old", "block"])
def test_of_what_32_threads_put_all_is_taken_or_counted_and_nothing_twice(
    queue, losses, perfguard, overflow
):
    perfguard(
        AUDIT_QUEUE_SIZE=50,
        AUDIT_QUEUE_BYTES=400,
        AUDIT_OVERFLOW=overflow,
        AUDIT_BLOCK_MS=50,
    )
    taken: list[bytes] = []
    most: list[int] = []
    ended = threading.Event()

    def write() -> None:
        while not ended.is_set() or queue.waiting():
            lines = queue.take(20)
            most.append(queue.waiting())
            taken.extend(lines)
            queue.done(lines)

    def put(thread: int) -> int:
        return put_all(queue, *(b"%d-%d" % (thread, n) for n in range(200))).count(True)

    writer = threading.Thread(target=write)
    writer.start()
    with ThreadPoolExecutor(THREADS) as pool:
        entered = sum(pool.map(put, range(THREADS)))
    ended.set()
    writer.join()
    dropped = losses.total().get("queue full", 0)
    assert len(taken) == len(set(taken)) == entered - dropped
    assert max(most) <= 50
    assert (queue.waiting(), queue._bytes) == (0, 0)


def test_32_threads_with_tickets_are_all_told(queue, perfguard):
    perfguard()

    def wait(thread: int) -> list[Any]:
        lines = [b"%d-%d" % (thread, number) for number in range(50)]
        return [queue.put_with_ticket(line).result(60) for line in lines]

    with ThreadPoolExecutor(THREADS) as pool:
        waiting = [pool.submit(wait, thread) for thread in range(THREADS)]

        def write() -> bool:
            queue.done(queue.take(20))
            return all(each.done() for each in waiting)

        wait_until(write, "all to be told", 60)
        assert [each.result() for each in waiting] == [[None] * 50] * THREADS


# -- losses ---------------------------------------------------------------------------


def test_losses_are_put_on_record_once_by_whoever_they_are(perfguard):
    perfguard()
    database, file = Losses("database"), Losses("file")
    records = LossRecords([database, file])
    assert records.waiting() == 0
    database.add("queue full", 2)
    file.add("queue full")
    file.add("not made", 3)
    assert records.waiting() == 3
    lines = records.take(500)
    database.add("queue full")  # meanwhile
    records.done(lines)
    assert [details(line) for line in lines] == [
        '{"sink":"database","reason":"queue full","count":2}',
        '{"sink":"file","reason":"queue full","count":1}',
        '{"sink":"file","reason":"not made","count":3}',
    ]
    assert [details(line) for line in records.take(500)] == [
        '{"sink":"database","reason":"queue full","count":1}'
    ]
    assert file.total() == {"queue full": 1, "not made": 3}


def details(line: bytes) -> str:
    entry = from_line(line)
    assert entry.kind == "entries_dropped"
    return entry.details


def test_losses_take_no_lines(perfguard):
    assert not LossRecords([]).put(b"line")
