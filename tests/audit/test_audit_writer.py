"""The writer's thread goes on, whatever its sink, its sources and the system do."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import DataError, IntegrityError, OperationalError, transaction

from perfguard.audit import log, writer
from perfguard.audit.database_sink import DatabaseSink
from perfguard.audit.entries import Entry, new_id, now
from perfguard.audit.lines import from_line, to_line
from perfguard.audit.losses import Losses, LossRecords
from perfguard.audit.models import AuditEntry
from perfguard.audit.queues import Queue
from perfguard.audit.writer import Writer
from tests.servers import ROOT, clean_environment, wait_until

SOON = 60  # seconds, on a busy machine


class MemorySink:
    """Keeps lines, and raises what it is told to, as often as that."""

    name = "memory"

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.batches: list[int] = []
        self.upkeeps = 0
        self.closed = False
        self.raises: list[Exception] = []
        self.upkeep_raises: list[Exception] = []
        self.refuses: set[bytes] = set()
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def write(self, lines: list[bytes]) -> None:
        self.may_go_on.wait(SOON)
        self.batches.append(len(lines))
        if self.raises:
            raise self.raises.pop(0)
        if self.refuses & set(lines):
            raise DataError("value too long, and secret")
        self.lines += lines

    def upkeep(self, *, is_idle: bool) -> None:
        self.upkeeps += 1
        if self.upkeep_raises:
            raise self.upkeep_raises.pop(0)

    def close(self) -> None:
        self.closed = True


class Failing(Queue):
    """A source on a disk that fails."""

    def take(self, most: int) -> list[bytes]:
        if self.errors:
            raise self.errors.pop(0)
        return super().take(most)

    errors: list[Exception]


@pytest.fixture
def sink() -> MemorySink:
    return MemorySink()


@pytest.fixture
def losses() -> Losses:
    return Losses("memory")


@pytest.fixture(autouse=True)
def _fast(perfguard: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    perfguard(AUDIT_FLUSH_SECONDS=0.01)
    monkeypatch.setattr(writer, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(writer, "LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(writer, "TICK", 0.01)


@pytest.fixture
def start(sink: MemorySink, losses: Losses) -> Iterator[Callable[..., Writer]]:
    started: list[Writer] = []

    def make(*sources: Any) -> Writer:
        made = Writer(sink, sources or (Queue(losses),), losses)
        made.start()
        started.append(made)
        return made

    yield make
    sink.may_go_on.set()
    for each in started:
        stop(each)


def stop(writer: Writer, seconds: float = SOON) -> None:
    writer.stop(time.monotonic() + seconds)
    writer.join()


def lines(count: int) -> list[bytes]:
    return [b'["%d"]' % number for number in range(count)]


def put_all(writer: Writer, given: list[bytes]) -> None:
    assert all(writer.put(line) for line in given)


# -- sinks that fail ------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [OperationalError(), OSError(28, "no space left"), ValueError("odd")]
)
def test_a_sink_that_raises_is_asked_again_until_it_takes_all(
    start, sink, caplog, error
):
    sink.raises = [error] * 5
    writer = start()
    put_all(writer, lines(3))
    assert writer.flush(SOON)
    assert sink.lines == lines(3)
    assert writer.failing == ""
    said = [record.levelname for record in caplog.records]
    assert said == ["ERROR", "WARNING"]  # once for each change


def test_while_it_fails_it_is_told_by_which_error(start, sink):
    sink.raises = [OperationalError()]
    writer = start()
    sink.may_go_on.clear()
    writer.put(b"[1]")
    sink.raises = [OperationalError()] * 1_000_000
    sink.may_go_on.set()
    wait_until(lambda: writer.failing == "OperationalError", "it to fail", SOON)
    sink.raises = []
    assert writer.flush(SOON)
    assert writer.failing == ""


def test_the_pauses_between_two_tries_grow_to_a_longest_one(
    start, sink, monkeypatch, losses
):
    monkeypatch.setattr(writer, "FIRST_PAUSE", 1.0)
    monkeypatch.setattr(writer, "LONGEST_PAUSE", 5.0)
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    made = Writer(sink, [Queue(losses)], losses)
    pauses: list[float] = []
    monkeypatch.setattr(made._stopping, "wait", lambda pause: pauses.append(pause))
    sink.raises = [OperationalError()] * 6
    assert made._write([b"[1]"])
    assert pauses == [1, 2, 4, 5, 5, 5]


@pytest.mark.parametrize("kind", [DataError, IntegrityError])
def test_one_that_is_refused_keeps_no_other_from_the_database(
    start, sink, losses, caplog, kind
):
    given = lines(100)
    sink.refuses = {given[17], given[63]}
    sink.raises = [kind()]
    writer = start()
    put_all(writer, given)
    assert writer.flush(SOON)
    assert sink.lines == [line for line in given if line not in sink.refuses]
    assert losses.total() == {"refused by the database": 2}
    assert "secret" not in caplog.text


def test_upkeep_that_fails_ends_nothing_and_tells_no_secret(start, sink, caplog):
    sink.upkeep_raises = [DataError("DETAIL: password=hunter2"), OSError(5, "bad disk")]
    writer = start()
    wait_until(lambda: not sink.upkeep_raises, "the upkeep", SOON)
    put_all(writer, lines(2))
    assert writer.flush(SOON)
    assert "DataError" in caplog.text
    assert "bad disk" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_source_that_fails_does_not_end_the_thread(start, sink, losses):
    queue = Failing(losses)
    queue.errors = [OSError(5, "Input/output error"), MemoryError()]
    writer = start(queue)
    put_all(writer, lines(2))
    assert writer.flush(SOON)
    assert sink.lines == lines(2)


# -- its thread -----------------------------------------------------------------------


def test_a_thread_that_could_not_be_started_is_started_by_a_later_line(
    start, sink, monkeypatch, caplog
):
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        writer = start()
        put_all(writer, lines(2))
        assert writer.failing == "RuntimeError"
    assert caplog.text.count("cannot be written") == 1
    writer.put(b"[2]")
    assert writer.flush(SOON)
    assert sink.lines == [*lines(2), b"[2]"]
    assert writer.failing == ""


def test_who_is_told_that_there_is_no_thread_may_write_an_entry(start, monkeypatch):
    told: list[bool] = []
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        made = start()
        made.failing = ""
        patch.setattr(
            writer.logger, "error", lambda *args: told.append(made.put(b"[2]"))
        )
        made.put(b"[1]")
    assert told == [True]
    assert made.flush(SOON)


def test_without_any_thread_what_waits_is_written_at_the_end(start, sink, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        writer = start()
        put_all(writer, lines(2))
        stop(writer)
    assert sink.lines == lines(2)
    assert sink.closed


def no_thread(self: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_upkeep_has_its_turn_however_much_is_written(start, sink, perfguard):
    """With each batch more comes than it took."""
    perfguard(AUDIT_BATCH_SIZE=2)
    writer = start()
    writes = sink.write

    def more(batch: list[bytes]) -> None:
        writes(batch)
        if sink.upkeeps < 10 and len(sink.lines) < 20_000:
            put_all(writer, [b"[%d]" % (len(sink.lines) + n) for n in range(2)])

    sink.write = more
    put_all(writer, lines(2))
    wait_until(lambda: sink.upkeeps >= 10, "the upkeep", SOON)
    assert len(sink.lines) < 20_000


def test_batches_are_no_larger_than_the_setting(start, sink, perfguard):
    perfguard(AUDIT_BATCH_SIZE=30, AUDIT_FLUSH_SECONDS=0.5)
    writer = start()
    put_all(writer, lines(100))
    assert writer.flush(SOON)
    assert max(sink.batches) <= 30
    assert sink.lines == lines(100)


def test_who_waits_for_a_line_does_not_wait_for_others_to_come(start, sink, perfguard):
    perfguard(AUDIT_FLUSH_SECONDS=3600.0)
    writer = start()
    writer.put(b"[1]")
    writer.wake(at_once=True)
    wait_until(lambda: sink.lines == [b"[1]"], "the line", SOON)


# -- flush and stop -------------------------------------------------------------------


def test_flush_says_whether_all_has_left(start, sink):
    sink.may_go_on.clear()
    writer = start()
    writer.put(b"[1]")
    assert not writer.flush(0.05)
    sink.may_go_on.set()
    assert writer.flush(SOON)
    assert sink.lines == [b"[1]"]


def test_stop_writes_what_waits_and_ends_the_thread(start, sink, perfguard):
    perfguard(AUDIT_FLUSH_SECONDS=3600.0)
    writer = start()
    put_all(writer, lines(1200))
    stop(writer)
    assert sink.lines == lines(1200)
    assert sink.closed
    assert not writer._thread.is_alive()


def test_stop_tries_until_its_time_is_over_and_says_what_is_left(
    start, sink, caplog, monkeypatch
):
    monkeypatch.setattr(writer, "LONGEST_PAUSE", 3600.0)
    sink.raises = [OperationalError()] * 1_000_000
    made = start()
    put_all(made, lines(3))
    wait_until(lambda: made.failing, "it to fail", SOON)
    before = len(sink.batches)
    stop(made, 0.2)
    # Not after a pause as long as those before have become.
    assert len(sink.batches) > before + 2
    assert "3 audit entries for the memory are not stored" in caplog.text
    assert not made._thread.is_alive()


def test_stop_does_not_wait_for_a_sink_that_hangs(start, sink, caplog, monkeypatch):
    monkeypatch.setattr(writer, "GRACE", 0.01)
    sink.may_go_on.clear()
    made = start()
    put_all(made, lines(2))
    stop(made, 0.05)
    assert "2 audit entries" in caplog.text
    assert not sink.lines


def test_a_database_that_is_back_within_the_time_gets_all(start, sink, monkeypatch):
    monkeypatch.setattr(writer, "LONGEST_PAUSE", 3600.0)
    sink.raises = [OperationalError()] * 30
    made = start()
    put_all(made, lines(3))
    stop(made)
    assert sink.lines == lines(3)


# -- losses ---------------------------------------------------------------------------


def test_what_is_lost_is_on_record_once_though_the_queue_is_full(
    start, sink, losses, perfguard
):
    perfguard(AUDIT_QUEUE_SIZE=5)
    queue, others = Queue(losses), Losses("file")
    sink.may_go_on.clear()
    writer = start(queue, LossRecords([losses, others]))
    put_all(writer, lines(5))
    assert not any(writer.put(b"[%d]" % number) for number in range(7))
    others.add("queue full", 2)
    sink.may_go_on.set()
    assert writer.flush(SOON)
    recorded = [json.loads(from_line(line).details) for line in sink.lines[5:]]
    assert recorded == [
        {"sink": "memory", "reason": "queue full", "count": 7},
        {"sink": "file", "reason": "queue full", "count": 2},
    ]
    assert losses.total() == {"queue full": 7}


# -- the log --------------------------------------------------------------------------


def entry(name: str, **fields: Any) -> Entry:
    return Entry(new_id(), now(), "request", marker=name, **fields)


def stored(alias: str) -> list[str]:
    rows = AuditEntry.objects.using(alias).filter(kind="request").order_by("id")
    return list(rows.values_list("marker", flat=True))


def dropped(alias: str) -> list[Any]:
    rows = AuditEntry.objects.using(alias).filter(kind="entries_dropped")
    return [json.loads(row.details) for row in rows.order_by("id")]


def test_a_row_that_the_database_refuses_is_the_only_one_that_is_lost(
    postgres_log,
):
    for number in range(20):
        log.record(entry(f"{number}", route="x" * 1000 if number == 13 else ""))
    assert log.flush(SOON)
    assert stored(postgres_log) == [f"{n}" for n in range(20) if n != 13]
    assert dropped(postgres_log) == [
        {"sink": "database", "reason": "refused by the database", "count": 1}
    ]


def test_the_losses_of_a_process_are_on_record_when_it_ends(log_database, perfguard):
    perfguard(AUDIT_FLUSH_SECONDS=3600.0, AUDIT_QUEUE_SIZE=3)
    for number in range(10):
        log.record(entry(f"{number}"))
    log.lost("not made")
    assert log.state()["database"]["lost"] == {"queue full": 7, "not made": 1}
    log.close()
    assert stored(log_database) == ["0", "1", "2"]
    assert {each["reason"]: each["count"] for each in dropped(log_database)} == {
        "queue full": 7,
        "not made": 1,
    }


def test_the_same_line_twice_is_one_row(log_database):
    line = to_line(entry("once"))
    sink = DatabaseSink()
    for _ in range(2):
        sink.write([line])
    sink.close()
    assert stored(log_database) == ["once"]


def test_what_was_recorded_is_written_though_its_transaction_is_rolled_back(
    postgres_log,
):
    with transaction.atomic(using=postgres_log):
        log.record(entry("kept"))
        transaction.set_rollback(True, using=postgres_log)
    assert log.flush(SOON)
    assert stored(postgres_log) == ["kept"]


def test_the_driver_is_imported_by_whoever_records_first(log_database, monkeypatch):
    """A child that is forked while a thread imports it would have half of it."""
    by: list[threading.Thread] = []
    monkeypatch.setattr(
        "perfguard.audit.database_sink.load_backend",
        lambda engine: by.append(threading.current_thread()),
    )
    log.record(entry("one"))
    assert by == [threading.current_thread()]


def test_a_database_that_is_not_known_fails_no_request(perfguard):
    perfguard(AUDIT_DATABASE="none", AUDIT_DRAIN_SECONDS=0.1, AUDIT_FLUSH_SECONDS=0.01)
    log.record(entry("one"))
    wait_until(lambda: log.state()["database"]["failing"], "it to fail", SOON)
    assert log.state()["database"]["failing"] == "ConnectionDoesNotExist"


def test_on_the_loop_nobody_waits_in_it_for_room(log_database, perfguard, monkeypatch):
    perfguard(AUDIT_OVERFLOW="block", AUDIT_QUEUE_SIZE=1, AUDIT_BLOCK_MS=SOON * 1000)
    blocked, ticks = threading.Event(), []

    def write(self: Any, lines: list[bytes]) -> None:
        blocked.wait(SOON)

    monkeypatch.setattr(DatabaseSink, "write", write)

    async def main() -> None:
        await log.arecord(entry("one"))
        second = asyncio.create_task(log.arecord(entry("two")))
        for _ in range(5):
            await asyncio.sleep(0.001)
            ticks.append(second.done())
        blocked.set()
        await second

    asyncio.run(main())
    assert ticks == [False] * 5
    assert log.flush(SOON)


ENDS = """
import atexit, sys, django
from django.conf import settings
settings.configure(
    SECRET_KEY="of-the-tests",
    PERFGUARD=eval(sys.argv[1]),
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "perfguard"],
)
django.setup()
from perfguard.audit import log
from tests.audit.test_audit_writer import entry
def late():
    log.record(entry("late"))
    print("recorded")
if "early" in sys.argv:
    log.record(entry("early"))
atexit.register(late)
"""


@pytest.mark.parametrize("has_writers", [True, False], ids=["writers", "no-writers"])
def test_an_entry_while_the_interpreter_ends_is_written(tmp_path, has_writers):
    options = {
        "AUDIT_SINKS": ["file"],
        "AUDIT_DURABILITY": "async",
        "AUDIT_FILE_PATH": str(tmp_path / "audit.log"),
        "AUDIT_DRAIN_SECONDS": float(SOON),
    }
    arguments = ["early"] if has_writers else []
    done = subprocess.run(
        [sys.executable, "-c", ENDS, repr(options), *arguments],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=SOON,
    )
    assert (done.returncode, done.stdout) == (0, "recorded\n")
    assert "Traceback" not in done.stderr
    written = (tmp_path / "audit.log").read_text().splitlines()
    names = ["early", "late"] if has_writers else ["late"]
    assert [json.loads(line)["marker"] for line in written] == names
