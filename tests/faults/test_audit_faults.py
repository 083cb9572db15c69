"""The audit log loses nothing: real servers, which are killed, and real databases,
which leave. Each request has an id of its own, so that what was answered can be counted
in the table. AUDIT_KILLS and AUDIT_AWAY_SECONDS make the faults more and longer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.servers import (
    ROOT,
    Gunicorn,
    PostgresServer,
    clean_environment,
    wait_until,
)

KILLS = int(os.environ.get("AUDIT_KILLS", "2"))
AWAY = float(os.environ.get("AUDIT_AWAY_SECONDS", "1"))
LIMIT = 60 + AWAY  # seconds, of a wait on a busy machine
TABLE = "perfguard_auditentry"

pytestmark = pytest.mark.timeout(300 + 10 * AWAY + 30 * KILLS)


class Database:
    """One of a server's, which has the tables of the audit log."""

    def __init__(self, server: PostgresServer, name: str) -> None:
        self.server = server
        self.url = server.url(name)

    def rows(self, statement: str, *args: Any) -> list[Any]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(statement, args).fetchall()

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)

    def ids(self) -> Counter[str]:
        """How often each request is in the table."""
        return Counter(
            dict(
                self.rows(
                    f"SELECT request_id, count(*) FROM {TABLE} "
                    "WHERE kind = 'request' GROUP BY 1"
                )
            )
        )

    def dropped(self) -> int:
        found = self.rows(f"SELECT details FROM {TABLE} WHERE kind = 'entries_dropped'")
        return sum(json.loads(details)["count"] for (details,) in found)


def settings(database: Database, directory: Path, **options: Any) -> dict[str, str]:
    return {
        "DJANGO_SETTINGS_MODULE": "tests.faults.audit_settings",
        "AUDIT_DATABASE_URL": database.url,
        "AUDIT_SPOOL_DIR": str(directory / "spool"),
        "SECRET_KEY": "of-the-tests-" * 5,
        "PERFGUARD": repr(options),
    }


