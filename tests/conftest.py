from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.apps import apps
from django.http import HttpResponse
from django.test import RequestFactory

from perfguard.redis.client import close_client, get_client
from perfguard.throttling.gate import gate
from perfguard.throttling.memory_store import MemoryWindowStore
from perfguard.throttling.redis_store import RedisWindowStore
from tests.servers import RedisServer, redis_binaries


class Clock:
    """Seconds that pass only when they are told to."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now = round(self.now + seconds, 3)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def _redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_server(_redis: RedisServer) -> RedisServer:
    """An empty server of the newest version, shared by all that do it no harm."""
    _redis.client().flushall()
    return _redis


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A server that the test may kill."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def perfguard(settings: Any) -> Callable[..., None]:
    """``perfguard(NAME=value)`` sets keys of PERFGUARD for the rest of the test."""
    # A busy machine is no failure of Redis.
    current: dict[str, Any] = {"REDIS_CONNECT_TIMEOUT": 3.0, "REDIS_READ_TIMEOUT": 3.0}

    def configure(**values: Any) -> None:
        current.update(values)
        settings.PERFGUARD = dict(current)

    return configure


@pytest.fixture
def proxy_model(django_user_model: Any) -> Iterator[Any]:
    """A proxy of the user model, as a project may have one."""

    class Proxy(django_user_model):
        class Meta:
            proxy = True
            app_label = "demo"

    # It was not there when the app was made ready.
    apps.get_app_config("perfguard").connect()
    yield Proxy
    del apps.all_models["demo"]["proxy"]
    apps.clear_cache()


@pytest.fixture(autouse=True)
def _era_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a connection to ask its server again."""
    monkeypatch.setattr("perfguard.redis.endpoint.ERA_SECONDS", 0.0)


@pytest.fixture(autouse=True)
def _fresh_gate() -> Iterator[None]:
    gate.reload()
    yield
    close_client()
    gate.reload()


@pytest.fixture(
    params=["memory", *(f"redis-{version}" for version in redis_binaries())]
)
def store(request: pytest.FixtureRequest, clock: Clock, perfguard: Any) -> Any:
    """Each store in turn, on the moved clock."""
    if request.param == "memory":
        return MemoryWindowStore(clock=clock)
    server = _server(request.param.removeprefix("redis-"))
    server.client().flushall()
    perfguard(REDIS_URL=server.url)
    return RedisWindowStore(get_client(), clock=clock)


_SERVERS: dict[str, RedisServer] = {}


def _server(version: str) -> RedisServer:
    if version not in _SERVERS:
        _SERVERS[version] = RedisServer(redis_binaries()[version]).start()
    return _SERVERS[version]


def pytest_sessionfinish() -> None:
    for server in _SERVERS.values():
        server.close()


@pytest.fixture(params=["sync", "async"])
def serve(request: pytest.FixtureRequest, rf: RequestFactory) -> Callable[..., Any]:
    """``serve(Middleware, view, request)`` through a middleware in either mode."""

    def run(middleware: Any, view: Any, http_request: Any = None) -> HttpResponse:
        http_request = http_request or rf.get("/")
        if request.param == "sync":
            return middleware(view)(http_request)

        async def aview(given: Any) -> HttpResponse:
            return view(given)

        return async_to_sync(middleware(aview))(http_request)

    return run
