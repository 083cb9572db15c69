from __future__ import annotations

import errno
import fcntl
import gzip
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from perfguard.audit import log
from perfguard.audit.entries import Entry, new_id, now
from perfguard.audit.file_sink import FileSink
from perfguard.audit.lines import to_line
from perfguard.audit.other_sinks import StdoutSink, TelemetrySink
from perfguard.signals import audit_recorded
from tests.servers import ROOT, clean_environment, wait_until

PRELUDE = """
import os, resource, signal, sys, django
from django.conf import settings
options = eval(sys.argv[1])
settings.configure(
    SECRET_KEY="of-the-tests",
    PERFGUARD=options,
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "perfguard"],
)
django.setup()
from pathlib import Path
from perfguard.audit.file_sink import FileSink
from perfguard.audit.other_sinks import StdoutSink
from tests.audit.test_audit_sinks import a_line
path = Path(options.get("AUDIT_FILE_PATH", ""))
def each_of_four(job):
    children = []
    for child in range(4):
        pid = os.fork()
        if not pid:
            job(child)
            os._exit(0)
        children.append(pid)
    sys.exit(any([os.waitpid(pid, 0)[1] for pid in children]))
"""


def a_line(child: int = 0, number: int = 0, body: str = "") -> bytes:
    entry = Entry(new_id(), now(), "request", marker=f"{child}-{number}")
    return to_line(entry._replace(request_body=body))


def start(script: str, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + script, repr(options)],
        cwd=ROOT,
        env=clean_environment(),
        stdout=subprocess.PIPE,
    )


def run(script: str, **options: Any) -> int:
    process = start(script, **options)
    process.communicate(timeout=120)
    return process.returncode


def read(path: Path) -> list[str]:
    """The markers of the lines, each of which must be JSON; none may be half there."""
    text = path.read_bytes()
    text = gzip.decompress(text) if path.suffix == ".gz" else text
    assert not text or text.endswith(b"\n")
    return [json.loads(line)["marker"] for line in text.split(b"\n")[:-1]]


def rotated(path: Path) -> list[Path]:
    found = path.parent.glob(f"{path.name}.2*")
    return sorted(found, key=lambda each: (each.suffixes[1], int(each.suffixes[2][1:])))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def path(tmp_path: Path, perfguard: Any) -> Path:
    path = tmp_path / "of its own" / "audit.log"
    perfguard(AUDIT_FILE_PATH=str(path), AUDIT_FILE_BYTES=1000)
    return path


FOUR_WRITE = """
def job(child):
    sink = FileSink()
    for start in range(0, 400, 8):
        numbers = range(start, start + 8)
        sink.write([a_line(child, number, "ä" * number) for number in numbers])
        sink.upkeep(is_idle=False)
each_of_four(job)
"""


def test_four_processes_write_and_rotate_and_lose_and_mix_no_line(path, perfguard):
    perfguard(AUDIT_FILE_PATH=str(path), AUDIT_FILE_KEEP=0)
    options = {"AUDIT_FILE_PATH": str(path), "AUDIT_FILE_KEEP": 0}
    assert run(FOUR_WRITE, AUDIT_FILE_BYTES=40_000, **options) == 0

    FileSink().upkeep(is_idle=True)
    files = rotated(path)
    assert len(files) > 20
    assert {each.suffix for each in files} == {".gz"}
    found = [marker for each in [*files, path] for marker in read(each)]
    written = [f"{child}-{number}" for child in range(4) for number in range(400)]
    assert sorted(found) == sorted(written)


def test_four_processes_keep_the_newest_lines_without_a_gap(path):
    options = {"AUDIT_FILE_PATH": str(path), "AUDIT_FILE_KEEP": 3}
    assert run(FOUR_WRITE, AUDIT_FILE_BYTES=40_000, **options) == 0

    files = rotated(path)
    assert 1 <= len(files) <= 3
    found = [marker for each in [*files, path] for marker in read(each)]
    for child in range(4):
        mine = [each for each in found if each.startswith(f"{child}-")]
        newest = range(400 - len(mine), 400)
        assert mine == [f"{child}-{number}" for number in newest]


def test_file_is_the_owners_alone_whatever_the_umask(path):
    before = os.umask(0)
    try:
        sink = FileSink()
        sink.write([a_line(body="x" * 900)])
        sink.write([a_line(body="x" * 900)])
        sink.upkeep(is_idle=False)
    finally:
        os.umask(before)

    files = [path, *rotated(path), path.with_name("audit.log.lock")]
    assert [mode(each) for each in files] == [0o600] * 3
    assert mode(path.parent) == 0o700


