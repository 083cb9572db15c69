"""The part of the tour that is about what stands before every view."""

from __future__ import annotations

import time
import zlib
from http.client import HTTPConnection
from typing import Any

REPORT = "/api/v1/report?rows=1000"
STREAM = "/api/v1/stream?events=5&interval_ms=200"
GUARDING = (
    "Content-Security-Policy",
    "X-Frame-Options",
    "X-Content-Type-Options",
    "Referrer-Policy",
    "Cross-Origin-Opener-Policy",
)
WIDTH = 110  # characters of a header that are shown


def show_headers(tour: Any, site: Any) -> None:
    tour.title("Every answer carries its id, its time, and the headers that guard it")
    for path in ("/", "/api/none"):
        answer = site.ask("GET", path, **{"X-Request-ID": "of-the-tour-1"})
        told(tour, f"GET {path}", answer, "X-Request-ID", "X-Process-Time", *GUARDING)
    for line in site.log_lines("[of-the-tour-1]"):
        tour.line(f"log: {line}")
    malformed = site.ask("GET", "/api/none", **{"X-Request-ID": "<script>"})
    told(tour, "GET /api/none, with an id that is none", malformed, "X-Request-ID")


def show_redirects(tour: Any, site: Any) -> None:
    tour.title("An old address leads to the new one, and to no other host")
    for path in ("/watch?v=abc&t=7", "/watch?v=//evil.test"):
        told(tour, f"GET {path}", site.get(path), "Location")


def show_compression(tour: Any, site: Any) -> None:
    tour.title("A large answer, as the client likes it best")
    for coding in ("identity", "gzip", "br", "zstd", "gzip;q=0.5, zstd;q=0.9"):
        size, headers = size_of(site, coding)
        used = headers.get("Content-Encoding", "none")
        tour.line(f"Accept-Encoding: {coding:24} ->  {size:7} bytes, coding {used}")
    tag = headers["ETag"]
    known = site.ask("GET", REPORT, **{"If-None-Match": tag})
    told(tour, f"again, with If-None-Match: {tag}", known)


def show_stream(tour: Any, site: Any) -> None:
    tour.title("Events leave one by one, through gzip and everything else")
    connection = HTTPConnection(site.address, timeout=30)
    connection.request("GET", STREAM, headers={"Accept-Encoding": "gzip"})
    response = connection.getresponse()
    coding = response.headers.get("Content-Encoding", "none")
    tour.line(f"GET {STREAM}  ->  {response.status}, coding {coding}")
    decoder = zlib.decompressobj(wbits=31)
    started = time.monotonic()
    while block := response.read1():
        text = decoder.decompress(block) if coding == "gzip" else block
        for line in text.decode().splitlines():
            if line.startswith("data:"):
                tour.line(f"    {time.monotonic() - started:.2f} s  {line}")
    connection.close()


def size_of(site: Any, coding: str) -> tuple[int, Any]:
    connection = HTTPConnection(site.address, timeout=30)
    connection.request("GET", REPORT, headers={"Accept-Encoding": coding})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return len(body), response.headers


def told(tour: Any, what: str, answer: Any, *names: str) -> None:
    tour.line(f"{what}  ->  {answer.status}")
    for name in names:
        if name in answer.headers:
            tour.line(f"    {name}: {answer.headers[name][:WIDTH]}")
