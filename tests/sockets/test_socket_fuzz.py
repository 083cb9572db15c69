"""Handshakes that no client would send, to real servers."""

from __future__ import annotations

import base64
import random

import pytest

from perfguard.sockets.credentials import MARKER
from tests.servers import wait_until

KEY = base64.b64encode(bytes(16)).decode()
GOOD = {
    "Host": "localhost",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
}
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
ODD = [
    *("", " ", ",", ", ,", "\t", "x" * 3000, "\xff\xfe", "%00", "upgrade", "UPGRADE,x"),
    *("null", "http://", "https://[", "file://", "http://localhost:99999", "*"),
    *(
        "Bearer",
        "Bearer ",
        "Bearer a b",
        f"bearer\t{TOKEN}",
        f"Bearer {TOKEN}",
        "Api-Key",
    ),
    *(MARKER, f"{MARKER}, ", f"{MARKER}, {TOKEN}", f"{TOKEN}, {MARKER}", f"{MARKER},,"),
    *("sessionid=\\000", 'sessionid="\\000"', "13, 13", "8", "-1", KEY[:-1], "é"),
    *(
        "pgk_" + "0" * 62,
        "1.2.3.4, 5.6.7.8",
        "[::1]:x",
        "localhost, evil",
        "evil:80:80",
    ),
]
NAMES = [
    *(*GOOD, "Origin", "Authorization", "Sec-WebSocket-Protocol", "Cookie"),
    *("X-API-Key", "X-Forwarded-For", "X-Forwarded-Host", "X-Email"),
    *("Sec-WebSocket-Extensions", "User-Agent"),
]
PATHS = [
    *("/ws/echo", "/ws", "/ws/", "/ws/none", "/ws/echo/", "//ws/echo", "/ws/%2e%2e"),
    *("/ws/echo?ticket=", "/ws/echo?ticket=x&ticket=y", "/ws/echo?ticket=%ff%00"),
    *(f"/ws/echo?token={TOKEN}", "/ws/echo?transport=websocket", "/ws/%ff%00?%ff"),
    *("/ws/echo?" + "a=b&" * 500, "*", "/ws/\xe9", "http://localhost/ws/echo"),
]
METHODS = ["GET"] * 8 + ["POST", "HEAD", "get", "OPTIONS"]
VERSIONS = ["HTTP/1.1"] * 8 + ["HTTP/1.0"]
EACH = 300  # handshakes at each server


def odd_handshake(chance):
    lines = dict(GOOD)
    for _ in range(chance.randint(1, 4)):
        name = chance.choice(NAMES)
        if chance.random() < 0.2:
            lines.pop(name, None)
        else:
            lines[name] = chance.choice(ODD)
    method, version = chance.choice(METHODS), chance.choice(VERSIONS)
    head = [f"{method} {chance.choice(PATHS)} {version}"]
    head += [f"{name}: {value}" for name, value in lines.items()]
    if chance.random() < 0.1:
        head.append(chance.choice(head[1:] or [""]))  # a line twice
    return "\r\n".join([*head, "", ""]).encode("latin-1")


@pytest.mark.timeout(240)
def test_odd_handshakes_are_refused_and_none_is_a_fault(site):
    chance = random.Random(20_26)
    before = site.log_text().count("Traceback")
    statuses = []
    for _ in range(EACH):
        octets = odd_handshake(chance)
        answer = site.octets(octets)
        statuses.append(answer[9:12])
        assert answer[9:10] != b"5", (octets, answer)
        assert not answer.startswith(b"HTTP/1.1 101"), octets
    # Most of them must have come as far as the guard.
    assert {b"400", b"403"} <= set(statuses)
    wait_until(lambda: site.refusal()[0] in {401, 403}, "the server")
    assert site.log_text().count("Traceback") == before
