from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.servers import ROOT, clean_environment


def tour(*args):
    return subprocess.run(
        [sys.executable, "manage.py", "tour", *args],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def tour_text():
    done = tour()
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_tour_shows_what_it_says(tour_text):
    assert "statuses: " + "200 " * 15 + "429" in tour_text
    assert re.search(r"Retry-After: 1[78]\d", tour_text)
    allowed, refused = map(
        int, re.search(r"\{200: (\d+), 429: (\d+)\}", tour_text).groups()
    )
    assert allowed + refused == 500
    # The tour has asked seven times before, within a minute or a little more.
    assert 53 <= allowed <= 60
    asked = int(re.search(r"Redis was asked (\d+) times", tour_text)[1])
    assert allowed <= asked < 100
    assert "{401: 15, 429: 5}" in tour_text
    assert len(re.findall(r"log: .+ Redis at", tour_text)) == 2


IDENTITY = [
    "with the refresh token  ->  200",
    "with its successor  ->  200",
    "POST /auths/refresh  ->  401",
    "GET /auths/me, with the newest token  ->  401",
    "POST /auths/signout  ->  200",
    "GET /auths/me  ->  401",
    "GET /auths/me, elsewhere  ->  200",
    "POST /auths/signout-everywhere  ->  200",
    "GET /auths/me, elsewhere  ->  401",
    "GET /notes  ->  200",
    "POST /notes  ->  403",
    "GET /notes, the key misspelt  ->  401",
    "GET /notes, after it was revoked  ->  401",
    "POST /auths/signin, spoofed  ->  400",
    "POST /auths/signin, by the proxy  ->  200",
    "GET /auths/me, the proxy names somebody else  ->  401",
]


def test_the_tour_shows_who_is_who(tour_text):
    at = 0
    for line in IDENTITY:
        at = tour_text.index(line, at)
    assert not re.search(r"eyJ\w+|pgk_\w+", tour_text)


PIPELINE = [
    "GET /api/none  ->  404",
    "X-Request-ID: of-the-tour-1",
    "Content-Security-Policy: default-src 'none'",
    "Location: /?youtube=abc&t=7",
    "GET /watch?v=//evil.test  ->  404",
    "coding gzip",
    "coding br",
    "coding zstd",
    "->  304",
    'data: {"number":5,"of":5}',
]
SOCKETS = [
    "/ws/echo without a token  ->  403",
    "/ws/echo with the token in the URL  ->  403",
    "/ws/echo with it in the header  ->  open",
    "/ws/echo as a subprotocol  ->  open",
    "/ws/echo with a ticket  ->  open",
    "/ws/echo with the same ticket  ->  403",
    *["closed: 4401 token_revoked"] * 3,
]


AUDIT = [
    "POST /api/v1/auths/signin 200 completed - admin@example.com",
    'sign_in: {"by":"password"}',
    "POST /api/v1/notes?token=******** 201 completed - admin@example.com",
    "manage.py perfguard_audit verify",
    "Verified 1 seal",
]


@pytest.mark.parametrize(
    "lines", [PIPELINE, AUDIT, SOCKETS], ids=["pipeline", "audit", "sockets"]
)
def test_the_tour_shows_what_stands_before_the_views(tour_text, lines):
    at = 0
    for line in lines:
        at = tour_text.index(line, at) + 1


def test_the_tour_says_that_nobody_is_there():
    assert "does not answer" in tour("--url", "http://127.0.0.1:1").stderr