def test_mode_that_somebody_gave_the_file_stays(path):
    sink = FileSink()
    sink.write([a_line()])
    path.chmod(0o640)
    sink.write([a_line()])
    assert mode(path) == 0o640


def test_rotated_files_are_named_by_the_time_and_compressed(path):
    sink = FileSink(lambda: datetime(2026, 11, 23, 10, 20, 30, tzinfo=UTC))
    for number in range(4):
        sink.write([a_line(number=number, body="x" * 900)])
    sink.upkeep(is_idle=False)

    names = [each.name for each in rotated(path)]
    assert names == [f"audit.log.20261123T102030Z.{n}.gz" for n in (1, 2, 3)]
    assert [read(each) for each in rotated(path)] == [["0-0"], ["0-1"], ["0-2"]]


def test_clock_that_is_put_back_does_not_make_the_newest_file_the_oldest(
    path, perfguard
):
    perfguard(AUDIT_FILE_PATH=str(path), AUDIT_FILE_BYTES=1000, AUDIT_FILE_KEEP=2)
    hours = iter([12, 11, 10])
    sink = FileSink(lambda: datetime(2026, 11, 23, next(hours), tzinfo=UTC))
    for number in range(4):
        sink.write([a_line(number=number, body="x" * 900)])
    sink.upkeep(is_idle=False)
    assert [read(each) for each in rotated(path)] == [["0-1"], ["0-2"]]


def test_other_files_of_the_directory_are_left_alone(path, perfguard):
    perfguard(AUDIT_FILE_PATH=str(path), AUDIT_FILE_BYTES=1000, AUDIT_FILE_KEEP=1)
    path.parent.mkdir()
    names = ["audit.log.1", "audit.log.20260101T000000Z.1.bak", "xaudit.log.2026.gz"]
    for name in names:
        path.with_name(name).touch()
    sink = FileSink()
    for _ in range(4):
        sink.write([a_line(body="x" * 900)])
    sink.upkeep(is_idle=False)
    assert all(path.with_name(name).exists() for name in names)


@pytest.mark.parametrize("how", ["moved", "removed", "directory removed"])
def test_file_that_is_gone_is_begun_anew(path, how):
    sink = FileSink()
    sink.write([a_line(number=1)])
    path.rename(path.parent.parent / "moved")
    if how != "moved":
        (path.parent.parent / "moved").unlink()
    if how == "directory removed":
        path.with_name("audit.log.lock").unlink()
        path.parent.rmdir()
    sink.write([a_line(number=2)])
    assert read(path) == ["0-2"]


def test_symbolic_link_is_rotated_where_it_points_to(path, tmp_path, perfguard):
    link = tmp_path / "link.log"
    link.symlink_to(path)
    perfguard(AUDIT_FILE_PATH=str(link), AUDIT_FILE_BYTES=1000)
    sink = FileSink()
    sink.write([a_line(number=1, body="x" * 900)])
    sink.write([a_line(number=2)])
    assert link.is_symlink()
    assert [read(each) for each in (*rotated(path), link)] == [["0-1"], ["0-2"]]


def test_half_a_line_of_a_killed_process_is_cut_off(path):
    sink = FileSink()
    sink.write([a_line(number=1)])
    with path.open("ab") as file:
        file.write(b'{"entry_id":"' + b"0" * 200_000)
    sink._rotate_if_full = lambda wanted: None
    sink.write([a_line(number=2)])
    assert read(path) == ["0-1", "0-2"]


def test_full_disk_leaves_no_half_line_and_the_batch_is_not_doubled_later(path):
    """EFBIG comes as ENOSPC does: after a short write."""
    script = """
sink = FileSink()
sink.write([a_line(0, number) for number in range(5)])
size = path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 1000, resource.RLIM_INFINITY))
batch = [a_line(0, number) for number in range(5, 50)]
for _ in range(3):
    try:
        sink.write(batch)
    except OSError:
        continue
    sys.exit("it was written")
assert path.stat().st_size == size
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
sink.write(batch)
"""
    assert run(script, AUDIT_FILE_PATH=str(path)) == 0
    assert read(path) == [f"0-{number}" for number in range(50)]


