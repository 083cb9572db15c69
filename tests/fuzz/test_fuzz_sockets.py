"""Octets that no client library would send, to the deployed project on PostgreSQL."""

from __future__ import annotations

import contextlib
import socket
from collections import Counter
from itertools import count
from urllib.parse import quote_from_bytes

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.shares import LONGER, PLACES, SOCKETS
from tests.fuzz.sites import fuzz
from tests.fuzz.verdicts import verdict
from tests.servers import Gunicorn, PostgresServer, RedisServer

pytestmark = pytest.mark.timeout(120 * LONGER)

V1 = b"/api/v1"
PATHS = [b"/auths/me", b"/notes", b"/auths/signin", b"/auths/signout", b"/public"]
METHODS = [b"GET", b"POST", b"DELETE", b"HEAD", b"OPTIONS", b"PATCH"]
NAMES = [
    *(b"Authorization", b"authorization", b"X-API-Key", b"X-Api-Key", b"X_API_Key"),
    *(b"X-Email", b"X-EMAIL", b"X-Name", b"X-Groups", b"X-Role", b"X-Forwarded-For"),
    *(b"X-Forwarded-Host", b"X-Forwarded-Proto", b"Forwarded", b"X-Real-IP", b"Accept"),
    *(b"Cookie", b"Content-Type", b"Origin", b"User-Agent", b"Range", b"Referer"),
]
STARTS = [b"", b"Bearer ", b"Api-Key ", b"bearer\t", b"Bearer  ", b"Basic ", b"for="]

# A line break would be another header; all else is sent as it is.
octets = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [
            *(b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\xae", b"\xf4\x90\x80\x80"),
            *("ann@example.com".encode("utf-16"), b"ann@example.com", b"\xe2\x80\xae"),
            *(b"eyJhbGciOiJub25lIn0.e30.", b"a.b.c", b"pgk_" + b"0" * 62, b"," * 99),
            *(b"127.0.0.1, 10.0.0.1", b"[::ffff:1.2.3.4]:1", b"1e9.0.0.1", b"\x1b[2J"),
        ]
    ),
    st.integers(1, 9000).map(lambda length: b"x" * length),
).map(lambda raw: raw.replace(b"\r", b"").replace(b"\n", b""))
headers = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(STARTS), octets), max_size=4
)
segments = st.one_of(st.sampled_from([b"\x00", b"0\x00", b"\xff", b".."]), octets).map(
    lambda raw: quote_from_bytes(raw[:200], safe="").encode()
)
places = st.sampled_from(
    [
        (b"DELETE", b"/auths/sessions/%s"),
        (b"DELETE", b"/auths/api-keys/%s"),
        (b"GET", b"/auths/api-keys/%s"),
        (b"GET", b"/auths/sessions?page=%s"),
        (b"GET", b"/notes/%s"),
        (b"GET", b"/notes?%s=%s"),
        (b"POST", b"/auths/api-keys/%s/rotate"),
        (b"POST", b"/%s"),
    ]
)
bodies = st.one_of(
    st.just(b""),
    octets,
    octets.map(lambda raw: b'{"refresh":"' + raw + b'"}'),
    octets.map(lambda raw: b'{"email":"a@b.c","password":"' + raw + b'"}'),
    st.just(b'{"email":"a\\u0000@b.c","password":"\\ud800"}'),
)


USES = 80  # of a user: the project's limit is for a hundred requests in a minute


class Wire:
    """A connection for each request, each from an address of its own, and a new user
    now and then: the project's limits are in force."""

    def __init__(self, port):
        self.port = port
        self.numbers = count(1)
        self.users = count(1)
        self.uses = 0
        self.statuses = Counter()

    def signed_in(self):
        """The lines of a user's request."""
        if self.uses % USES == 0:
            transport = httpx.HTTPTransport(local_address=f"127.2.0.{next(self.users)}")
            with httpx.Client(transport=transport) as client:
                headers = {"X-Email": f"user{self.uses}@example.com"}
                url = f"http://127.0.0.1:{self.port}/api/v1/auths/signin"
                self.token = client.post(url, headers=headers).json()["token"]
        self.uses += 1
        authorization = b"Authorization: Bearer " + self.token.encode()
        return [authorization, b"Content-Type: application/json"]

    def ask(self, method, path, lines, body):
        head = [
            method + b" " + V1 + path + b" HTTP/1.1",
            b"Host: localhost",
            b"Connection: close",
            b"Content-Length: %d" % len(body),
            *(line[:9000] for line in lines),
        ]
        high, low = divmod(next(self.numbers), 250)
        source = (f"127.1.{high}.{low + 1}", 0)
        place = ("127.0.0.1", self.port)
        with socket.create_connection(place, 20, source) as connection:
            # It may answer, and hang up, before it has read all.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(b"\r\n".join([*head, b"", body]))
            self.judge(method, b"".join(iter(lambda: connection.recv(65536), b"")))

    def judge(self, method, answer):
        head, _, content = answer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        found = httpx.Headers([line.split(": ", 1) for line in lines])
        status = int(first.split(" ")[1])
        if "Server" not in found:
            # gunicorn's own, to what is no HTTP: it has no word of the project in it.
            assert 400 <= status < 500, answer
            self.statuses["gunicorn"] += 1
            return
        self.statuses[status] += 1
        assert verdict(method.decode(), status, found, content) == ""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with (
        RedisServer() as redis,
        PostgresServer() as postgres,
        Gunicorn(
            tmp_path_factory.mktemp("site") / "db.sqlite3",
            DATABASE_URL=postgres.create("fuzz"),
            REDIS_URL=redis.url,
            WEB_CONCURRENCY="2",
            TRUSTED_PROXIES="127.0.0.0/8",
            WEBUI_AUTH_TRUSTED_EMAIL_HEADER="X-Email",
            WEBUI_AUTH_TRUSTED_NAME_HEADER="X-Name",
            WEBUI_AUTH_TRUSTED_GROUPS_HEADER="X-Groups",
            WEBUI_AUTH_TRUSTED_ROLE_HEADER="X-Role",
            TRUSTED_CREATE_USERS="true",
            DEFAULT_USER_ROLE="user",
            ENABLE_PASSWORD_AUTH="true",
        ) as gunicorn,
    ):
        yield gunicorn


@pytest.fixture
def wire(site):
    yield Wire(site.port)
    assert "Traceback" not in site.log.read_text()


def test_any_octets_in_a_header(wire):
    @fuzz(SOCKETS)
    @given(
        method=st.sampled_from(METHODS),
        path=st.sampled_from(PATHS),
        headers=headers,
        body=bodies,
        is_known=st.booleans(),
    )
    def run(method, path, headers, body, is_known):
        lines = [name + b": " + start + raw for name, start, raw in headers]
        wire.ask(method, path, [*(wire.signed_in() if is_known else ()), *lines], body)

    run()
    assert wire.statuses.total() >= SOCKETS * LONGER
    # Most of it must have come as far as the project.
    assert wire.statuses["gunicorn"] < wire.statuses.total() / 2, wire.statuses


def test_any_octets_in_a_path_of_somebody_signed_in(wire):
    @fuzz(PLACES)
    @given(place=places, segment=segments, body=bodies)
    def run(place, segment, body):
        method, path = place
        wire.ask(method, path.replace(b"%s", segment), wire.signed_in(), body)

    run()
    assert wire.statuses.total() >= PLACES * LONGER
    assert wire.statuses[401] == 0
