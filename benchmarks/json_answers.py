"""Renderers and parsers of JSON for DRF, on the same bodies.

Rows are measured in turn, again and again, as in throttle.py: a figure is the median
over the repetitions, a ratio is taken within each repetition. It is processor time, so
that what else runs on the machine does not count, with garbage collection as it is in
a server.

What comes out wrong is counted too: values that DRF writes or reads in another way, or
refuses.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import json
import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from statistics import median
from time import thread_time_ns
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from django.conf import settings

settings.configure(SECRET_KEY="of-the-benchmark-" * 4, PERFGUARD={}, USE_TZ=True)

import django

django.setup()

from django.http import QueryDict
from drf_orjson_renderer.parsers import ORJSONParser
from drf_orjson_renderer.renderers import ORJSONRenderer
from drf_ujson.parsers import UJSONParser
from drf_ujson.renderers import UJSONRenderer
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser
from rest_framework.renderers import JSONRenderer

from perfguard.fast_json.parsers import FastJSONParser
from perfguard.fast_json.renderers import FastJSONRenderer

PACKAGES = (
    "Django",
    "djangorestframework",
    "orjson",
    "drf_orjson_renderer",
    "drf-ujson2",
    "ujson",
)
DRF = "DRF"
RENDERERS = {
    DRF: JSONRenderer,
    "perfguard": FastJSONRenderer,
    "drf-orjson-renderer": ORJSONRenderer,
    "drf-ujson2": UJSONRenderer,
}
PARSERS = {
    DRF: JSONParser,
    "perfguard": FastJSONParser,
    "drf-orjson-renderer": ORJSONParser,
    "drf-ujson2": UJSONParser,
}
NAME, CELL = 24, 22  # columns of the table
STEP = 400_000  # bytes in a repetition of one row


def row(number: int, note: str | None) -> dict[str, Any]:
    return {
        "id": number,
        "name": f"Row number {number}",
        "email": f"user{number}@example.com",
        "created": "2026-01-02T12:00:00Z",
        "amount": "12.50",
        "share": number / 7,
        "is_paid": number % 2 == 0,
        "note": note,
        "tags": ["a", "b"],
        "owner": {"id": number, "name": "Ada"},
    }


def rows(count: int, note: str | None = "é") -> list[dict[str, Any]]:
    return [row(number, note) for number in range(count)]


BODIES: dict[str, Any] = {
    "object": row(1, "x"),
    "object, a null": row(1, None),
    "100 rows": rows(100),
    "100 rows, nulls": rows(100, None),
    "5000 rows": rows(5000),
    "5000 rows, nulls": rows(5000, None),
}
# Each is written by DRF, or refused, in its own way.
WRITTEN: dict[str, Any] = {
    "NaN": float("nan"),
    "beyond 64 bits": 2**64,
    "time of microseconds": datetime.datetime(2026, 1, 2, 3, 4, 5, 6),
    "time of UTC": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
    "timedelta": datetime.timedelta(seconds=1.5),
    "Decimal": Decimal("1.10"),
    "bytes": b"text",
    "keys that are no text": {0: 1, None: 2, True: 3},
    "QueryDict": QueryDict("a=1&a=2"),
    "OrderedDict": OrderedDict(a=1),
    "set": {1},
    "object": object(),
    "300 deep": None,
}
for _ in range(300):
    WRITTEN["300 deep"] = [WRITTEN["300 deep"]]
READ = {
    "beyond 64 bits": b"18446744073709551616",
    "beneath 64 bits": b"-9223372036854775809",
    "NaN": b"NaN",
    "infinite": b"1e400",
    "twice": b'{"a":1,"a":2}',
    "lone surrogate": b'"\\ud800"',
    "control": b'"\n"',
    "byte order mark": b"\xef\xbb\xbf1",
}


@dataclass
class Row:
    name: str
    act: str
    body: str
    call: Callable[[], Any]
    size: int
    times: list[float] = field(default_factory=list)


def table() -> list[Row]:
    found = []
    for body, value in BODIES.items():
        text = JSONRenderer().render(value)
        for name, kind in RENDERERS.items():
            call = rendering(kind, value)
            found.append(Row(name, "render", body, call, len(text)))
        for name, parser in PARSERS.items():
            call = parsing(parser, text)
            found.append(Row(name, "parse", body, call, len(text)))
            if call() != value:
                raise RuntimeError(f"{name} does not read {body!r}.")
    return found


def rendering(kind: Any, value: Any) -> Callable[[], bytes]:
    # As in a request: a renderer of its own, and the media type that was agreed on.
    return lambda: kind().render(value, "application/json", {})


def parsing(kind: Any, text: bytes) -> Callable[[], Any]:
    return lambda: kind().parse(BytesIO(text), "application/json", {})


def written(kind: Any, value: Any) -> str:
    try:
        return repr(json.loads(kind().render({"a": value}, "application/json", {})))
    except Exception:  # noqa: BLE001 - peers raise whatever they like
        return "refused"


def read(kind: Any, text: bytes) -> str:
    try:
        return repr(kind().parse(BytesIO(text), "application/json", {}))
    except ParseError:
        return "refused"


def wrong() -> dict[str, dict[str, list[str]]]:
    """What each does in another way than DRF."""
    acts = (
        ("render", RENDERERS, WRITTEN, written),
        ("parse", PARSERS, READ, read),
    )
    return {
        act: {
            name: [
                each
                for each, value in values.items()
                if outcome(kind, value) != outcome(kinds[DRF], value)
            ]
            for name, kind in kinds.items()
        }
        for act, kinds, values, outcome in acts
    }


def main() -> None:
    options = read_options()
    measured = table()
    repeat(measured, options.repetitions)
    facts = {name: version(name) for name in PACKAGES}
    print(", ".join(f"{name} {value}" for name, value in facts.items()))
    figures, faults = figures_of(measured), wrong()
    show(figures, {row.body: row.size for row in measured}, faults)
    if options.json:
        print(json.dumps({**facts, "figures": figures, "wrong": faults}))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="3 repetitions")
    parser.add_argument("--json", action="store_true", help="print an object, last")
    options = parser.parse_args()
    if options.quick:
        options.repetitions = 3
    return options


def repeat(measured: list[Row], repetitions: int) -> None:
    """The first repetition only warms up."""
    gc.freeze()
    for repetition in range(repetitions + 1):
        for each in measured:
            gc.collect()
            times = max(2, STEP // each.size)
            start = thread_time_ns()
            for _ in range(times):
                each.call()
            if repetition:
                each.times.append((thread_time_ns() - start) / times / 1000)


def figures_of(measured: list[Row]) -> dict[str, Any]:
    base = {(row.act, row.body): row.times for row in measured if row.name == DRF}
    found: dict[str, Any] = {"render": {}, "parse": {}}
    for row in measured:
        pairs = zip(row.times, base[row.act, row.body], strict=True)
        found[row.act].setdefault(row.body, {})[row.name] = {
            "us": median(row.times),
            "times_as_fast": median(its / mine for mine, its in pairs),
        }
    return found


def show(figures: dict[str, Any], sizes: dict[str, int], faults: Any) -> None:
    for act, bodies in figures.items():
        print()
        print_row(f"{act}, bytes", list(RENDERERS))
        for body, its in bodies.items():
            cells = [
                f"{it['us']:.1f} us, {it['times_as_fast']:.2f}x" for it in its.values()
            ]
            print_row(f"{body}, {sizes[body]}", cells)
        print_row("otherwise than DRF", [str(len(it)) for it in faults[act].values()])
        for name, them in faults[act].items():
            if them:
                print(f"    {name}: {', '.join(them)}")


def print_row(name: str, cells: list[str]) -> None:
    print(f"{name:{NAME}}" + "".join(f"{cell:>{CELL}}" for cell in cells))


if __name__ == "__main__":
    main()
