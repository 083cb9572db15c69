"""A request through all middleware, one layer after the other, without a server.

The handler is called directly, with the same view under more and more layers: Django's
default stack, then each layer of perfguard at its place, with its feature off and with
it on. Stacks are measured in turn, again and again, as in throttle.py; a figure is the
median over the repetitions of each repetition's lower quartile, which is of requests
that nothing else on the machine held up; a layer's share is taken within each
repetition. Redis and this program share one core.

"async" is perfguard's handler for ASGI, "threads" Django's own. Threads are counted by
what asgiref hands to one, round trips by Redis, queries by Django.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import takewhile
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter_ns
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.pipeline_settings"

import django

django.setup()

from asgiref.sync import SyncToAsync
from django.conf import settings
from django.contrib.auth.models import User
from django.core.handlers.base import BaseHandler
from django.core.management import call_command
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import AsyncRequestFactory, RequestFactory, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.utils.module_loading import import_string

from benchmarks.pipeline_settings import OFF, ON
from benchmarks.throttle import share_one_core
from perfguard.api_keys import services
from perfguard.http.on_the_loop import OnTheLoop
from tests.servers import RedisServer

PACKAGES = ("Django", "asgiref", "django-cors-headers", "redis", "hiredis")
# The outermost first, as the system checks want it.
ORDER = (
    "perfguard.health.middleware.HealthMiddleware",
    "perfguard.http.request_id.RequestIdMiddleware",
    "perfguard.http.process_time.ProcessTimeMiddleware",
    "perfguard.headers.middleware.SecurityHeadersMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "perfguard.compression.middleware.CompressionMiddleware",
    "perfguard.http.conditional.ConditionalGetMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "perfguard.trusted_header.middleware.TrustedHeaderMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "perfguard.redirects.middleware.RedirectMiddleware",
    "perfguard.api_keys.middleware.ApiKeyRestrictionMiddleware",
    "perfguard.throttling.middleware.ThrottleMiddleware",
)
DJANGO = "Django's default stack"
ALL = "all of perfguard"
BODY = json.dumps({"rows": [{"id": each, "name": "Ada"} for each in range(80)]})
COUNTED = 10  # requests under MONITOR
NAME, CELL = 28, 12  # columns of the table


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(BODY, headers={"Content-Type": "application/json"})


async def apage(request: HttpRequest) -> HttpResponse:
    return page(request)


urlpatterns = [path("page", page), path("apage", apage)]


def exists(layer: str) -> bool:
    try:
        import_string(layer)
    except ImportError:
        return False
    return True


def stacks() -> Iterator[tuple[str, list[str]]]:
    """Names of layers, and the middleware up to each."""
    chosen = [each for each in ORDER if each.startswith("django.")]
    yield DJANGO, list(chosen)
    for layer in ORDER:
        if layer not in chosen and exists(layer):
            chosen.append(layer)
            yield layer.rpartition(".")[2], sorted(chosen, key=ORDER.index)


@dataclass
class Stack:
    layer: str  # the one that it has more than the stack before it
    options: dict[str, Any]  # of PERFGUARD
    middleware: list[str]
    times: dict[str, list[float]] = field(default_factory=dict)  # by mode
    counts: dict[str, Any] = field(default_factory=dict)

    def prepare(self, headers: dict[str, str]) -> None:
        self.headers = headers
        self.modes = {
            "sync": Sync(BaseHandler()),
            "async": Async(OnTheLoop()),
            "threads": Async(BaseHandler()),
        }
        with self.settings():
            for mode in self.modes.values():
                mode.handler.load_middleware(is_async=mode.is_async)
        self.times = {name: [] for name in self.modes}

    def settings(self) -> Any:
        return override_settings(PERFGUARD=self.options, MIDDLEWARE=self.middleware)

    def measure(self, mode: str, count: int) -> float:
        with self.settings():
            times = self.modes[mode].times(self.headers, count)
        return quantiles(times, n=4)[0] / 1000


@dataclass
class Sync:
    handler: BaseHandler
    is_async = False

    def times(self, headers: dict[str, str], count: int) -> list[int]:
        make = RequestFactory().get
        requests = [make("/page", headers=headers) for _ in range(count)]
        for _ in range(5):
            self.one(make("/page", headers=headers))
        return [self.one(request) for request in requests]

    def one(self, request: HttpRequest) -> int:
        start = perf_counter_ns()
        response = self.handler.get_response(request)
        taken = perf_counter_ns() - start
        return answered(response, taken)


@dataclass
class Async:
    handler: BaseHandler
    is_async = True

    def times(self, headers: dict[str, str], count: int) -> list[int]:
        return asyncio.run(self.all(headers, count))

    async def all(self, headers: dict[str, str], count: int) -> list[int]:
        make = AsyncRequestFactory().get
        requests = [make("/apage", headers=headers) for _ in range(count + 5)]
        return [await self.one(request) for request in requests][5:]

    async def one(self, request: HttpRequest) -> int:
        start = perf_counter_ns()
        response = await self.handler.get_response_async(request)
        taken = perf_counter_ns() - start
        return answered(response, taken)


def answered(response: Any, taken: int) -> int:
    if response.status_code != 200:
        raise RuntimeError(f"It was answered {response.status_code}.")
    return taken


def main() -> None:
    options = read_options()
    share_one_core()
    call_command("migrate", verbosity=0)
    with RedisServer(port=settings.REDIS_PORT) as server:
        table = prepared()
        repeat(table, options)
        for stack in table:
            stack.counts = counted(stack, server.client())
    facts = {name: version(name) for name in PACKAGES}
    print(", ".join(f"{name} {value}" for name, value in facts.items()))
    for layer in ORDER:
        if not exists(layer):
            print(f"absent: {layer}")
    figures = figures_of(table)
    show(figures)
    if options.json:
        print(json.dumps({**facts, "figures": figures}))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=11)
    parser.add_argument("--requests", type=int, default=100, help="in each repetition")
    parser.add_argument("--quick", action="store_true", help="3 repetitions of 40")
    parser.add_argument("--json", action="store_true", help="print an object, last")
    options = parser.parse_args()
    if options.quick:
        options.repetitions, options.requests = 3, 40
    return options


def prepared() -> list[Stack]:
    user = User.objects.create_user("ada", email="ada@example.com")
    key = services.create(user, "bench").text
    asks = {
        "off": {"Accept-Encoding": "gzip"},
        "on": {
            "Accept-Encoding": "gzip",
            "Origin": "http://testserver",
            "X-Email": "ada@example.com",
            "Authorization": f"Api-Key {key}",
        },
    }
    found = []
    for name, options in (("off", OFF), ("on", ON)):
        for layer, middleware in stacks():
            stack = Stack(layer, options, middleware)
            stack.prepare(asks[name])
            found.append(stack)
    return found


def repeat(table: list[Stack], options: argparse.Namespace) -> None:
    """The first repetition only warms up."""
    gc.freeze()
    gc.disable()
    for repetition in range(options.repetitions + 1):
        for mode in ("sync", "async", "threads"):
            gc.collect()
            for stack in table:
                figure = stack.measure(mode, options.requests)
                if repetition:
                    stack.times[mode].append(figure)
    gc.enable()


def counted(stack: Stack, client: Any) -> dict[str, Any]:
    """For a request: round trips to Redis, queries, and what took a thread."""
    with stack.settings():
        stack.modes["sync"].times(stack.headers, COUNTED)
        with client.monitor() as monitor, CaptureQueriesContext(connection) as queries:
            stack.modes["sync"].times(stack.headers, COUNTED)
            client.echo("done")
            lines = iter(monitor.next_command, None)
            seen = takewhile(lambda line: line["command"] != "ECHO done", lines)
            # INFO is asked at most every five seconds, in the same round trip.
            trips = [
                line
                for line in seen
                if line["client_type"] == "tcp" and line["command"] != "INFO"
            ]
        counts = {"trips": len(trips), "queries": len(queries)}
        for mode in ("async", "threads"):
            with handed_to_threads() as hops:
                stack.modes[mode].times(stack.headers, COUNTED)
            counts[f"hops of {mode}"] = hops.total()
            counts[f"names of {mode}"] = sorted(hops)
    # Five requests warm up.
    return {
        name: value if isinstance(value, list) else round(value / (COUNTED + 5), 2)
        for name, value in counts.items()
    }


@contextmanager
def handed_to_threads() -> Iterator[Counter[str]]:
    counter: Counter[str] = Counter()
    run: Callable[..., Any] = SyncToAsync.__call__

    async def counting(self: Any, *args: Any, **kwargs: Any) -> Any:
        counter[getattr(self.func, "__qualname__", "?")] += 1
        return await run(self, *args, **kwargs)

    SyncToAsync.__call__ = counting  # type: ignore[method-assign]
    try:
        yield counter
    finally:
        SyncToAsync.__call__ = run  # type: ignore[method-assign]


def figures_of(table: list[Stack]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, options in (("off", OFF), ("on", ON)):
        rows = [stack for stack in table if stack.options is options]
        found[name] = {
            row.layer: {
                "us": {mode: median(times) for mode, times in row.times.items()},
                "added": added(row, before),
                **row.counts,
            }
            for before, row in zip([rows[0], *rows], rows, strict=False)
        }
        ours = [mine for mine in rows[1:] if ".perfguard." in f".{path_of(mine.layer)}"]
        found[name][ALL] = {
            "us": totals(rows, ours),
            "ratio": ratios(rows[-1], rows[0]),
        }
    return found


def path_of(layer: str) -> str:
    return next(each for each in ORDER if each.endswith(f".{layer}"))


def added(row: Stack, before: Stack) -> dict[str, float]:
    return {
        mode: median(
            a - b for a, b in zip(row.times[mode], before.times[mode], strict=True)
        )
        for mode in row.times
    }


def totals(rows: list[Stack], ours: list[Stack]) -> dict[str, float]:
    """What all layers of perfguard add, and CORS does not."""
    return {
        mode: sum(added(row, rows[rows.index(row) - 1])[mode] for row in ours)
        for mode in rows[0].times
    }


def ratios(row: Stack, base: Stack) -> dict[str, float]:
    return {
        mode: median(
            a / b for a, b in zip(row.times[mode], base.times[mode], strict=True)
        )
        for mode in row.times
    }


def show(figures: dict[str, Any]) -> None:
    for name, rows in figures.items():
        print()
        heads = [
            "sync",
            "async",
            "threads",
            "round trips",
            "queries",
            "hops",
            "Django's",
        ]
        print_row(f"features {name}, us added", heads)
        for layer, it in rows.items():
            if layer == ALL:
                continue
            shown = it["us"] if layer == DJANGO else it["added"]
            counts = ("trips", "queries", "hops of async", "hops of threads")
            cells = [f"{value:.1f}" for value in shown.values()]
            print_row(layer, [*cells, *(f"{it[each]:g}" for each in counts)])
        whole = rows[ALL]
        print_row(ALL, [f"{value:.1f}" for value in whole["us"].values()])
        print_row("whole stack", [f"{value:.2f}x" for value in whole["ratio"].values()])


def print_row(name: str, cells: list[str]) -> None:
    print(f"{name:{NAME}}" + "".join(f"{cell:>{CELL}}" for cell in cells))


if __name__ == "__main__":
    main()