def migrate(database: Database, directory: Path) -> None:
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--database", "audit", "-v", "0"],
        cwd=ROOT,
        env=clean_environment() | settings(database, directory),
        check=True,
    )


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A server with a database that others are copies of."""
    with PostgresServer() as server:
        server.create("migrated")
        directory = tmp_path_factory.mktemp("template")
        migrate(Database(server, "migrated"), directory)
        yield server


@pytest.fixture
def database(template: PostgresServer, tmp_path: Path) -> Database:
    name = f"log_{tmp_path.name}"
    with psycopg.connect(template.url("postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE migrated')
    return Database(template, name)


class Site:
    """The views under a server of so many workers, and clients that ask it."""

    def __init__(self, gunicorn: Gunicorn) -> None:
        self.gunicorn = gunicorn
        self.answered: dict[str, float] = {}  # by id, when
        self.failed: list[Any] = []
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    @property
    def master(self) -> int:
        assert self.gunicorn.process
        return self.gunicorn.process.pid

    def workers(self) -> list[int]:
        return children(self.master)

    def ask(self, path: str, name: str = "", method: str = "POST") -> Any:
        with closing(self.connection()) as connection:
            headers = {"Connection": "close", "X-Request-ID": name or "none"}
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            return response.status, response.read()

    def connection(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.gunicorn.port, timeout=60)

    def states(self, count: int) -> dict[int, Any]:
        """What each of so many workers says."""
        found: dict[int, Any] = {}

        def look() -> bool:
            answer = json.loads(self.ask("/state", method="GET")[1])
            found[answer["pid"]] = answer
            return len(found) >= count

        wait_until(look, "all workers to answer", LIMIT)
        return found

    @contextmanager
    def load(self, clients: int = 4) -> Iterator[None]:
        self._stop.clear()
        self._threads = [
            threading.Thread(target=self._client, args=(number,))
            for number in range(clients)
        ]
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()

    def more(self, count: int = 200) -> None:
        """Wait for so many answers."""
        wanted = len(self.answered) + count
        wait_until(lambda: len(self.answered) >= wanted, f"{count} answers", LIMIT)

    def _client(self, number: int) -> None:
        count = 0
        while not self._stop.is_set():
            with suppress(OSError, HTTPException), closing(self.connection()) as server:
                for _ in range(20):  # then another worker may be asked
                    if self._stop.is_set():
                        break
                    count += 1
                    self._request(server, f"{number}-{count}-{os.urandom(4).hex()}")
            time.sleep(0.02)  # until it is served again

    def _request(self, server: HTTPConnection, name: str) -> None:
        server.request("POST", "/write", headers={"X-Request-ID": name})
        response = server.getresponse()
        response.read()
        if response.status == 201:
            self.answered[name] = time.monotonic()
        else:
            self.failed.append(response.status)
        time.sleep(0.003)  # leave something to the servers


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(each) for each in text.split()]


@contextmanager
def serving(
    database: Database,
    directory: Path,
    kind: str = "gthread",
    arguments: str = "--workers 2",
    durability: str = "spool",
    **options: Any,
) -> Iterator[Site]:
    gunicorn = Gunicorn(
        directory / "db.sqlite3",
        kind,
        GUNICORN_CMD_ARGS=arguments,
        THREAD_POOL_SIZE="4",
        **settings(database, directory, AUDIT_DURABILITY=durability, **options),
    )
    try:
        yield Site(gunicorn.serve())
    finally:
        gunicorn.close()


def lost_and_doubled(database: Database, site: Site) -> tuple[set[str], set[str]]:
    rows = database.ids()
    return (
        site.answered.keys() - rows.keys(),
        {name for name, count in rows.items() if count > 1 and name != "none"},
    )


def all_is_stored(database: Database, site: Site) -> None:
    with suppress(AssertionError):
        wait_until(
            lambda: not lost_and_doubled(database, site)[0], "the entries", LIMIT
        )
    assert lost_and_doubled(database, site) == (set(), set())


def tell(what: str, site: Site, **figures: Any) -> None:
    """With ``-s``: the figures of a run."""
    print(f"\n{what}: answered {len(site.answered)},", figures)


# -- processes ------------------------------------------------------------------------


@pytest.mark.parametrize("preload", ["", "--preload"], ids=["each-loads", "preload"])
def test_workers_write_and_the_master_has_no_thread(database, tmp_path, preload):
    with serving(database, tmp_path, arguments=f"--workers 2 {preload}") as site:
        with site.load():
            wait_until(
                lambda: all(each["state"] for each in site.states(2).values()),
                "both workers to write",
                LIMIT,
            )
        states = site.states(2)
        all_is_stored(database, site)
        assert len(os.listdir(f"/proc/{site.master}/task")) == 1
    for each in states.values():
        assert each["threads"].count("perfguard-audit-database") == 1
        assert not [name for name in each["handlers"] if "perfguard.audit" in name]


@pytest.mark.parametrize("kind", ["sync", "gthread", "asgi", "uvicorn"])
@pytest.mark.parametrize("durability", ["async", "spool"])
def test_all_that_was_answered_before_sigterm_is_stored(
    database, tmp_path, kind, durability
):
    with serving(database, tmp_path, kind, durability=durability) as site:
        with site.load():
            site.more()
            site.gunicorn.close()  # by SIGTERM; waits until it has ended
        tell(f"SIGTERM {kind} {durability}", site)
        assert lost_and_doubled(database, site) == (set(), set())


def test_what_a_server_leaves_that_ends_by_the_signal_is_in_its_spool(
    database, tmp_path
):
    with serving(database, tmp_path, "uvicorn") as site:
        with site.load():
            site.more()
            site.gunicorn.close()
        site.gunicorn.manage("perfguard_audit", "replay")
        assert lost_and_doubled(database, site) == (set(), set())


def test_workers_killed_under_load_lose_nothing_of_the_spool(database, tmp_path):
    with serving(database, tmp_path, arguments="--workers 4") as site:
        for turn in range(KILLS):
            with site.load():
                site.more()
                killed = site.workers()
                assert len(killed) == 4
                for pid in killed:
                    os.kill(pid, signal.SIGKILL)
                behind, _ = lost_and_doubled(database, site)
                site.more()
            all_is_stored(database, site)
            wait_until(lambda: len(site.workers()) == 4, "all workers", LIMIT)
            tell(f"kill {turn + 1}", site, only_in_spools=len(behind), lost=0, twice=0)
        assert not set(site.failed)


def test_master_and_workers_killed_lose_nothing_that_is_replayed(database, tmp_path):
    with serving(database, tmp_path, AUDIT_FLUSH_SECONDS=60.0) as site:
        with site.load():
            site.more()
            kill_all(site)
        assert lost_and_doubled(database, site)[0]  # the spools alone have them
        assert "Unreadable: 0." in site.gunicorn.manage("perfguard_audit", "replay")
        assert lost_and_doubled(database, site) == (set(), set())
        assert "of 0 files" in site.gunicorn.manage("perfguard_audit", "replay")
    assert not list((tmp_path / "spool").iterdir())


def kill_all(site: Site) -> None:
    for pid in (site.master, *site.workers()):
        os.kill(pid, signal.SIGKILL)
    assert site.gunicorn.process
    site.gunicorn.process.wait()
    site.gunicorn.process = None


def test_workers_killed_in_mode_async_lose_no_more_than_is_documented(
    database, tmp_path
):
    options = {"durability": "async", "AUDIT_FLUSH_SECONDS": 0.3}
    with serving(database, tmp_path, arguments="--workers 4", **options) as site:
        with site.load():
            site.more(400)
            workers = site.workers()
            at = time.monotonic()
            for pid in workers:
                os.kill(pid, signal.SIGKILL)
            site.more()
        wait_until(
            lambda: is_settled(database, site), "the entries of the living", LIMIT
        )
        lost, doubled = lost_and_doubled(database, site)
        tell("kill async", site, lost=len(lost))
    assert not doubled
    # The pause, the batch under way, and what a busy machine adds.
    assert all(at - 5 < site.answered[name] < at + 5 for name in lost)


def is_settled(database: Database, site: Site) -> bool:
    states = [each["state"].get("database", {}) for each in site.states(4).values()]
    return not any(each.get("waiting") for each in states)


# -- the database leaves --------------------------------------------------------------


class Killed:
    def __init__(self, database: Database) -> None:
        self.server = database.server

    def leave(self) -> None:
        self.server.kill()

    def back(self) -> None:
        self.server.start()


class Stopped(Killed):
    """It takes connections, and answers nothing."""

    def _all(self) -> list[int]:
        assert self.server.process
        return [self.server.process.pid, *children(self.server.process.pid)]

    def leave(self) -> None:
        self.pids = self._all()
        for pid in self.pids:
            os.kill(pid, signal.SIGSTOP)

    def back(self) -> None:
        for pid in self._all():
            os.kill(pid, signal.SIGCONT)


class Renamed:
    def __init__(self, database: Database) -> None:
        self.database = database

    def leave(self) -> None:
        self.database.execute(f"ALTER TABLE {TABLE} RENAME TO elsewhere")

    def back(self) -> None:
        self.database.execute(f"ALTER TABLE elsewhere RENAME TO {TABLE}")


FAULTS: dict[str, Callable[[Database], Any]] = {
    "killed": Killed,
    "stopped": Stopped,
    "renamed": Renamed,
}


def through(fault: Any, site: Site) -> None:
    with site.load():
        site.more()
        fault.leave()
        try:
            site.more()
            end = time.monotonic() + AWAY
            wait_until(lambda: time.monotonic() > end, "the time", LIMIT)
        finally:
            fault.back()
        site.more()
    assert not site.failed


@pytest.mark.parametrize("fault", FAULTS)
def test_the_spool_carries_over_the_time_without_the_database(
    database, tmp_path, fault
):
    with serving(database, tmp_path) as site:
        through(FAULTS[fault](database), site)
        all_is_stored(database, site)
        tell(f"away {fault} spool", site, dropped=database.dropped())
        assert database.dropped() == 0
        assert all(
            each["state"].get("database", {}).get("lost", {}) == {}
            for each in site.states(2).values()
        )


@pytest.mark.parametrize(
    ("fault", "overflow"),
    [*((fault, "drop_new") for fault in FAULTS), ("renamed", "drop_old")],
)
def test_what_a_small_queue_drops_meanwhile_is_counted_and_on_record(
    database, tmp_path, fault, overflow
):
    options = {"AUDIT_QUEUE_SIZE": 60, "AUDIT_OVERFLOW": overflow}
    with serving(database, tmp_path, durability="async", **options) as site:
        through(FAULTS[fault](database), site)
        wait_until(lambda: counted(site) == recorded(database, site), "counts", LIMIT)
        lost, doubled = lost_and_doubled(database, site)
        tell(f"away {fault} {overflow}", site, dropped=len(lost))
        assert not doubled
        assert len(lost) == counted(site)[0] > 0


def counted(site: Site) -> tuple[int, int]:
    """What was dropped, and what is neither that nor stored, as the workers say."""
    states = [each["state"].get("database", {}) for each in site.states(2).values()]
    lost = sum(sum(each.get("lost", {}).values()) for each in states)
    return lost, len(site.answered) - lost


def recorded(database: Database, site: Site) -> tuple[int, int]:
    return database.dropped(), len(database.ids().keys() & site.answered.keys())


# -- sync -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sync", "gthread", "asgi", "uvicorn"])
def test_in_mode_sync_the_row_is_there_with_the_answer(database, tmp_path, kind):
    options = {"AUDIT_SYNC_SECONDS": 30.0, "AUDIT_FLUSH_SECONDS": 30.0}
    with serving(database, tmp_path, kind, durability="sync", **options) as site:
        for number in range(10):
            assert site.ask("/write", f"one-{number}")[0] == 201
            assert database.ids()[f"one-{number}"] == 1


@pytest.mark.parametrize("kind", ["gthread", "asgi"])
def test_in_mode_sync_without_the_database_the_answer_is_late_and_good(
    database, tmp_path, kind
):
    options = {"AUDIT_SYNC_SECONDS": 0.5}
    with serving(database, tmp_path, kind, durability="sync", **options) as site:
        assert site.ask("/write", "before")[0] == 201
        fault = Renamed(database)
        fault.leave()
        try:
            started = time.monotonic()
            assert site.ask("/write", "meanwhile")[0] == 201
            took = time.monotonic() - started
        finally:
            fault.back()
        assert took >= 0.5
        wait_until(lambda: database.ids()["meanwhile"], "the entry", LIMIT)
        assert database.ids()["meanwhile"] == 1


# -- streams --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["gthread", "asgi"])
def test_a_stream_whose_worker_is_killed_was_aborted(database, tmp_path, kind):
    with serving(database, tmp_path, kind, arguments="--workers 1") as site:
        with closing(site.connection()) as server:
            server.request(
                "POST", "/stream?chunks=100000", headers={"X-Request-ID": "killed"}
            )
            assert len(server.getresponse().read(5000)) == 5000
            (worker,) = site.workers()
            os.kill(worker, signal.SIGKILL)
            wait_until(lambda: site.workers() not in ([], [worker]), "a worker", LIMIT)
        wait_until(lambda: site.ask("/write", "after")[0] == 201, "an answer", LIMIT)
        wait_until(lambda: database.ids()["killed"], "the entry", LIMIT)
    assert outcomes(database, "killed") == [("aborted", "ProcessEnded")]


@pytest.mark.parametrize("kind", ["sync", "gthread", "asgi", "uvicorn"])
def test_a_stream_that_ends_has_one_entry(database, tmp_path, kind):
    with serving(database, tmp_path, kind) as site:
        assert len(site.ask("/stream?chunks=5", "whole")[1]) == 5000
        wait_until(lambda: database.ids()["whole"], "the entry", LIMIT)
        kill_all(site)
        site.gunicorn.manage("perfguard_audit", "replay")
    assert outcomes(database, "whole") == [("completed", "")]


def outcomes(database: Database, name: str) -> list[Any]:
    return database.rows(
        f"SELECT outcome, error FROM {TABLE} WHERE request_id = %s", name
    )


# -- fork -----------------------------------------------------------------------------

FORKS = """
import multiprocessing, os, sys, threading, time
import django
django.setup()
from perfguard.audit import log
from perfguard.audit.entries import Entry, new_id, now

