"""What real servers make of odd header lines, sent byte by byte."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys

import pytest

from tests.servers import ROOT, clean_environment, free_port, wait_until

ANN = b"ann@example.com"
EVE = b"eve@example.com"
NOBODY = {"email": None, "groups": None}
SITE = "tests.trusted_header.trusted_header_server"
# Its control socket has one path for all servers of a user, and nothing here asks it.
GUNICORN = ["gunicorn", "--no-control-socket"]
SERVERS = {
    "gunicorn": [*GUNICORN, "--worker-class", "gthread", "--bind"],
    "gunicorn on a socket": [*GUNICORN, "--bind"],
    "uvicorn": ["uvicorn", "--no-proxy-headers", "--lifespan", "off", "--port"],
    "uvicorn on a socket": ["uvicorn", "--lifespan", "off", "--uds"],
    "uvicorn, believing forwarders": ["uvicorn", "--lifespan", "off", "--port"],
}


class Site:
    def __init__(self, name, place):
        application = "wsgi" if name.startswith("gunicorn") else "asgi"
        self.address = str(place) if "socket" in name else ("127.0.0.1", free_port())
        bound = f"unix:{place}" if application == "wsgi" else str(place)
        if "socket" not in name:
            port = str(self.address[1])
            bound = f"127.0.0.1:{port}" if application == "wsgi" else port
        self.log = place.with_suffix(".log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *SERVERS[name], bound, f"{SITE}:{application}"],
                cwd=ROOT,
                env=clean_environment(),
                stdout=log,
                stderr=log,
            )

    def connect(self, source=None):
        if isinstance(self.address, str):
            with contextlib.ExitStack() as on_failure:
                connection = on_failure.enter_context(socket.socket(socket.AF_UNIX))
                connection.settimeout(20)
                connection.connect(self.address)
                on_failure.pop_all()
                return connection
        return socket.create_connection(self.address, 20, source and (source, 0))

    def answers(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"it ended: {self.log.read_text()}")
        self.connect().close()
        return True

    def ask(self, *lines, source=None, method=b"GET", body=b""):
        """(status, body) to a request with just these header lines."""
        head = [method + b" / HTTP/1.1", b"Host: x", b"Connection: close", *lines]
        with self.connect(source) as connection:
            connection.sendall(b"\r\n".join([*head, b"", body]))
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        status = int(answer.split(b" ", 2)[1])
        text = answer.partition(b"\r\n\r\n")[2]
        return status, json.loads(text) if status == 200 else None

    def close(self):
        self.process.terminate()
        self.process.wait(timeout=30)


def start(name, directory):
    site = Site(name, directory / "site.sock")
    try:
        wait_until(site.answers, name, limit=30)
    except BaseException:
        site.close()
        raise
    return site


@pytest.fixture(scope="module", params=[each for each in SERVERS if "," not in each])
def site(request, tmp_path_factory):
    site = start(request.param, tmp_path_factory.mktemp("site"))
    yield site
    site.close()


@pytest.mark.parametrize(
    "line",
    [
        b"X-Email: " + ANN,
        b"x-email: " + ANN,
        b"X-EMAIL:" + ANN,
        b"X-Email: \t " + ANN.upper() + b" \t",
    ],
)
def test_the_header_is_read_however_it_is_written(site, line):
    assert site.ask(line) == (200, {"email": ANN.decode(), "groups": None})


@pytest.mark.parametrize("name", [b"X_Email", b"x_email", b"X_EMAIL", b"HTTP_X_EMAIL"])
def test_an_underscore_never_reaches_the_header(site, name):
    forged = name + b": " + EVE
    honest = b"X-Email: " + ANN
    assert site.ask(forged) == (200, NOBODY)
    for lines in ((forged, honest), (honest, forged)):
        assert site.ask(*lines) == (200, {"email": ANN.decode(), "groups": None})


def test_an_underscore_never_adds_a_group(site):
    lines = (b"X-Email: " + ANN, b"X-Groups: dev", b"X_Groups: root")
    assert site.ask(*lines) == (200, {"email": ANN.decode(), "groups": ["dev"]})
    lines = (b"X-Email: " + ANN, b"X_Groups: root")
    assert site.ask(*lines) == (200, {"email": ANN.decode(), "groups": None})


@pytest.mark.parametrize("second", [b"X-Email", b"x-email", b"X-EMAIL"])
@pytest.mark.parametrize("value", [ANN, EVE, b""])
def test_two_lines_are_refused_and_neither_wins(site, second, value):
    lines = (b"X-Email: " + ANN, second + b": " + value)
    for each in (lines, lines[::-1]):
        assert site.ask(*each) == (200, {"code": "several_values"})


@pytest.mark.parametrize(
    "line",
    [
        b"X-Email: " + ANN + b"\r\n " + EVE,
        b"X-Email:\r\n " + ANN + b"\r\n @evil.org",
        b"X-Email: " + ANN + b"\rX-Other: x",
        b"X-Email: ann\x00@example.com",
        b"X-Email: \xff" + ANN,
        b"X-Email: ann\xc3\xa9@example.com",
        b"X-Email: \xef\xbb\xbf" + ANN,
        b"X-Email: ann\x0b@example.com",
        b"X-Email: ann @example.com",
        b"X-Email : " + ANN,
        b" X-Email: " + ANN,
        b"X-Email\x00: " + ANN,
        b"X-Email\t: " + ANN,
        b"X-Em\xc3\xa4il: " + ANN,
        b"X-Email;: " + ANN,
        b"X Email: " + ANN,
        b"X.Email: " + ANN,
        b"X-Email: ",
        b"X-Email",
    ],
)
def test_odd_lines_are_nobodys(site, line):
    status, body = site.ask(b"X-First: x", line)
    assert status in {200, 400}
    assert body in (None, {"code": "malformed"}, NOBODY)


def test_trailers_are_no_headers(site):
    body = b"1\r\nx\r\n0\r\nX-Email: " + EVE + b"\r\n\r\n"
    chunked = b"Transfer-Encoding: chunked"
    assert site.ask(chunked, method=b"POST", body=body) == (200, NOBODY)
    honest = b"X-Email: " + ANN
    answer = site.ask(chunked, honest, method=b"POST", body=body)
    assert answer == (200, {"email": ANN.decode(), "groups": None})


@pytest.mark.parametrize(
    "forwarded",
    [
        b"X-Forwarded-For: 127.0.0.1",
        b"Forwarded: for=127.0.0.1",
        b"X-Real-IP: 127.0.0.1",
        b"Remote-Addr: 127.0.0.1",
        b"Remote_Addr: 127.0.0.1",
        b"X-Forwarded-For: unix",
    ],
)
@pytest.mark.parametrize("site", ["gunicorn", "uvicorn"], indirect=True)
def test_the_peer_of_the_socket_decides(site, forwarded):
    email = b"X-Email: " + EVE
    # On Linux all of 127.0.0.0/8 is this machine: another peer than the proxy.
    assert site.ask(email, forwarded, source="127.0.0.9") == (200, NOBODY)
    assert site.ask(email, forwarded)[1]["email"] == EVE.decode()


@pytest.mark.parametrize("site", ["uvicorn, believing forwarders"], indirect=True)
def test_a_server_that_rewrites_the_peer_takes_the_decision_away(site):
    """Why the manual asks for --no-proxy-headers: uvicorn puts a forwarded address in
    the peer's place, so that the proxy itself is no longer seen."""
    email = b"X-Email: " + ANN
    assert site.ask(email)[1]["email"] == ANN.decode()
    forwarded = b"X-Forwarded-For: 203.0.113.7"
    assert site.ask(email, forwarded) == (200, NOBODY)
