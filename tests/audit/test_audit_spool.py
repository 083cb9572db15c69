"""The spool holds what it took, whatever becomes of its process."""

from __future__ import annotations

import os
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.db import DataError, OperationalError

from perfguard.audit import spool as spools
from perfguard.audit.lines import from_line
from perfguard.audit.losses import Losses
from perfguard.audit.replay import replay
from perfguard.audit.spool import ENTRY, OPENED, Segment, Spool, read_records, to_record
from tests.audit.audit_process import a_line, go_on, kill, running


class Store:
    """In place of a database; what comes twice is there twice."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.losses: list[str] = []
        self.refuses: set[str] = set()

    def __call__(self, lines: list[bytes]) -> None:
        entries = [from_line(line) for line in lines]
        if self.refuses & {entry.marker for entry in entries}:
            raise DataError
        self.names += [each.marker for each in entries if each.kind == "request"]
        self.losses += [each.details for each in entries if each.kind != "request"]


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def directory(tmp_path: Path, perfguard: Any) -> Path:
    perfguard()
    return tmp_path / "spool"


@pytest.fixture
def losses() -> Losses:
    return Losses("database")


@pytest.fixture
def spool(directory: Path, losses: Losses) -> Any:
    spool = Spool(str(directory), losses)
    yield spool
    spool.close()


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spools, "SEGMENT_BYTES", 2000)


def files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*"))


def names(lines: list[bytes]) -> list[str]:
    return [from_line(line).marker for line in lines]


def drained(spool: Spool) -> list[str]:
    found = []
    while lines := spool.take(7):
        found += names(lines)
        spool.done(lines)
    return found


# -- records --------------------------------------------------------------------------


def test_records_are_read_as_they_were_written():
    lines = [a_line("ä" * 100), b"", a_line("two")]
    records = list(zip((ENTRY, OPENED, ENTRY), lines, strict=True))
    chunk = b"".join(to_record(mark, line) for mark, line in records)
    found = list(read_records(chunk))
    assert [each[:2] for each in found] == records
    assert sum(each[2] for each in found) == len(chunk)


def test_a_torn_record_is_left_for_later_wherever_it_was_torn():
    first, second = to_record(ENTRY, b'["one"]'), to_record(ENTRY, b'["two"]')
    for cut in range(len(second)):
        found = list(read_records(first + second[:cut]))
        assert found == [(ENTRY, b'["one"]', len(first))]


def test_a_changed_byte_is_noticed_wherever_it_is():
    record = to_record(ENTRY, b'["one"]')
    for place in range(len(record) - 1):
        damaged = bytearray(record)
        damaged[place] ^= 1
        found = list(read_records(bytes(damaged) + record))
        assert [line for mark, line, _ in found][-1] == b'["one"]'
        if place:  # the first one is the mark: E becomes D
            assert b'["one"]' not in [line for _, line, _ in found[:-1]]
        assert None in [line for _, line, _ in found]


# -- one process ----------------------------------------------------------------------


def test_lines_come_out_in_order_and_the_file_is_emptied(spool, directory):
    assert all(spool.put(a_line(f"{number}")) for number in range(20))
    assert spool.waiting() == 20
    assert drained(spool) == [f"{number}" for number in range(20)]
    assert spool.waiting() == 0
    (file,) = files(directory)
    assert file.stat().st_size == 0
    assert file.stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o777 == 0o700


def test_what_was_taken_stays_in_the_file_until_it_is_done(spool, directory, store):
    spool.put(a_line("one"))
    assert names(spool.take(10)) == ["one"]
    spool.close()
    replay(str(directory), store)
    assert store.names == ["one"]


def test_a_spool_that_was_emptied_leaves_no_file(spool, directory):
    spool.put(a_line("one"))
    drained(spool)
    spool.close()
    assert files(directory) == []


def test_segments_go_when_the_database_has_them(spool, directory, small_segments):
    for number in range(30):
        spool.put(a_line(f"{number}", "x" * 500))
    assert len(files(directory)) > 5
    lines = spool.take(3)
    spool.done(lines)
    assert names(lines) == ["0", "1", "2"]
    left = len(files(directory))
    assert drained(spool) == [f"{number}" for number in range(3, 30)]
    assert len(files(directory)) == 1 < left


def test_records_longer_than_what_is_read_at_once(spool, monkeypatch):
    monkeypatch.setattr(spools, "READ_BYTES", 700)
    bodies = {f"{number}": "x" * (100 * number) for number in range(20)}
    for name, body in bodies.items():
        spool.put(a_line(name, body))
    assert drained(spool) == list(bodies)


def test_a_batch_has_about_so_many_bytes(spool, monkeypatch):
    monkeypatch.setattr(spools, "BATCH_BYTES", 1200)
    for number in range(6):
        spool.put(a_line(f"{number}", "x" * 500))
    assert len(spool.take(100)) == 2


def test_no_line_is_lost_or_doubled_between_32_threads_and_the_writer(
    spool, directory, small_segments
):
    found: list[str] = []
    ended = threading.Event()

    def write() -> None:
        while not ended.is_set() or spool.waiting():
            found.extend(drained(spool))

    def put(thread: int) -> None:
        assert all(spool.put(a_line(f"{thread}-{number}")) for number in range(50))

    writer = threading.Thread(target=write)
    writer.start()
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(put, range(32)))
    ended.set()
    writer.join()
    wanted = (f"{thread}-{number}" for thread in range(32) for number in range(50))
    assert Counter(found) == Counter(wanted)
    assert [file.stat().st_size for file in files(directory)] == [0]


def test_a_damaged_record_is_counted_and_keeps_no_other(spool, directory, losses):
    for name in ("one", "two", "three"):
        spool.put(a_line(name))
    (file,) = files(directory)
    with file.open("r+b") as writer:
        writer.seek(len(to_record(ENTRY, a_line("one"))) + 20)
        writer.write(b"#")
    assert drained(spool) == ["one", "three"]
    assert losses.total() == {"unreadable in the spool": 1}
    assert spool.waiting() == 0


def test_a_file_that_somebody_cut_holds_nobody_up(spool, directory, losses):
    spool.put(a_line("one"))
    (file,) = files(directory)
    os.truncate(file, 10)
    assert drained(spool) == []
    assert losses.total() == {"unreadable in the spool": 1}
    spool.put(a_line("two"))
    assert drained(spool) == ["two"]


# -- its bound, and the disk ----------------------------------------------------------


def test_it_takes_no_more_than_its_bytes_and_again_when_there_is_room(
    directory, spool, perfguard, caplog
):
    perfguard(AUDIT_SPOOL_BYTES=1000)
    taken = [spool.put(a_line(f"{number}")) for number in range(20)]
    count = taken.count(True)
    assert taken == [True] * count + [False] * (20 - count)
    assert sum(file.stat().st_size for file in files(directory)) <= 1000
    assert caplog.text.count("takes no more") == 1
    assert drained(spool) == [f"{number}" for number in range(count)]
    assert spool.put(a_line("more"))


def test_who_is_told_that_it_is_full_may_write_an_entry(spool, perfguard, monkeypatch):
    perfguard(AUDIT_SPOOL_BYTES=1)
    told: list[bool] = []
    monkeypatch.setattr(
        spools.logger, "error", lambda *args: told.append(spool.put(a_line("told")))
    )
    assert not spool.put(a_line("one"))
    assert told == [False]


def test_without_a_directory_it_takes_nothing(tmp_path, perfguard, losses):
    perfguard()
    (tmp_path / "file").touch()
    spool = Spool(str(tmp_path / "file" / "spool"), losses)
    assert not spool.put(a_line("one"))
    assert not spool.put_opened(a_line("one"))
    assert (spool.take(10), spool.waiting()) == ([], 0)


FULL = """
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
taken = [spool.put(a_line(f"{number}")) for number in range(10)]
assert taken.count(True) and not taken[-1]
(path,) = os.scandir(conf.AUDIT_SPOOL_DIR)
assert path.stat().st_size == spool._segments[0].size
lines = spool.take(10)
assert len(lines) == spool.waiting() == taken.count(True)
spool.done(lines)
assert spool.put(a_line("after"))
wait()
"""


def test_a_full_disk_takes_no_part_of_a_record(directory, store):
    with running(FULL, AUDIT_SPOOL_DIR=str(directory)) as process:
        kill(process)
    done = replay(str(directory), store)
    assert (store.names, done.unreadable) == (["after"], 0)


def test_what_cannot_be_cut_is_followed_by_nothing(spool, directory, monkeypatch):
    spool.put(a_line("one"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, record: 1)
        patch.setattr(os, "ftruncate", failing)
        assert not spool.put(a_line("two"))
    spool.put(a_line("three"))
    assert len(files(directory)) == 2
    assert drained(spool) == ["one", "three"]


def failing(*args: Any) -> Any:
    raise OSError("the disk is gone")


def test_always_is_on_the_disk_or_not_taken(spool, directory, perfguard, monkeypatch):
    perfguard(AUDIT_SPOOL_FSYNC="always")
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    assert spool.put(a_line("one"))
    assert len(synced) == 1
    monkeypatch.setattr(os, "fdatasync", failing)
    assert not spool.put(a_line("two"))
    assert drained(spool) == ["one"]


def test_a_disk_that_fails_for_once_loses_no_line(spool, monkeypatch):
    for number in range(5):
        spool.put(a_line(f"{number}"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", failing)
        with pytest.raises(OSError, match="gone"):
            spool.take(10)
    assert drained(spool) == [f"{number}" for number in range(5)]


def test_no_request_waits_for_the_disk_with_the_writer(spool, monkeypatch):
    """The lock is free while the writer asks for the data to be on the disk."""
    spool.put(a_line("one"))
    taken: list[bool] = []
    monkeypatch.setattr(
        os, "fdatasync", lambda descriptor: taken.append(spool.put(a_line("two")))
    )
    assert names(spool.take(10)) == ["one"]
    assert taken == [True]


def test_a_segment_that_cannot_be_locked_leaves_nothing_open(
    directory, spool, monkeypatch
):
    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr("fcntl.lockf", failing)
    assert [spool.put(a_line("one")) for _ in range(3)] == [False] * 3
    assert files(directory) == []
    assert len(os.listdir("/proc/self/fd")) == before


# -- streams --------------------------------------------------------------------------


def test_what_ends_is_one_entry_and_what_does_not_is_kept(spool, directory, store):
    ends, lives = a_line("ends"), a_line("lives")
    spool.put_opened(ends)
    spool.put_opened(lives)
    spool.put(ends)
    spool.put(a_line("other"))
    assert drained(spool) == ["ends", "other"]
    spool.close()
    done = replay(str(directory), store)
    assert store.names.count("lives") == 1
    assert done.unfinished == 1


def test_open_streams_are_carried_over_to_the_next_segments(
    spool, directory, small_segments, store
):
    spool.put_opened(a_line("lives"))
    for number in range(30):
        spool.put(a_line(f"{number}", "x" * 500))
    drained(spool)
    assert len(files(directory)) == 1
    spool.close()
    replay(str(directory), store)
    assert Counter(store.names)["lives"] == 1
    assert files(directory) == []


def test_a_stream_that_ends_where_there_is_no_room_is_not_open_for_ever(
    spool, directory, perfguard
):
    line = a_line("ends")
    spool.put_opened(line)
    perfguard(AUDIT_SPOOL_BYTES=1)
    assert not spool.put(line)  # it goes to the queue
    perfguard(AUDIT_SPOOL_BYTES=1_000_000)
    spool.put(a_line("other"))
    assert drained(spool) == ["other"]
    assert files(directory)[0].stat().st_size == 0


# -- other processes ------------------------------------------------------------------

WRITES = """
for number in range(5):
    assert spool.put(a_line(f"{number}"))