def test_full_disk_leaves_the_rotated_file_as_it_is(path):
    script = """
sink = FileSink()
for number in range(2):
    sink.write([a_line(0, number, os.urandom(5000).hex())])
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
    sink.upkeep(is_idle=False)
    sys.exit("it was compressed")
except OSError:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
"""
    assert run(script, AUDIT_FILE_PATH=str(path), AUDIT_FILE_BYTES=9000) == 0
    assert [each.suffix for each in rotated(path)] == [".1"]
    FileSink().upkeep(is_idle=True)
    assert [each.suffix for each in rotated(path)] == [".gz"]
    assert read(rotated(path)[0]) == ["0-0"]


KILLED = {
    "before it compresses": "sink.upkeep = kill",
    "while it compresses": "os.fsync = kill",
    "after it compressed": "Path.unlink = kill",
}


@pytest.mark.parametrize("moment", KILLED)
def test_killed_process_loses_no_rotated_line_and_the_next_one_tidies(path, moment):
    script = f"""
def kill(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)
sink = FileSink()
for number in range(2):
    sink.write([a_line(0, number, "x" * 900)])
{KILLED[moment]}
sink.upkeep(is_idle=False)
"""
    killed = run(script, AUDIT_FILE_PATH=str(path), AUDIT_FILE_BYTES=1000)
    assert killed == -signal.SIGKILL
    assert ["0-0"] in [read(each) for each in rotated(path) if each.suffix != ".new"]

    FileSink().upkeep(is_idle=True)
    assert [each.suffix for each in rotated(path)] == [".gz"]
    assert read(rotated(path)[0]) == ["0-0"]


def test_file_that_another_process_compresses_is_left_to_it(path):
    sink = FileSink()
    for number in range(2):
        sink.write([a_line(0, number, "x" * 900)])
    script = """
import fcntl
file = open(next(path.parent.glob("audit.log.2*")), "rb+")
fcntl.lockf(file, fcntl.LOCK_EX)
os.write(1, b"locked")
signal.pause()
"""
    process = start(script, AUDIT_FILE_PATH=str(path))
    try:
        assert process.stdout.read(6) == b"locked"
        sink.upkeep(is_idle=False)
        assert [each.suffix for each in rotated(path)] == [".1"]
    finally:
        process.kill()
        process.communicate()


NO_PLACES = {
    "directory": "Is a directory",
    "file/audit.log": "Not a directory",
    "/dev/full": "No space left",
}


@pytest.mark.parametrize("place", NO_PLACES)
def test_place_that_takes_no_lines_is_an_error_and_stays_as_it_is(
    tmp_path, perfguard, place
):
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").touch()
    chosen = tmp_path / place
    perfguard(AUDIT_FILE_PATH=str(chosen), AUDIT_FILE_BYTES=1)
    sink = FileSink()
    for _ in range(2):
        with pytest.raises(OSError, match=NO_PLACES[place]):
            sink.write([a_line()])
    Path("/dev/full.lock").unlink(missing_ok=True)
    assert (tmp_path / "directory").is_dir()


def test_file_that_cannot_be_rotated_grows_and_this_is_said_once(path, caplog):
    sink = FileSink()
    sink._rotate = lambda: os.rename(path, path / "below itself")
    for number in range(3):
        sink.write([a_line(number=number, body="x" * 900)])
    assert read(path) == ["0-0", "0-1", "0-2"]
    assert caplog.text.count("cannot be rotated") == 1


def test_lines_on_the_standard_output_are_ascii_and_steer_no_terminal(capfd):
    StdoutSink().write([a_line(body="\x1b[31m \x9b31m \u202e ä\nb")])
    printed = capfd.readouterr().out
    assert printed.isascii()
    assert printed.strip().isprintable()
    assert json.loads(printed)["request_body"] == "\x1b[31m \x9b31m \u202e ä\nb"


def test_long_lines_of_four_processes_stay_apart_on_one_full_pipe():
    script = """
def job(child):
    for start in range(0, 40, 4):
        numbers = range(start, start + 4)
        StdoutSink().write([a_line(child, each, "x" * 90_000) for each in numbers])
each_of_four(job)
"""
    process = start(script)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    found = [json.loads(line)["marker"] for line in printed.splitlines()]
    written = [f"{child}-{number}" for child in range(4) for number in range(40)]
    assert sorted(found) == sorted(written)


def test_standard_output_that_cannot_be_locked_is_written_to_all_the_same(
    monkeypatch, capfd
):
    def refuse(*args: Any) -> None:
        raise OSError(errno.ENOTSUP, "not here")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    StdoutSink().write([a_line(number=1), a_line(number=2)])
    printed = capfd.readouterr().out.splitlines()
    assert [json.loads(line)["marker"] for line in printed] == ["0-1", "0-2"]


