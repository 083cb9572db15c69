"""The whole pipeline of the project, under each kind of server that it is meant for."""

from __future__ import annotations

import re

import httpx
import pytest

from tests.servers import KINDS, Gunicorn, RedisServer, wait_until

ORIGIN = "https://app.example.com"
# Of every answer, whoever made it.
SENT = ("X-Request-ID", "X-Process-Time")
GUARDING = (
    "Content-Security-Policy",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "Referrer-Policy",
    "Permissions-Policy",
    "Cross-Origin-Opener-Policy",
    "Cross-Origin-Resource-Policy",
)


@pytest.fixture(scope="module", params=KINDS)
def server(request, tmp_path_factory):
    database = tmp_path_factory.mktemp("pipeline") / "db.sqlite3"
    with (
        RedisServer() as redis,
        Gunicorn(
            database,
            kind=request.param,
            REDIS_URL=redis.url,
            WEB_CONCURRENCY="1",
            CORS_ALLOW_ORIGIN=ORIGIN,
        ) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def site(server):
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


def refused(site):
    """A sign-in to an account that has used up its attempts."""
    for _ in range(16):
        answer = site.post(
            "/api/v1/auths/signin", json={"email": "a@b.example", "password": "x"}
        )
    return answer


PREFLIGHT = {"Origin": ORIGIN, "Access-Control-Request-Method": "GET"}
ANSWERS = {
    "200": lambda site: site.get("/api/v1/public"),
    "304": lambda site: site.get(
        "/api/v1/public",
        headers={"If-None-Match": site.get("/api/v1/public").headers["ETag"]},
    ),
    "307": lambda site: site.get("/watch?v=abc"),
    "400 for its host": lambda site: site.get("/", headers={"Host": "evil.test"}),
    "401": lambda site: site.get("/api/v1/auths/me"),
    "403 for its form": lambda site: site.post("/admin/login/"),
    "404": lambda site: site.get("/api/none"),
    "405": lambda site: site.delete("/api/v1/public"),
    "429": refused,
    "200 of a preflight": lambda site: site.options(
        "/api/v1/public", headers=PREFLIGHT
    ),
    "200 of a static file": lambda site: site.get("/static/admin/css/base.css"),
    "200 of a stream": lambda site: site.get("/api/v1/stream?events=2&interval_ms=1"),
    "200 of a page": lambda site: site.get("/admin/login/"),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_every_answer_has_the_headers_that_guard_it(site, kind):
    answer = ANSWERS[kind](site)
    assert answer.status_code == int(kind[:3])
    counts = {name: len(answer.headers.get_list(name)) for name in (*SENT, *GUARDING)}
    expected = dict.fromkeys((*SENT, *GUARDING), 1)
    if kind == "304":
        # It would replace that of the page which the client has.
        expected["Content-Security-Policy"] = 0
    assert counts == expected
    assert re.fullmatch(r"\d+\.\d{6}", answer.headers["X-Process-Time"])
    assert "Strict-Transport-Security" not in answer.headers


OTHERS = {"zstd", "br", "gzip", "identity"}


@pytest.mark.parametrize("coding", ["zstd", "br", "gzip"])
def test_a_large_answer_is_compressed_as_the_client_likes_best(site, coding):
    accepted = ", ".join([coding, *(f"{each};q=0.1" for each in OTHERS - {coding})])
    answer = site.get("/api/v1/report?rows=200", headers={"Accept-Encoding": accepted})
    assert answer.headers["Content-Encoding"] == coding
    assert "Accept-Encoding" in answer.headers["Vary"]
    plain = site.get("/api/v1/report?rows=200", headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    assert "Accept-Encoding" in plain.headers["Vary"]


def test_what_the_client_has_already_is_not_sent_again_compressed_or_not(site):
    for coding in ("identity", "gzip"):
        headers = {"Accept-Encoding": coding}
        first = site.get("/api/v1/report?rows=200", headers=headers)
        headers["If-None-Match"] = first.headers["ETag"]
        again = site.get("/api/v1/report?rows=200", headers=headers)
        assert (again.status_code, again.content) == (304, b"")


def test_a_page_of_another_origin_may_read_the_refusal(site):
    answer = site.get("/api/v1/auths/me", headers={"Origin": ORIGIN})
    assert answer.status_code == 401
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert "X-Request-ID" in answer.headers["Access-Control-Expose-Headers"]
    stranger = site.get("/api/v1/auths/me", headers={"Origin": "https://evil.test"})
    assert "Access-Control-Allow-Origin" not in stranger.headers


def test_the_log_line_of_a_request_has_its_id(site, server):
    site.get("/api/none", headers={"X-Request-ID": "of-this-test-1"})
    line = re.compile(
        r"WARNING django\.request \[of-this-test-1\] Not Found: /api/none"
    )
    wait_until(lambda: line.search(server.log.read_text()), "the line")


def test_a_redirect_carries_the_rest_of_the_query(site):
    answer = site.get("/watch?v=abc&t=7")
    assert (answer.status_code, answer.headers["Location"]) == (
        307,
        "/?youtube=abc&t=7",
    )