def record(name):
    log.record(Entry(new_id(), now(), "request", request_id=name))

def child(name):
    assert log.state() == {}
    record(name)
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("perfguard-audit-database") == 1, names

def forked(name):
    child(name)
    assert log.flush()

for number in range(50):
    record(f"parent-{number}")  # and all of them wait still
processes = [
    multiprocessing.get_context("fork").Process(target=child, args=(f"process-{n}",))
    for n in range(3)
]
for process in processes:
    process.start()
codes = []
for n in range(3):
    pid = os.fork()
    if not pid:
        forked(f"forked-{n}")
        os._exit(0)
    codes.append(os.waitpid(pid, 0)[1])
for process in processes:
    process.join()
    codes.append(process.exitcode)
record("parent-last")
sys.exit(any(codes))
"""


@pytest.mark.parametrize("durability", ["async", "spool"])
def test_children_of_fork_write_their_own_entries_and_no_others(
    database, tmp_path, durability
):
    options = {"AUDIT_DURABILITY": durability, "AUDIT_FLUSH_SECONDS": 1.0}
    env = settings(database, tmp_path, **options)
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKS],
        cwd=ROOT,
        env=clean_environment() | env,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    names = [f"parent-{number}" for number in range(50)] + ["parent-last"]
    names += [f"{kind}-{n}" for kind in ("process", "forked") for n in range(3)]
    assert database.ids() == Counter(names)
    assert not list((tmp_path / "spool").glob("*"))
