"""What keeps a long audit log honest, on PostgreSQL: insert, seal, verify, prune.

Entries go in by the statement that the writer uses, 500 at a time, so that each is
signed. "memory" is the most that the process has held until then. While segments are
pruned, another thread goes on to insert one entry after the other; its times are in the
last line, and so is the largest number of rows that one DELETE took.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter, sleep
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.servers import PostgresServer, free_port

PORT = free_port()
os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
os.environ["DATABASE_URL"] = f"postgres://postgres@127.0.0.1:{PORT}/audit"
os.environ.setdefault("SECRET_KEY", "of-the-benchmarks-" * 5)
os.environ.pop("REDIS_URL", None)

import django

django.setup()

from django.core.management import call_command
from django.db import connection

from perfguard.audit.database_sink import store
from perfguard.audit.entries import Entry, new_id, now
from perfguard.audit.exports import export_lines
from perfguard.audit.lines import to_line
from perfguard.audit.models import AuditEntry
from perfguard.audit.seals.retention import prune
from perfguard.audit.seals.sealing import seal
from perfguard.audit.seals.verifying import Verification

BATCH = 500


def line(number: int) -> bytes:
    return to_line(
        Entry(
            entry_id=new_id(),
            at=now(),
            kind="request",
            level="METADATA",
            method="POST",
            url=f"/api/v1/notes/{number % 5000}?page=2",
            route="api/v1/notes/<int:pk>",
            status=201,
            outcome="completed",
            duration_us=1234,
            bytes_in=20,
            bytes_out=80,
            actor_kind="token",
            actor_id=str(number % 10_000),
            actor_label=f"user-{number % 10_000}@example.com",
            address=f"203.0.113.{number % 256}",
            user_agent="Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
            request_id=new_id(),
            marker="lgUQz_L84xg-6pNbcG36Gg",
        )
    )


def fill(rows: int) -> int:
    for start in range(0, rows, BATCH):
        store([line(number) for number in range(start, min(start + BATCH, rows))])
    return rows


def verify() -> int:
    verification = Verification()
    findings = list(verification.findings())
    if findings:
        raise SystemExit(f"A good log has findings: {findings[:3]}")
    return verification.entries


def export() -> int:
    rows = AuditEntry.objects.order_by("at", "id")
    return sum(1 for _ in export_lines(rows, "jsonl"))


class Deletes:
    """An execute wrapper that counts what each DELETE took."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, execute: Any, sql: str, *args: Any) -> Any:
        result = execute(sql, *args)
        if sql.startswith("DELETE"):
            self.rows.append(args[-1]["cursor"].rowcount)
        return result


@contextmanager
def somebody_writes() -> Iterator[list[float]]:
    """How many milliseconds each of their writes took."""
    took: list[float] = []
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            started = perf_counter()
            store([line(0)])
            took.append(1000 * (perf_counter() - started))
            sleep(0.02)
        connection.close()

    thread = threading.Thread(target=write)
    thread.start()
    yield took
    done.set()
    thread.join()


def timed(name: str, job: Callable[[], int]) -> dict[str, Any]:
    started = perf_counter()
    entries = job()
    seconds = perf_counter() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    rate = entries / seconds
    print(f"{name:28}{entries:>12,}{seconds:>10.1f}{rate:>12,.0f}{memory:>10}")
    return {"step": name, "entries": entries, "seconds": seconds, "memory_mb": memory}


def measure(rows: int) -> dict[str, Any]:
    print(f"\n{'':28}{'entries':>12}{'s':>10}{'entries/s':>12}{'memory':>10}")
    steps = [
        timed("insert", lambda: fill(rows)),
        timed("seal", seal),
        timed("verify", verify),
        timed("export, JSON lines", export),
    ]
    deletes = Deletes()
    with somebody_writes() as took, connection.execute_wrapper(deletes):
        keep = rows // 2
        steps.append(timed("prune a half", lambda: prune(entries=keep).entries))
    steps.append(timed("verify what is left", verify))
    last = quantiles(took, n=100)[98]
    print(
        f"\nThe largest DELETE took {max(deletes.rows):,} rows. Somebody else's writes "
        f"meanwhile: median {median(took):.1f} ms, p99 {last:.1f} ms."
    )
    return {
        "rows": rows,
        "steps": steps,
        "largest_delete": max(deletes.rows),
        "write_ms": {"median": median(took), "p99": last},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--json", action="store_true", help="print an object, last")
    options = parser.parse_args()
    server = PostgresServer()
    server.port = PORT
    with server:
        server.create("audit")
        call_command("migrate", verbosity=0)
        figures = measure(options.rows)
        connection.close()
    if options.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
