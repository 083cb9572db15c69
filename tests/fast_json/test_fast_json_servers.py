"""Fast JSON, compression and conditional requests together, by real servers."""

from __future__ import annotations

import gzip
import http.client
import json
import subprocess
import sys

import pytest

from tests.servers import ROOT, clean_environment, free_port, wait_until

SITE = "tests.fast_json.fast_json_site"
ROWS = [{"row": number, "none": None} for number in range(200)]
SERVERS = {
    "gthread": ["gunicorn", "--no-control-socket", "--threads=4", f"{SITE}:wsgi"],
    "uvicorn": ["uvicorn", "--lifespan=off", f"{SITE}:asgi"],
}


def address(name, port):
    if name == "gthread":
        return [f"--bind=127.0.0.1:{port}"]
    return [f"--port={port}"]


@pytest.fixture(scope="module", params=SERVERS)
def ask(request):
    port = free_port()
    command = [*SERVERS[request.param], *address(request.param, port)]

    def send(method="GET", body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, "/", body, named)
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def answers():
        assert process.poll() is None
        try:
            return send()[0] == 200
        except OSError:
            return False

    process = subprocess.Popen(
        [sys.executable, "-m", *command], cwd=ROOT, env=clean_environment()
    )
    try:
        wait_until(answers, request.param)
        yield send
    finally:
        process.terminate()
        process.wait(30)


def post(ask, body):
    return ask("POST", body, Content_Type="application/json")


def test_who_has_the_compressed_answer_is_told_so(ask):
    status, headers, body = ask(Accept_Encoding="gzip")
    assert (status, headers["Content-Encoding"]) == (200, "gzip")
    assert json.loads(gzip.decompress(body)) == ROWS
    etag = headers["ETag"]
    status, headers, body = ask(Accept_Encoding="gzip", If_None_Match=etag)
    assert (status, body, headers["ETag"]) == (304, b"", etag)
    assert "Accept-Encoding" in headers["Vary"]


def test_head_has_the_etag_and_no_body(ask):
    status, headers, body = ask("HEAD")
    assert (status, body) == (200, b"")
    assert headers["ETag"] == ask()[1]["ETag"]


def test_a_number_of_any_size_comes_back_as_it_was(ask):
    body = b'{"a":18446744073709551616,"b":[-9223372036854775809,0.1,null]}'
    status, _, answer = post(ask, body)
    assert (status, answer) == (200, body)


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"[NaN]", 400), (b"{", 400), (b"[" * 11 + b"]" * 11, 400), (b"1" * 1001, 413)],
    ids=["NaN", "unfinished", "deep", "large"],
)
def test_what_cannot_be_taken_is_refused_with_a_reason(ask, body, status):
    found, headers, answer = post(ask, body)
    assert (found, headers["Content-Type"]) == (status, "application/json")
    assert json.loads(answer)["detail"]
