"""What the tests of sockets share: clients of a real site, and of none."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
from types import SimpleNamespace

import httpx
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from perfguard.sockets.doors import SignedIn
from tests.servers import Gunicorn

LIMIT = 30  # seconds that a busy machine may take for anything


addresses = itertools.count(1)


class Site(Gunicorn):
    """One of them, and what its clients do."""

    def http(self, method, path, token="", **headers):
        if token:
            headers["Authorization"] = f"Bearer {token}"
        body = headers.pop("json", None)
        with httpx.Client(base_url=self.url, timeout=LIMIT) as client:
            return client.request(method, path, json=body, headers=headers)

    def sign_in(self, email="demo@example.com"):
        word = "admin-password" if email.startswith("admin") else "demo-password"
        body = {"email": email, "password": word}
        answer = self.http("POST", "/api/v1/auths/signin", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["token"]

    def ticket(self, token, **headers):
        answer = self.http("POST", "/api/v1/auths/socket-ticket", token, **headers)
        assert answer.status_code == 200, answer.text
        return answer.json()["ticket"]

    def open(self, path="/ws/echo", token="", address="", **kwargs):
        headers = kwargs.pop("headers", {})
        headers["X-Forwarded-For"] = address or new_address()
        if token:
            headers["Authorization"] = f"Bearer {token}"
        url = f"ws://127.0.0.1:{self.port}{path}"
        return connect(
            url,
            additional_headers=headers,
            proxy=None,
            open_timeout=LIMIT,
            close_timeout=LIMIT,
            **kwargs,
        )

    def refusal(self, *args, **kwargs):
        """(status, code) of a handshake; gunicorn has but one status, and no body."""
        try:
            with self.open(*args, **kwargs):
                return 101, None
        except InvalidStatus as error:
            body = bytes(error.response.body or b"")
            self.last = error.response
            return error.response.status_code, json.loads(body or b"{}").get("code")

    def raw(self, path, lines, method="GET", version="HTTP/1.1"):
        """The first answer to octets that no library would send."""
        head = [f"{method} {path} {version}", *(f"{k}: {v}" for k, v in lines.items())]
        return self.octets("\r\n".join([*head, "", ""]).encode("latin-1"))

    def octets(self, octets):
        with socket.create_connection(("127.0.0.1", self.port), LIMIT) as connection:
            connection.sendall(octets)
            answer = b""
            while b"\r\n\r\n" not in answer:
                part = connection.recv(65536)
                if not part:
                    break
                answer += part
            return answer

    @property
    def tells(self):
        """Whether the server has the extension for refusals."""
        return self.kind.startswith("uvicorn")

    def log_text(self):
        return self.log.read_text(errors="surrogateescape")


def new_address():
    high, low = divmod(next(addresses), 250)
    return f"10.{os.getpid() % 200}.{high}.{low + 1}"


# -- without a server ------------------------------------------------------------------


class FakeDoor:
    """Lets ``signed_in`` in, and says of open sockets what ``answer`` says."""

    def __init__(self, answer="", **kwargs):
        self.answer = answer
        self.counted = []
        self.asked = []
        user = SimpleNamespace(pk=1, is_authenticated=True)
        self.signed_in = SignedIn(user, None, "user:1", **kwargs)
        self.allows = lambda identity, scope: True

    def in_headers(self, request):
        return "token" if "HTTP_AUTHORIZATION" in request.META else ""

    def sign_in(self, request, presented):
        if isinstance(self.signed_in, Exception):
            raise self.signed_in
        return self.signed_in

    def refusals(self, those):
        self.asked.append(len(those))
        if isinstance(self.answer, Exception):
            raise self.answer
        return [self.answer] * len(those)

    def address_of(self, request):
        return f"ip:{request.META['REMOTE_ADDR']}"

    async def count(self, identity, scope):
        self.counted.append((identity, scope))


def scope_of(path="/ws/echo", **kwargs):
    headers = {"host": "localhost", **kwargs.pop("headers", {})}
    return {
        "type": "websocket",
        "path": path,
        "scheme": "ws",
        "query_string": b"",
        "client": ("127.0.0.1", 4711),
        "server": ("127.0.0.1", 80),
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
        "headers": [(k.encode(), v.encode("latin-1")) for k, v in headers.items()],
        **kwargs,
    }


SIGNED = {"authorization": "Bearer x"}


class Peer:
    """A client and its server: what is sent is in ``sent``."""

    def __init__(self, application, scope=None):
        self.scope = scope_of(headers=SIGNED) if scope is None else scope
        self.sent = asyncio.Queue()
        self.given = asyncio.Queue()
        self.given.put_nowait({"type": "websocket.connect"})
        self.running = asyncio.ensure_future(
            application(self.scope, self.given.get, self.take)
        )

    async def take(self, message):
        if message["type"] == "websocket.close":
            self.leave(message.get("code", 1000))  # as servers do
        await self.sent.put(message)

    def say(self, text):
        self.given.put_nowait({"type": "websocket.receive", "text": text})

    def leave(self, code=1001):
        self.given.put_nowait({"type": "websocket.disconnect", "code": code})

    async def next(self):
        return await asyncio.wait_for(self.sent.get(), LIMIT)

    async def until(self, kind):
        while (message := await self.next())["type"] != kind:
            pass
        return message

    async def done(self):
        await asyncio.wait_for(self.running, LIMIT)


async def echo(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})
