"""Streams through real servers, decoded as they come."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import sys
from urllib.parse import quote

import pytest

from tests.compression.compression_decoders import Decoder, decoded, each_coding
from tests.servers import ROOT, clean_environment, free_port, wait_until

SITE = "tests.compression.compression_site"
EVENTS = [f"data: event {number}\n\n".encode() for number in range(5)]
CUT_SHORT = (http.client.IncompleteRead, ConnectionResetError)
# Its control socket has one path for all servers of a user, and nothing here asks it.
GUNICORN = ["gunicorn", "--no-control-socket", "--bind"]
SERVERS = {
    "gthread": [*GUNICORN, "{}", "--worker-class", "gthread", "--threads", "8"],
    "gunicorn-asgi": [*GUNICORN, "{}", "--worker-class", "asgi"],
    "uvicorn": ["uvicorn", "--lifespan", "off", "--port", "{port}"],
}


class Site:
    def __init__(self, name, directory):
        self.port = free_port()
        self.view = "sync" if name == "gthread" else "async"
        application = "wsgi" if name == "gthread" else "asgi"
        address = f"127.0.0.1:{self.port}"
        command = [each.format(address, port=self.port) for each in SERVERS[name]]
        self.log = directory / "server.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command, f"{SITE}:{application}"],
                cwd=ROOT,
                env=clean_environment(),
                stdout=log,
                stderr=log,
            )

    def answers(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"it ended: {self.log.read_text()}")
        with contextlib.closing(self.ask("/page")) as response:
            return response.status == 200

    def ask(self, target, coding="identity", method="GET"):
        """The socket is the response's, which closes it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Accept-Encoding": coding, "Connection": "close"}
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(connection.close)
            connection.request(method, target, headers=headers)
            response = connection.getresponse()
            on_failure.pop_all()
        return response

    def events(self, place, coding):
        response = self.ask(f"/{self.view}?place={quote(str(place))}", coding)
        assert response.headers["Content-Encoding"] == coding
        assert response.headers["Content-Length"] is None
        return response

    def close(self):
        self.process.terminate()
        self.process.wait(timeout=30)


@pytest.fixture(scope="module", params=SERVERS)
def site(request, tmp_path_factory):
    site = Site(request.param, tmp_path_factory.mktemp("site"))
    wait_until(site.answers, request.param, limit=60)
    yield site
    site.close()


def next_event(response, decoder):
    """Reads no more than there is, until an event has come out."""
    found = b""
    while not found.endswith(b"\n\n"):
        chunk = response.read1()
        assert chunk, found
        found += decoder.decode(chunk)
    return found


@each_coding
def test_an_event_is_read_before_the_next_is_made(site, coding, tmp_path):
    response, decoder = site.events(tmp_path, coding), Decoder(coding)
    for number, event in enumerate(EVENTS):
        assert next_event(response, decoder) == event
        (tmp_path / str(number)).touch()
    assert decoder.decode(response.read()) == b""
    assert decoder.is_complete


@each_coding
def test_a_source_that_fails_leaves_an_incomplete_body(site, coding, tmp_path):
    response, decoder = site.events(tmp_path, coding), Decoder(coding)
    assert next_event(response, decoder) == EVENTS[0]
    (tmp_path / "raise").touch()
    with contextlib.closing(response), pytest.raises(CUT_SHORT) as caught:
        response.read()
    decoder.decode(getattr(caught.value, "partial", b""))
    assert not decoder.is_complete


@each_coding
def test_a_source_is_closed_once_when_the_client_goes_away(site, coding, tmp_path):
    response, decoder = site.events(tmp_path, coding), Decoder(coding)
    assert next_event(response, decoder) == EVENTS[0]
    response.close()
    # A server under WSGI notices when it sends.
    for number in range(len(EVENTS) - 1):
        (tmp_path / str(number)).touch()
    log = tmp_path / "closed"
    wait_until(log.exists, "the source to be closed", limit=60)
    # What ran after it has run when the server has answered another request.
    assert site.answers()
    assert log.read_text() == "closed\n"


@each_coding
def test_a_source_is_closed_once_at_its_end(site, coding, tmp_path):
    for number in range(len(EVENTS)):
        (tmp_path / str(number)).touch()
    body = site.events(tmp_path, coding).read()
    assert decoded(coding, body) == b"".join(EVENTS)
    wait_until((tmp_path / "closed").exists, "the source to be closed")
    assert (tmp_path / "closed").read_text() == "closed\n"


@each_coding
def test_a_file_is_compressed_on_its_way(site, coding, tmp_path):
    place = tmp_path / "it.csv"
    place.write_bytes(b"one,two,three\n" * 10_000)
    response = site.ask(f"/file?place={quote(str(place))}", coding)
    body = response.read()
    assert response.headers["Content-Encoding"] == coding
    assert decoded(coding, body) == place.read_bytes()
    assert len(body) < 10_000


@each_coding
def test_the_head_of_a_page_tells_no_wrong_length(site, coding):
    head = site.ask("/page", coding, method="HEAD")
    page = site.ask("/page", coding)
    assert decoded(coding, page.read()) == b"a page " * 1000
    assert head.status == 200
    assert head.read() == b""
    assert head.headers["Content-Length"] is None
    assert head.headers["Vary"] == page.headers["Vary"] == "Accept-Encoding"
