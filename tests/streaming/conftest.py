from __future__ import annotations

import asyncio
import shutil
import subprocess
from contextvars import copy_context
from itertools import count
from pathlib import Path

import pytest
from django.test import AsyncRequestFactory, RequestFactory

from perfguard.streaming.drain import drain
from perfguard.streaming.responses import aevent_stream, event_stream
from perfguard.streaming.slots import slots
from tests.servers import Gunicorn, free_port, wait_until
from tests.streaming.sse import Listener

KINDS = ("sync", "gthread", "asgi", "uvicorn")
_runs = count()


class Run:
    """One stream's meeting place with its test."""

    def __init__(self, directory):
        self.name = f"run{next(_runs)}"
        self.directory = directory

    def tell(self, number):
        (self.directory / f"{self.name}.{number}").touch()

    @property
    def lines(self):
        log = self.directory / f"{self.name}.log"
        return log.read_text().splitlines() if log.exists() else []

    def wait_for(self, line, limit=15):
        wait_until(lambda: line in self.lines, f"{line!r} of {self.name}", limit)


class Site:
    """A server process of one kind with the views of ``stream_urls``."""

    def __init__(self, database, kind, **env):
        self.directory = database.parent
        self.server = Gunicorn(
            database,
            kind,
            DJANGO_SETTINGS_MODULE="tests.streaming.stream_settings",
            STREAM_TEST_DIRECTORY=str(self.directory),
            THREAD_POOL_SIZE="64",
            **env,
        )
        self.server.log = self.directory / f"{kind}-{self.server.port}.log"
        self.kind = kind
        self.url = self.server.url

    def run(self):
        return Run(self.directory)

    def open(self, view="sync", headers=None, **query):
        pairs = "&".join(f"{name}={value}" for name, value in query.items())
        return Listener(f"{self.url}/{view}?{pairs}", headers)

    @property
    def log(self):
        return self.server.log.read_text()


@pytest.fixture(scope="session")
def stream_database(tmp_path_factory):
    """Migrated once, for all servers."""
    database = tmp_path_factory.mktemp("streams") / "db.sqlite3"
    server = Gunicorn(database)
    server.manage("migrate", "--verbosity", "0")
    server.manage("demo_data")
    return database


@pytest.fixture(scope="session")
def sites(stream_database):
    """Each kind of server, started when it is first asked for."""
    started = {}

    def site(kind):
        if kind not in started:
            started[kind] = Site(stream_database, kind)
            started[kind].server.serve()
        return started[kind]

    yield site
    for each in started.values():
        each.server.close()


@pytest.fixture(params=KINDS)
def site(request, sites):
    return sites(request.param)


@pytest.fixture
def own_site(stream_database):
    """A server that the test may end."""
    opened = []

    def start(kind, **env):
        opened.append(Site(stream_database, kind, **env))
        opened[-1].server.serve()
        return opened[-1]

    yield start
    for each in opened:
        each.server.close()


# -- without a server ------------------------------------------------------------------


class Wsgi:
    """A stream as a WSGI server would read it."""

    is_async = False

    def __init__(self):
        self.factory = RequestFactory()

    def open(self, source, request=None, **options):
        request = request or self.factory.get("/")
        response = event_stream(source, request=request, **options)
        response.chunks = iter(response)
        return response

    def next(self, response):
        return next(response.chunks, None)

    def drop(self, response):
        response.close()

    def wait(self, seconds):
        pass


class Asgi:
    is_async = True

    def __init__(self, runner):
        self.factory = AsyncRequestFactory()
        self._run = runner.run

    def open(self, source, request=None, **options):
        opening = self._open(source, request or self.factory.get("/"), options)
        # A runner's own context is older, and has another language.
        return self._run(opening, context=copy_context())

    async def _open(self, source, request, options):
        response = await aevent_stream(source, request=request, **options)
        response.chunks = aiter(response) if response.streaming else None
        return response

    def next(self, response):
        async def step():
            return await anext(response.chunks, None)

        return self._run(step())

    def drop(self, response):
        """As Django does it: the task is cancelled, and the response closed."""

        async def leave():
            waiting = asyncio.ensure_future(anext(response.chunks, None))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])

        self._run(leave())
        response.close()

    def wait(self, seconds):
        self._run(asyncio.sleep(seconds))


@pytest.fixture(params=["wsgi", "asgi"])
def server(request):
    if request.param == "wsgi":
        yield Wsgi()
        return
    with asyncio.Runner() as runner:
        yield Asgi(runner)


@pytest.fixture(autouse=True)
def _no_stream_is_left():
    """Each test gives back what it has taken, and the server's end is not another's."""
    yield
    drain.reset()
    wait_until(lambda: not slots.taken(), "all slots to be given back")


# -- nginx -----------------------------------------------------------------------------

NGINX = """
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://127.0.0.1:{to}; }}
  }}
}}
"""


@pytest.fixture(scope="session")
def nginx(tmp_path_factory):
    """``nginx(port)`` is the URL of one before that port, with default buffering."""
    binary = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/bin")
    if binary is None:
        raise RuntimeError("No nginx: apt-get install nginx-light, or put it on PATH.")
    processes = []

    def start(to):
        directory = Path(tmp_path_factory.mktemp("nginx"))
        port = free_port()
        config = directory / "nginx.conf"
        config.write_text(NGINX.format(directory=directory, port=port, to=to))
        # As root, nginx would hand its directories to a user of its own.
        processes.append(
            subprocess.Popen(
                [binary, "-p", str(directory), "-c", str(config)],
                stderr=subprocess.DEVNULL,
            )
        )
        wait_until((directory / "nginx.pid").exists, "nginx")
        return f"http://127.0.0.1:{port}"

    yield start
    for each in processes:
        each.terminate()
        each.wait(timeout=10)