spool.put_opened(a_line("lives"))
wait()
"""


def test_nobody_replays_what_a_living_process_writes(directory, store):
    with running(WRITES, AUDIT_SPOOL_DIR=str(directory)) as process:
        done = replay(str(directory), store)
        assert (done.files, done.kept, store.names) == (0, 1, [])
        kill(process)
    done = replay(str(directory), store)
    assert store.names == ["0", "1", "2", "3", "4", "lives"]
    assert (done.files, done.entries, done.unfinished) == (1, 5, 1)
    assert files(directory) == []
    assert replay(str(directory), store).files == 0


SEGMENTS = """
import perfguard.audit.spool
perfguard.audit.spool.SEGMENT_BYTES = 1000
for number in range(20):
    assert spool.put(a_line(f"{number}"))
assert len(os.listdir(conf.AUDIT_SPOOL_DIR)) > 3
done = spool.take(10)
spool.done(done)
wait()
"""


def test_the_segments_of_a_process_are_replayed_in_their_order(directory, store):
    with running(SEGMENTS, AUDIT_SPOOL_DIR=str(directory)) as process:
        kept = len(files(directory))
        assert replay(str(directory), store).kept == kept
        kill(process)
    done = replay(str(directory), store)
    assert done.files == kept
    assert store.names == [f"{number}" for number in range(20 - len(store.names), 20)]
    assert store.names[-10:] == [f"{number}" for number in range(10, 20)]


def test_the_own_spool_is_left_alone_and_stays_locked(directory, store, spool):
    spool.put(a_line("mine"))
    with running(WRITES, AUDIT_SPOOL_DIR=str(directory)) as process:
        kill(process)
    assert replay(str(directory), store, but=spool.owner).files == 1
    assert "mine" not in store.names
    with running(REPLAYS, AUDIT_SPOOL_DIR=str(directory)) as process:
        assert go_on(process).split() == ["0", "1"]  # replayed, and kept


REPLAYS = """
wait()
found = []
def store(lines):
    found.extend(lines)
    time.sleep(0.01)
