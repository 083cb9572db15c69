"""Responses through compressing middleware: bytes, and time, next to peers.

Rows are measured in turn, again and again, as in throttle.py: a figure is the median
over the repetitions of each repetition's best, a ratio is taken within each repetition.
What is timed is a view that makes a response, the middleware, and the reading of the
body. Each middleware has its usual levels, and its noise.

The last lines are what the middleware costs where it does nothing, less the same view
without it, and how long the event loop was held up by a body of 8 MB.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter, perf_counter_ns
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from django.conf import settings

settings.configure(SECRET_KEY="of-the-benchmark-" * 4, PERFGUARD={}, USE_TZ=True)

import django

django.setup()

from compression_middleware.middleware import CompressionMiddleware as Stalled
from django.http import HttpResponse, StreamingHttpResponse
from django.middleware.gzip import GZipMiddleware
from django.test import RequestFactory, override_settings
from django_http_compression.middleware import HttpCompressionMiddleware

from perfguard.compression.middleware import CompressionMiddleware

PACKAGES = (
    "Django",
    "django-http-compression",
    "django-compression-middleware",
    "brotli",
    "backports.zstd",
    "zstandard",
)
MIDDLEWARE = {
    "perfguard": (CompressionMiddleware, ("zstd", "br", "gzip")),
    "django-http-compression": (HttpCompressionMiddleware, ("zstd", "br", "gzip")),
    "django-compression-middleware": (Stalled, ("zstd", "br", "gzip")),
    "Django GZipMiddleware": (GZipMiddleware, ("gzip",)),
}
BASE = "Django GZipMiddleware, gzip"
BROWSER = "gzip, deflate, br, zstd"
NAME, CELL = 38, 24  # columns of the table
CHANCE = random.Random(1)
WORDS = ["".join(CHANCE.choices("abcdeilmnorstu", k=7)) for _ in range(3000)]


def records(size: int) -> bytes:
    """A list as an API would answer it."""
    rows: list[dict[str, Any]] = []
    while len(json.dumps(rows[:10])) * len(rows) / max(len(rows[:10]), 1) < size:
        rows.append(
            {
                "id": CHANCE.randrange(10**6),
                "name": " ".join(CHANCE.choices(WORDS, k=3)),
                "email": f"{CHANCE.choice(WORDS)}@example.com",
                "active": CHANCE.random() > 0.5,
                "score": round(CHANCE.random(), 4),
            }
        )
    return json.dumps(rows).encode()


def html() -> bytes:
    items = "".join(
        f'<li class="item"><a href="/items/{n}/">{" ".join(CHANCE.choices(WORDS, k=6))}'
        "</a></li>\n"
        for n in range(300)
    )
    page = f"<!doctype html><title>Items</title><ul class='items'>{items}</ul>"
    return page.encode()


def events() -> list[bytes]:
    """An answer of a language model, word by word."""
    return [
        b"data: "
        + json.dumps({"id": "c-17", "choices": [{"delta": {"content": word}}]}).encode()
        + b"\n\n"
        for word in CHANCE.choices(WORDS, k=100)
    ]


def plain(body: bytes, kind: str) -> Callable[[Any], Any]:
    return lambda request: HttpResponse(body, content_type=kind)


def stream(chunks: list[bytes]) -> Callable[[Any], Any]:
    kind = "text/event-stream"
    return lambda request: StreamingHttpResponse(iter(chunks), content_type=kind)


@dataclass
class Row:
    name: str
    call: Callable[[], bytes]
    options: dict[str, Any] = field(default_factory=dict)  # of PERFGUARD
    times: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)


def through(middleware: Any, view: Any, accept: str) -> Callable[[], bytes]:
    call = middleware(view) if middleware else view
    request = RequestFactory().get("/", headers={"Accept-Encoding": accept})
    return lambda: call(request).getvalue()


def rows_of(view: Any) -> list[Row]:
    rows = [Row("as it is", through(None, view, ""))]
    for name, (middleware, codings) in MIDDLEWARE.items():
        for coding in codings:
            call = through(middleware, view, coding)
            rows.append(Row(f"{name}, {coding}", call))
    return rows


def idle_rows() -> list[Row]:
    """Those in which there is nothing to compress."""
    image = plain(b"x" * 10_000, "image/png")
    small = plain(b"x" * 100, "application/json")
    page = plain(b"x" * 10_000, "application/json")
    ours = CompressionMiddleware
    return [
        Row("no middleware", through(None, image, BROWSER)),
        Row(
            "switched off",
            through(ours, image, BROWSER),
            {"COMPRESSION_ENABLED": False},
        ),
        Row("an image", through(ours, image, BROWSER)),
        Row("100 bytes", through(ours, small, BROWSER)),
        Row("a page, to a client that takes none", through(ours, page, "identity")),
        Row("an image, Django GZipMiddleware", through(GZipMiddleware, image, "")),
    ]


def main() -> None:
    options = read_options()
    bodies = {
        "JSON, 10 KB": plain(records(10_000), "application/json"),
        "JSON, 100 KB": plain(records(100_000), "application/json"),
        "JSON, 1 MB": plain(records(1_000_000), "application/json"),
        "HTML": plain(html(), "text/html"),
        "100 events": stream(events()),
    }
    facts = {name: version(name) for name in PACKAGES}
    print(", ".join(f"{name} {value}" for name, value in facts.items()))
    figures: dict[str, Any] = {}
    for title, view in bodies.items():
        table = rows_of(view)
        repeat(table, options.repetitions, options.seconds)
        figures[title] = figures_of(table, BASE)
        show(title, figures[title])
    table = idle_rows()
    repeat(table, options.repetitions, options.seconds)
    figures["idle"] = added(table)
    figures["lag"] = {coding: lags(coding) for coding in ("zstd", "br", "gzip")}
    show_rest(figures)
    if options.json:
        print(json.dumps({**facts, "figures": figures}))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.05, help="for each figure")
    parser.add_argument("--quick", action="store_true", help="3 repetitions, shorter")
    parser.add_argument("--json", action="store_true", help="print an object, last")
    options = parser.parse_args()
    if options.quick:
        options.repetitions, options.seconds = 3, 0.01
    return options


def repeat(table: list[Row], repetitions: int, seconds: float) -> None:
    """The first repetition only warms up."""
    gc.freeze()
    gc.disable()
    for repetition in range(repetitions + 1):
        gc.collect()
        for row in table:
            with override_settings(PERFGUARD=row.options):
                figure = one_repetition(row, seconds)
            if repetition:
                row.times.append(figure)
    gc.enable()


def one_repetition(row: Row, seconds: float) -> float:
    end, best = perf_counter() + seconds, float("inf")
    while perf_counter() < end:
        start = perf_counter_ns()
        body = row.call()
        best = min(best, perf_counter_ns() - start)
        row.sizes.append(len(body))
    return best / 1000


def figures_of(table: list[Row], base_name: str) -> dict[str, Any]:
    by_name = {row.name: row for row in table}
    base, whole = by_name[base_name], by_name["as it is"]
    return {
        row.name: {
            "bytes": median(row.sizes),
            "share": median(row.sizes) / median(whole.sizes),
            "us": median(row.times),
            "ratio": median(a / b for a, b in zip(row.times, base.times, strict=True)),
        }
        for row in table
    }


def added(table: list[Row]) -> dict[str, float]:
    """Microseconds more than without middleware."""
    base = table[0].times
    return {
        row.name: median(a - b for a, b in zip(row.times, base, strict=True))
        for row in table[1:]
    }


def lags(coding: str) -> dict[str, float]:
    """Milliseconds between two turns of the loop, at worst: in a thread, and not."""
    body = records(8_000_000)
    found = {}
    for name, threshold in {"thread": 65_536, "loop": 10**9}.items():
        with override_settings(PERFGUARD={"COMPRESSION_THREAD_BYTES": threshold}):
            found[name] = median(asyncio.run(lag(body, coding)) for _ in range(5))
    return found


async def lag(body: bytes, coding: str) -> float:
    async def view(request: Any) -> HttpResponse:
        return HttpResponse(body, content_type="application/json")

    request = RequestFactory().get("/", headers={"Accept-Encoding": coding})
    task = asyncio.ensure_future(CompressionMiddleware(view)(request))
    worst, last = 0.0, perf_counter()
    while not task.done():
        await asyncio.sleep(0.001)
        now = perf_counter()
        worst, last = max(worst, now - last), now
    return worst * 1000


def show(title: str, figures: dict[str, Any]) -> None:
    print()
    print_row(title, ["bytes, share of all", "µs, times Django's"])
    for name, it in figures.items():
        print_row(
            name,
            [
                f"{it['bytes']:.0f}, {it['share']:.1%}",
                f"{it['us']:.0f}, {it['ratio']:.2f}x",
            ],
        )


def show_rest(figures: dict[str, Any]) -> None:
    print()
    print_row("nothing to compress", ["µs added"])
    for name, value in figures["idle"].items():
        print_row(name, [f"{value:.2f}"])
    print()
    print_row("loop held up by 8 MB, at worst", ["ms, in a thread", "ms, on the loop"])
    for coding, it in figures["lag"].items():
        print_row(coding, [f"{it['thread']:.1f}", f"{it['loop']:.1f}"])


def print_row(name: str, cells: list[str]) -> None:
    print(f"{name:{NAME}}" + "".join(f"{cell:>{CELL}}" for cell in cells))


if __name__ == "__main__":
    main()