class Output:
    def __init__(self, descriptor: int) -> None:
        self.fileno = lambda: descriptor


def test_batch_on_a_pipe_that_was_full_goes_on_where_it_was_interrupted(monkeypatch):
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    os.set_blocking(reader, False)
    monkeypatch.setattr(sys, "__stdout__", Output(writer))
    sink, batch = (
        StdoutSink(),
        [a_line(number=each, body="x" * 30_000) for each in range(9)],
    )
    printed = b""
    for _ in range(20):
        try:
            sink.write(batch)
            break
        except BlockingIOError:
            printed += os.read(reader, 1_000_000)
    printed += os.read(reader, 1_000_000)
    os.close(reader)
    os.close(writer)
    markers = [json.loads(line)["marker"] for line in printed.splitlines()]
    assert markers == [f"0-{number}" for number in range(9)]


def test_receiver_that_raises_harms_neither_the_sink_nor_the_other_receivers(listen):
    def broken(**kwargs: Any) -> None:
        raise RuntimeError

    listen(broken)
    heard = listen()
    TelemetrySink().write([a_line(number=1), a_line(number=2)])
    assert [entry.marker for entry in heard] == ["0-1", "0-2"]
    assert isinstance(heard[0], Entry)


@pytest.fixture
def listen() -> Iterator[Callable[..., list[Entry]]]:
    """To what is recorded; by a receiver of one's own, or a list."""
    receivers: list[Any] = []

    def connect(receiver: Any = None) -> list[Entry]:
        heard: list[Entry] = []

        def default(entries: list[Entry], **kwargs: Any) -> None:
            heard.extend(entries)

        receivers.append(receiver or default)
        audit_recorded.connect(receivers[-1])
        return heard

    yield connect
    for receiver in receivers:
        audit_recorded.disconnect(receiver)


FAILING = {
    "database": "ConnectionDoesNotExist",
    "file": "IsADirectoryError",
    "stdout": "BrokenPipeError",
}


@pytest.fixture
def break_sink(path, perfguard, monkeypatch) -> Iterator[Callable[[str], None]]:
    reader, writer = os.pipe()  # the readers are gone
    os.close(reader)

    def of(name: str) -> None:
        directory = str(path.parent.parent)
        perfguard(
            AUDIT_SINKS=(name, *{"file", "stdout", "telemetry"} - {name}),
            AUDIT_FILE_PATH=directory if name == "file" else str(path),
            AUDIT_DATABASE="nowhere",
            AUDIT_DRAIN_SECONDS=0.1,
        )
        if name == "stdout":
            monkeypatch.setattr(sys, "__stdout__", Output(writer))

    yield of
    log.close()
    os.close(writer)


@pytest.mark.parametrize("failing", FAILING)
def test_sink_that_fails_leaves_the_others_working(
    break_sink, failing, path, listen, capfd
):
    break_sink(failing)
    heard = listen()
    for number in range(5):
        log.record(Entry(new_id(), now(), "request", marker=f"0-{number}"))

    wait_until(lambda: log.state()[failing]["failing"], "the failure to be noticed")
    wait_until(lambda: _all_but(failing) == 0, "the other sinks to have written")
    written = [f"0-{number}" for number in range(5)]
    assert log.state()[failing]["failing"] == FAILING[failing]
    assert log.state()[failing]["waiting"] == 5
    assert [entry.marker for entry in heard] == written
    if failing != "file":
        assert read(path) == written
    if failing != "stdout":
        printed = capfd.readouterr().out.splitlines()
        assert [json.loads(line)["marker"] for line in printed] == written


def _all_but(failing: str) -> int:
    state = log.state()
    return sum(each["waiting"] for name, each in state.items() if name != failing)


def test_sink_takes_up_where_it_failed_when_its_place_is_back(path, perfguard):
    perfguard(AUDIT_SINKS=("file",), AUDIT_FILE_PATH=str(path))
    path.mkdir(parents=True)
    for number in range(3):
        log.record(Entry(new_id(), now(), "request", marker=f"0-{number}"))
    wait_until(lambda: log.state()["file"]["failing"], "the failure to be noticed")
    path.rmdir()
    assert log.flush(30)
    log.close()
    assert read(path) == ["0-0", "0-1", "0-2"]