done = replay(conf.AUDIT_SPOOL_DIR, store)
print(len(found), done.kept)
"""

FORKS = """
spool.put(a_line("parent"))
if not os.fork():
    wait()
    os._exit(0)
os.kill(os.getpid(), 9)
"""


def test_a_child_of_fork_does_not_keep_the_spool_of_its_dead_parent(directory, store):
    with running(FORKS, AUDIT_SPOOL_DIR=str(directory)) as process:
        assert process.wait() == -9
        assert replay(str(directory), store).files == 1
        process.communicate("\n")  # the child ends
    assert store.names == ["parent"]


def test_of_processes_that_replay_at_once_one_stores_each_spool(directory):
    options = {"AUDIT_SPOOL_DIR": str(directory)}
    with ExitStack() as stack:
        for _ in range(6):
            kill(stack.enter_context(running(WRITES, **options)))
        processes = [stack.enter_context(running(REPLAYS, **options)) for _ in range(4)]
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        counts = [int(go_on(process).split()[0]) for process in processes]
    assert sum(counts) == 6 * 6
    assert files(directory) == []


# -- replay ---------------------------------------------------------------------------


def left(directory: Path, *markers: str, end: bytes = b"") -> Path:
    """The spool of a process that is gone."""
    directory.mkdir(exist_ok=True)
    path = directory / f"7-{os.urandom(6).hex()}-000001.spool"
    records = [to_record(ENTRY, a_line(marker)) for marker in markers]
    path.write_bytes(b"".join(records) + end)
    return path


@pytest.mark.parametrize("end", [b"E0000", b"E", b"\0" * 5000, b"E" * 2_000_000])
def test_what_was_half_written_is_passed_over(directory, store, end):
    left(directory, "one", "two", end=end)
    assert replay(str(directory), store).entries == 2
    assert store.names == ["one", "two"]
    assert files(directory) == []


def test_records_that_are_read_in_parts_are_whole(directory, store, monkeypatch):
    monkeypatch.setattr("perfguard.audit.replay.READ_BYTES", 100)
    left(directory, *(f"{number}" for number in range(20)))
    assert replay(str(directory), store).unreadable == 0
    assert store.names == [f"{number}" for number in range(20)]


def test_damaged_records_are_counted_and_on_record(directory, store):
    left(
        directory, "one", end=b"garbage\nE00000000[]\n" + to_record(ENTRY, a_line("2"))
    )
    done = replay(str(directory), store)
    assert (store.names, done.unreadable) == (["one", "2"], 2)
    assert store.losses == [
        '{"sink":"database","reason":"unreadable in the spool","count":2}'
    ]


def test_a_database_that_is_away_leaves_the_files_for_the_next_time(directory, store):
    path = left(directory, *(f"{number}" for number in range(1200)))
    batches = []

    def leaving(lines: list[bytes]) -> None:
        if batches:
            raise OperationalError
        batches.append(lines)

    with pytest.raises(OperationalError):
        replay(str(directory), leaving)
    assert files(directory) == [path]
    replay(str(directory), store)
    assert len(store.names) == 1200


def test_one_entry_that_is_refused_keeps_neither_its_neighbours_nor_other_spools(
    directory, store
):
    left(directory, *(f"{number}" for number in range(1200)))
    left(directory, "other")
    store.refuses = {"7", "700"}
    done = replay(str(directory), store)
    assert (done.entries, done.refused, done.files) == (1199, 2, 2)
    assert len(store.names) == len(set(store.names)) == 1199
    assert store.losses == [
        '{"sink":"database","reason":"refused by the database","count":2}'
    ]
    assert files(directory) == []


def test_a_file_that_may_not_be_opened_keeps_no_other(
    directory, store, monkeypatch, caplog
):
    bad, _ = left(directory, "secret"), left(directory, "one")
    opened = os.open

    def refusing(path: Any, *args: Any) -> int:
        if path == bad:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *args)

    monkeypatch.setattr(os, "open", refusing)
    done = replay(str(directory), store)
    assert (store.names, done.kept) == (["one"], 1)
    assert "Permission denied" in caplog.text
    assert files(directory) == [bad]


def test_what_another_has_just_replayed_is_passed_over(directory, store, monkeypatch):
    path = left(directory, "one")
    opened = os.open

    def after_it_was_removed(name: Any, *args: Any) -> int:
        descriptor = opened(name, *args)
        path.unlink()
        return descriptor

    monkeypatch.setattr(os, "open", after_it_was_removed)
    assert replay(str(directory), store).files == 0
    assert store.names == []


def test_no_directory_is_no_fault(tmp_path, store):
    assert replay(str(tmp_path / "none"), store).files == 0


def test_a_segment_is_locked_before_it_has_its_name(directory, monkeypatch):
    seen = []
    monkeypatch.setattr("fcntl.lockf", lambda *args: seen.append(files(directory)))
    segment = Segment.create(directory, "7-x-000001")
    assert [each.suffix for each in seen[0]] == [".new"]
    segment.remove()
