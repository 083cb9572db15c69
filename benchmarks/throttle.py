"""One throttle check, timed against its peers and against the floors below it.

All rows are measured in turn, again and again, on one Redis of their own; a figure is
the median over the repetitions of each repetition's median. A ratio is to the first
row of the same repetition, and the median of those: whatever else the machine does
slows both. Round trips, commands and bytes are counted by Redis, and not timed.

Redis and this program share one core where the system allows it. How long another
core takes to wake is then no part of a figure, which is the processor time of both
sides; a network adds its round trip to every one that is counted.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import sys
from collections import defaultdict
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from ipaddress import IPv4Address
from itertools import count, cycle, islice, takewhile
from math import ceil
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"

import django
import redis
from django.conf import settings
from django.test import override_settings

from benchmarks import limiters
from benchmarks.limiters import Check, Limiter
from tests.servers import RedisServer

PACKAGES = (
    "Django",
    "djangorestframework",
    "django-ratelimit",
    "django-redis",
    "hiredis",
    "limits",
    "redis",
    "throttled-py",
)
WARM = 10  # checks before a repetition
COUNTED = 10  # checks under MONITOR
NAME, CELL = 38, 18  # columns of the tables
ADDRESSES = map(str, map(IPv4Address, count(int(IPv4Address("10.0.0.1")))))


@dataclass(frozen=True)
class Load:
    name: str
    title: str
    limit: int
    filled: int  # hits that an address has before it is timed
    timed: int  # hits of one address, at most
    allowed: bool


LOADS = (
    Load("short", "15/3 minutes", 15, filled=0, timed=15, allowed=True),
    Load("long", "1000/hour", 1000, filled=500, timed=400, allowed=True),
    Load("refused", "refused", 15, filled=16, timed=1_000_000, allowed=False),
)

Figures = dict[str, dict[str, float]]  # "us" and "ratio", by load
Times = dict[str, Figures]  # by limiter


def main() -> None:
    options = read_options()
    django.setup()
    share_one_core()
    with RedisServer(port=settings.REDIS_PORT):
        in_redis = limiters.in_redis()
        times = repeat(limiters.floors() + in_redis + limiters.without_redis(), options)
        with redis.Redis.from_url(settings.REDIS_URL) as client:
            facts = describe(client, options)
            counts = {row.name: counted(row, client) for row in in_redis}
    print(", ".join(f"{name} {value}" for name, value in facts.items()), end="\n\n")
    print_times(times)
    print()
    print_counts(counts)
    if options.json:
        print(json.dumps({**facts, "timed": times, "counted": counts}))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=25)
    parser.add_argument("--checks", type=int, default=400, help="in each repetition")
    parser.add_argument("--quick", action="store_true", help="3 repetitions of 60")
    parser.add_argument("--json", action="store_true", help="print an object, last")
    options = parser.parse_args()
    if options.quick:
        options.repetitions, options.checks = 3, 60
    return options


def share_one_core() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def repeat(rows: list[Limiter], options: argparse.Namespace) -> Times:
    """The first repetition only warms up."""
    measured = [
        (row, load) for row in rows for load in LOADS if load.name in row.checks
    ]
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    gc.freeze()
    gc.disable()
    for repetition in range(options.repetitions + 1):
        gc.collect()
        for row, load in measured:
            with set_for(row):
                figure = one_repetition(row.checks[load.name], load, options.checks)
            if repetition:
                times[row.name, load.name].append(figure)
    gc.enable()
    floor = times[rows[0].name, LOADS[0].name]
    table: Times = {row.name: {} for row in rows}
    for (name, load_name), figures in times.items():
        ratios = [each / least for each, least in zip(figures, floor, strict=True)]
        table[name][load_name] = {"us": median(figures), "ratio": median(ratios)}
    return table


def set_for(row: Limiter) -> AbstractContextManager[Any]:
    if not row.options:
        return nullcontext()
    return override_settings(PERFGUARD={**settings.PERFGUARD, **row.options})


def one_repetition(check: Check, load: Load, checks: int) -> float:
    hit(check, next(ADDRESSES), WARM)  # connects, where settings have changed
    block = list(islice(ADDRESSES, ceil(checks / load.timed)))
    for address in block:
        hit(check, address, load.filled)
    times, answers = [], set()
    for address in islice(cycle(block), checks):
        start = perf_counter_ns()
        allowed = check(address)
        times.append(perf_counter_ns() - start)
        answers.add(allowed)
    if answers != {load.allowed}:
        raise RuntimeError(f"{load.title}: some checks were not answered as they must.")
    return median(times) / 1000


def hit(check: Check, address: str, times: int) -> None:
    for _ in range(times):
        check(address)


def counted(row: Limiter, client: redis.Redis) -> dict[str, Any]:
    """Round trips and commands for a check, and bytes of a full window, by load."""
    figures: dict[str, Any] = {"trips": {}, "commands": {}, "bytes": {}}
    with set_for(row):
        for load in LOADS:
            if load.name not in row.checks:
                continue
            check = row.checks[load.name]
            origins = commands(check, load.filled, client)
            figures["commands"][load.name] = len(origins) / COUNTED
            figures["trips"][load.name] = origins.count("tcp") / COUNTED
            if load.allowed:
                figures["bytes"][load.name] = bytes_when_full(check, load, client)
    return figures


def commands(check: Check, filled: int, client: redis.Redis) -> list[str]:
    """Whence Redis had the commands of ``COUNTED`` checks: "tcp", or "lua"."""
    address = next(ADDRESSES)
    hit(check, address, filled + 1)
    with client.monitor() as monitor:
        hit(check, address, COUNTED)
        client.echo("done")
        lines = iter(monitor.next_command, None)
        seen = takewhile(lambda line: line["command"] != "ECHO done", lines)
        return [line["client_type"] for line in seen]


def bytes_when_full(check: Check, load: Load, client: redis.Redis) -> int:
    client.flushall()
    hit(check, next(ADDRESSES), load.limit)
    return sum(client.memory_usage(key, samples=0) for key in client.scan_iter())


def describe(client: redis.Redis, options: argparse.Namespace) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "redis-server": client.info("server")["redis_version"],
        **{name: version(name) for name in PACKAGES},
        "repetitions": options.repetitions,
        "checks": options.checks,
    }


def print_times(times: Times) -> None:
    print_row("microseconds, and times the first row", [load.title for load in LOADS])
    for name, row in times.items():
        print_row(name, [in_words(row.get(load.name)) for load in LOADS])


def in_words(figure: dict[str, float] | None) -> str:
    if figure is None:
        return "-"
    us, ratio = figure["us"], figure["ratio"]
    return f"{us:.{1 if us >= 10 else 2}f} {ratio:6.2f}x"


def print_counts(counts: dict[str, dict[str, Any]]) -> None:
    print_row("counted, for a check", ["round trips", "commands", "bytes when full"])
    for name, row in counts.items():
        trips, run, size = row["trips"], row["commands"], row["bytes"]
        cells = [
            f"{trips['short']:g} / {trips['refused']:g}",
            f"{run['short']:g} / {run['refused']:g}",
            f"{size['short']} / {size.get('long', '-')}",
        ]
        print_row(name, cells)
    print("round trips and commands: allowed / refused; bytes: 15/3 min / 1000/hour")


def print_row(name: str, cells: list[str]) -> None:
    print(f"{name:{NAME}}" + "".join(f"{cell:>{CELL}}" for cell in cells))


if __name__ == "__main__":
    main()
