"""Real servers with sockets, and a guard without a server."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from perfguard.sockets.guard import SocketGuard
from tests import servers
from tests.servers import GUNICORN, RedisServer
from tests.sockets.socket_peers import FakeDoor, Site, echo

APPLICATION = "tests.sockets.asgi_sockets:application"
servers.KINDS["uvicorn sockets"] = ("uvicorn", APPLICATION, "--port", "{port}")
servers.KINDS["asgi sockets"] = (*GUNICORN, "--worker-class", "asgi", APPLICATION)
MODULE = "tests.sockets.site_sockets"


@pytest.fixture(scope="session")
def fleet(tmp_path_factory):
    """The same site under uvicorn and, twice, under gunicorn's own ASGI worker."""
    folder = tmp_path_factory.mktemp("sockets")
    with RedisServer() as redis:
        sites = {}
        for name in ("uvicorn", "asgi"):
            (folder / name).mkdir()
            sites[name] = Site(
                folder / name / "log",
                f"{name} sockets",
                DATABASE_URL=f"sqlite:///{folder / 'db.sqlite3'}",
                DJANGO_SETTINGS_MODULE=MODULE,
                REDIS_URL=redis.url,
                TRUSTED_PROXIES="127.0.0.0/8",
                LOG_LEVEL="DEBUG",
                ACCESS_LOG="-",
                WEB_CONCURRENCY="2" if name == "asgi" else "1",
            )
        try:
            sites["uvicorn"].start()
            sites["asgi"].serve()
            yield SimpleNamespace(**sites)
        finally:
            for site in sites.values():
                site.close()


@pytest.fixture(params=["uvicorn", "asgi"])
def site(request, fleet):
    return getattr(fleet, request.param)


@pytest.fixture
def make_guard():
    return lambda application=echo, **kwargs: SocketGuard(
        application, FakeDoor(**kwargs)
    )
