"""A request with and without an audit log, against peers: until every entry is stored.

The view is bare: DRF, a body and an answer of some 80 bytes of JSON, a user who costs
nothing, no other middleware. Each subject has processes and a database of its own, and
is measured in turn, again and again, in an order that shifts: a figure is the median
over the repetitions, a cost is taken within each repetition. Servers and databases
share one core, so that no work is hidden on another; the client of the second part has
the other ones.

"in process" calls the WSGI application in a loop, in one thread, until all entries are
in the database. "by HTTP" is gunicorn, with one worker of 4 threads, and as many
connections that stay. "CPU" is what the process took of the processor in all of its
threads (not what PostgreSQL took): on a busy machine it is the figure to trust. At the
end of each part the rows are counted, or there is no result.

django-easy-audit keeps method, URL, query and address. drf-api-logger keeps the headers
and both bodies as well, as REQUEST_RESPONSE does.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.servers import PostgresServer, clean_environment, free_port, wait_until

PACKAGES = (
    *("Django", "djangorestframework", "gunicorn"),
    *("drf-api-logger", "django-easy-audit"),
)
BASE = "bare"
SUBJECTS = (
    *(BASE, "NONE", "METADATA", "REQUEST", "REQUEST_RESPONSE"),
    *("METADATA, spool", "METADATA, sync", "django-easy-audit", "drf-api-logger"),
)
DATABASES = ("SQLite", "PostgreSQL")
WAITS = {"METADATA, sync", "django-easy-audit"}  # for the database: fewer requests
BODY = b'{"title": "Report of the third quarter", "tags": ["a", "b"], "amount": 125}'
REQUEST = (
    b"POST /api/reports HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench/1.0\r\n"
    b"Authorization: Bearer none\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)
CONNECTIONS = 4
LONGER = 3  # by HTTP: than the half second after which a writer begins
NAME, CELL = 22, 14  # columns of the tables


@dataclass
class Subject:
    name: str
    env: dict[str, str]
    measures: list[dict[str, float]] = field(default_factory=list)
    queries: dict[str, float] = field(default_factory=dict)
    rates: list[float] = field(default_factory=list)  # requests a second
    served: int = 0
    warm: int = 0  # of these, before the processor was looked at
    cpu: float = 0.0  # seconds

    def start(self) -> Subject:
        self.process = subprocess.Popen(
            [sys.executable, "benchmarks/audit_site.py"],
            cwd=ROOT,
            env=self.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ask("rows")
        return self

    def ask(self, line: str) -> Any:
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        print(line, file=stdin, flush=True)
        return json.loads(stdout.readline())

    def check_rows(self, wanted: int) -> None:
        """As many as were sent; drf-api-logger waits ten seconds with the last ones."""
        if self.ask("rows") is not None:
            what = f"{wanted} rows of {self.name}, there are {self.ask('rows')}"
            wait_until(lambda: self.ask("rows") == wanted, what, limit=20)

    @contextlib.contextmanager
    def gunicorn(self) -> Iterator[None]:
        self.port = free_port()
        command = (
            f"gunicorn --bind 127.0.0.1:{self.port} --worker-class gthread --workers 1"
            f" --threads {CONNECTIONS} --keep-alive 60 --log-level error"
            " --no-control-socket benchmarks.audit_site:application"
        )
        server = subprocess.Popen(
            [sys.executable, "-m", *command.split()], cwd=ROOT, env=self.env
        )
        self.master = server.pid
        try:
            wait_until(self._answers, f"gunicorn of {self.name}", limit=60)
            yield
        finally:
            server.terminate()
            server.wait(timeout=60)

    def _answers(self) -> bool:
        socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        return True

    def worker_seconds(self) -> float:
        """Of the processor, in all threads of gunicorn's worker."""
        children = Path(f"/proc/{self.master}/task/{self.master}/children")
        worker = children.read_text().split()[0]
        tasks = Path(f"/proc/{worker}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def main() -> None:
    options = read_options()
    facts = {name: version(name) for name in PACKAGES}
    print(", ".join(f"{name} {value}" for name, value in facts.items()))
    cores = sorted(os.sched_getaffinity(0))
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as directory:
        os.sched_setaffinity(0, cores[-1:])
        with PostgresServer() as postgres:
            for name in options.databases:
                place = postgres if name == "PostgreSQL" else Path(directory)
                os.sched_setaffinity(0, cores[-1:])
                figures[name] = measured(place, directory, cores, options)
                show(name, figures[name])
    if options.json:
        print(json.dumps({**facts, "figures": figures}))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--requests", type=int, default=500, help="in each repetition")
    parser.add_argument("--quick", action="store_true", help="3 repetitions of 200")
    parser.add_argument("--json", action="store_true", help="print an object, last")
    parser.add_argument("--subjects", nargs="+", default=SUBJECTS, choices=SUBJECTS)
    parser.add_argument("--databases", nargs="+", default=DATABASES, choices=DATABASES)
    options = parser.parse_args()
    if BASE not in options.subjects:
        parser.error(f"--subjects needs {BASE!r}: the costs are shares of it.")
    if options.quick:
        options.repetitions, options.requests = 3, 200
    return options


def measured(
    place: PostgresServer | Path,
    directory: str,
    cores: list[int],
    options: argparse.Namespace,
) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        table = [
            stack.enter_context(running(name, place, directory))
            for name in options.subjects
        ]
        repeat(table, options, in_process)
        for subject in table:
            subject.queries = subject.ask("counted 100")
            subject.check_rows(subject.ask("requests"))
        for subject in table:
            stack.enter_context(subject.gunicorn())
        os.sched_setaffinity(0, cores[:-1] or cores)
        repeat(table, options, by_http)
        for subject in table:
            subject.check_rows(subject.ask("requests") + subject.served)
            subject.cpu += subject.worker_seconds()
    return figures_of(table)


@contextlib.contextmanager
def running(
    name: str, place: PostgresServer | Path, directory: str
) -> Iterator[Subject]:
    title = f"audit-{SUBJECTS.index(name)}"
    url = f"sqlite:///{directory}/{title}.sqlite3"
    if isinstance(place, PostgresServer):
        url = place.create(title)
    env = {"AUDIT_SUBJECT": name, "DATABASE_URL": url}
    env["AUDIT_SPOOL"] = f"{directory}/{title}.spool"
    subject = Subject(name, {**clean_environment(), **env}).start()
    try:
        yield subject
    finally:
        subject.process.kill()
        subject.process.communicate()


def repeat(
    table: list[Subject],
    options: argparse.Namespace,
    job: Callable[[Subject, int, bool], None],
) -> None:
    """The first repetition only warms up."""
    for repetition in range(options.repetitions + 1):
        first = repetition % len(table)
        for subject in [*table[first:], *table[:first]]:
            share = 4 if subject.name in WAITS else 1
            job(subject, options.requests // share, repetition > 0)


def in_process(subject: Subject, count: int, counts: bool) -> None:
    figures = subject.ask(f"measure {count}")
    if counts:
        subject.measures.append(figures)


def by_http(subject: Subject, count: int, counts: bool) -> None:
    count *= LONGER
    seconds = load(subject.port, count)
    subject.served += count
    if counts:
        subject.rates.append(count / seconds)
    else:
        # What of the first repetition is still to be written is counted, and small.
        subject.warm = subject.served
        subject.cpu = -subject.worker_seconds()


def load(port: int, count: int) -> float:
    """Seconds for so many requests, the next on each connection as soon as the one
    before is answered."""
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        start = time.perf_counter()
        for _ in range(CONNECTIONS):
            client = socket.create_connection(("127.0.0.1", port), timeout=30)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(stack.enter_context(client), selectors.EVENT_READ)
            client.sendall(REQUEST)
        sent, answered = CONNECTIONS, 0
        while answered < count:
            for key, _ in selector.select(30):
                read_answer(key.fileobj)
                answered += 1
                if sent < count:
                    key.fileobj.sendall(REQUEST)  # type: ignore[union-attr]
                    sent += 1
        return time.perf_counter() - start


def read_answer(client: Any) -> None:
    """In chunks: without middleware nobody counts the bytes."""
    answer = b""
    while not answer.endswith(b"\r\n0\r\n\r\n"):
        part = client.recv(65_536)
        answer += part
        if not part or not answer.startswith(b"HTTP/1.1 201"):
            raise RuntimeError(f"It was answered {answer!r}.")


def figures_of(table: list[Subject]) -> dict[str, Any]:
    base = next(subject for subject in table if subject.name == BASE)
    return {
        subject.name: {
            "in process": {
                **{
                    name: median(each[name] for each in subject.measures)
                    for name in ("answered", "stored", "cpu")
                },
                "cost": cost_in_process(subject, base, "stored"),
                "cpu cost": cost_in_process(subject, base, "cpu"),
                "queries": subject.queries,
            },
            "by HTTP": by_http_figures(subject, base),
        }
        for subject in table
    }


def cost_in_process(subject: Subject, base: Subject, name: str) -> float:
    """The share of the bare throughput that is gone."""
    return median(
        1 - bare[name] / mine[name]
        for mine, bare in zip(subject.measures, base.measures, strict=True)
    )


def by_http_figures(subject: Subject, base: Subject) -> dict[str, float]:
    pairs = list(zip(subject.rates, base.rates, strict=True))
    return {
        "rate": median(subject.rates),
        "added": median(1e6 / mine - 1e6 / bare for mine, bare in pairs),
        "cost": median(1 - mine / bare for mine, bare in pairs),
        "cpu": cpu_of(subject),
        "cpu cost": 1 - cpu_of(base) / cpu_of(subject),
    }


def cpu_of(subject: Subject) -> float:
    return subject.cpu * 1e6 / (subject.served - subject.warm)


def show(name: str, figures: dict[str, Any]) -> None:
    print()
    heads = ["µs answered", "µs stored", "cost", "µs CPU", "CPU cost", "queries"]
    print_row(f"{name}, in process", [*heads, "behind it"])
    for subject, it in figures.items():
        mine = it["in process"]
        times = [f"{mine['answered']:.0f}", f"{mine['stored']:.0f}"]
        cpu = [f"{mine['cost']:.1%}", f"{mine['cpu']:.0f}", f"{mine['cpu cost']:.1%}"]
        queries = [f"{mine['queries'][place]:.2f}" for place in ("in", "behind")]
        print_row(subject, [*times, *cpu, *queries])
    print()
    heads = ["requests/s", "µs added", "cost", "µs CPU", "CPU cost"]
    print_row(f"{name}, by HTTP", heads)
    for subject, it in figures.items():
        mine = it["by HTTP"]
        cpu = [f"{mine['cost']:.1%}", f"{mine['cpu']:.0f}", f"{mine['cpu cost']:.1%}"]
        print_row(subject, [f"{mine['rate']:.0f}", f"{mine['added']:.0f}", *cpu])


def print_row(name: str, cells: list[str]) -> None:
    print(f"{name:{NAME}}" + "".join(f"{cell:>{CELL}}" for cell in cells))


if __name__ == "__main__":
    main()
