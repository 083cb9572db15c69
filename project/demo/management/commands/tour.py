"""Real requests that show each capability, printed with their answers."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from project import env
from project.demo import audit_tour, identity_tour, pipeline_tour, socket_tour

DEMO = "demo@example.com"
SHOWN = ("WWW-Authenticate", "Retry-After", "RateLimit-Policy", "RateLimit")
SECRETS = re.compile(r'"(token|refresh|key)":"[^"]+"')
PASSWORD = "of-the-tour"  # noqa: S105 (of accounts that end with it)
FLOOD = 500  # requests
START = 30  # seconds a server may take to answer


class Command(BaseCommand):
    help = (
        "Makes the real requests that show each capability, and prints what came back. "
        "Starts a server, and a Redis, of its own unless --url names a running demo."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--url", help="a running demo, such as that of make run")

    def handle(self, *args: Any, **options: Any) -> None:
        with ExitStack() as stack:
            if options["url"]:
                site, redis = Site(options["url"]), None
            else:
                redis = stack.enter_context(Redis.started())
                site = stack.enter_context(own_site(redis))
            pipeline_tour.show_headers(self, site)
            pipeline_tour.show_redirects(self, site)
            pipeline_tour.show_compression(self, site)
            pipeline_tour.show_stream(self, site)
            identity_tour.show_tokens(self, site)
            identity_tour.show_sign_out(self, site)
            identity_tour.show_api_keys(self, site)
            if not options["url"]:
                identity_tour.show_trusted_header(self, site)
                audit_tour.show_audit(self, site)
            self._sign_ins(site)
            self._state(site)
            self._flood(site, redis)
            if redis:
                self._operator(site)
                self._redis_away(site, redis)
            if not options["url"]:
                asgi = own_site(redis, WORKER_CLASS="asgi", SOCKET_RECHECK_SECONDS="1")
                socket_tour.show_sockets(self, stack.enter_context(asgi))

    def title(self, text: str) -> None:
        self.stdout.write(f"\n{self.style.MIGRATE_HEADING(text)}")

    def line(self, text: str) -> None:
        self.stdout.write(f"  {text}")

    def answer(self, what: str, answer: Answer, *, limits: bool = True) -> None:
        self.line(f"{what}  ->  {answer.status}")
        for name in SHOWN if limits else SHOWN[:1]:
            if name in answer.headers:
                self.line(f"    {name}: {answer.headers[name]}")
        self.line(f"    {SECRETS.sub(_hidden, answer.body)[:200]}")

    def _sign_ins(self, site: Site) -> None:
        self.title("Sixteen sign-ins to one account; 15 per 3 minutes are allowed")
        answers = [site.sign_in() for _ in range(16)]
        self.line("statuses: " + " ".join(str(each.status) for each in answers))
        self.answer(f"the 16th, as {DEMO}", answers[-1])
        self.answer("with other case and spaces", site.sign_in(f"  {DEMO.upper()} "))
        self.answer("another account", site.sign_in("other@example.com"))

    def _state(self, site: Site) -> None:
        self.title("Every answer tells how the limits stand")
        self.answer("GET /api/v1/public", site.get("/api/v1/public"))
        problem = {"Accept": "application/json, application/problem+json"}
        body = {"email": DEMO, "password": "x"}
        refused = site.ask("POST", "/api/v1/auths/signin", body, **problem)
        self.answer("a refusal, as problem details (RFC 9457)", refused)

    def _flood(self, site: Site, redis: Redis | None) -> None:
        self.title(f"A flood of {FLOOD} requests; 60 a minute are allowed")
        before = redis.calls() if redis else 0
        started = time.monotonic()
        statuses = Counter(site.get("/api/v1/public").status for _ in range(FLOOD))
        seconds = time.monotonic() - started
        self.line(f"statuses: {dict(statuses)} in {seconds:.1f} s")
        if redis:
            self.line(
                f"Redis was asked {redis.calls() - before} times: refusals are "
                "repeated from process memory for up to a second"
            )

    def _operator(self, site: Site) -> None:
        self.title("An operator looks at a locked account, and frees it")
        for action in ("show", "reset"):
            command = ["perfguard_throttle", action, "--account", DEMO]
            self.line(f"manage.py {' '.join(command)} --scope sign_in")
            output = site.manage(*command, "--scope", "sign_in")
            self.line(f"    {output.strip()}")
        time.sleep(1)  # the longest that a process repeats its refusal
        self.answer("the next sign-in", site.sign_in())

    def _redis_away(self, site: Site, redis: Redis) -> None:
        self.title("Redis is killed in the middle of traffic, and comes back")
        self.line(f"GET /ready  ->  {site.get('/ready').body}")
        redis.kill()
        self.line("Redis is killed")
        statuses = Counter(site.sign_in("third@example.com").status for _ in range(20))
        self.line(f"20 sign-ins to one account: {dict(statuses)}: limits hold, no 5xx")
        self.line(f"GET /ready  ->  {site.get('/ready').body}")
        redis.start()
        self.line("Redis is started again")
        wait_until(lambda: '"redis": "ok"' in site.get("/ready").body, "Redis is back")
        self.line(f"GET /ready  ->  {site.get('/ready').body}")
        for line in site.log_lines("Redis at"):
            self.line(f"log: {line}")


def _hidden(match: re.Match[str]) -> str:
    return f'"{match[1]}":"..."'


class Answer:
    def __init__(self, response: HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read().decode()


class Site:
    """A running demo."""

    def __init__(self, url: str) -> None:
        self.address = urlsplit(url).netloc
        self.password = env.text("DEMO_PASSWORD", PASSWORD)
        self.admin_password = env.text("DEMO_ADMIN_PASSWORD", PASSWORD)
        self.log: Path | None = None
        self.environment: dict[str, str] = {}

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        source: str = "",
        **headers: str,
    ) -> Answer:
        address = (source, 0) if source else None
        connection = HTTPConnection(self.address, timeout=10, source_address=address)
        try:
            text = None if body is None else json.dumps(body)
            kind = {"Content-Type": "application/json"}
            connection.request(method, path, text, kind | headers)
            return Answer(connection.getresponse())
        except OSError as error:
            raise CommandError(f"{self.address} does not answer: {error}") from error
        finally:
            connection.close()

    def get(self, path: str, token: str = "") -> Answer:
        return self.ask("GET", path, **self._bearer(token))

    def post(self, path: str, token: str = "", **body: object) -> Answer:
        return self.ask("POST", path, body, **self._bearer(token))

    def sign_in(self, email: str = DEMO, password: str = "") -> Answer:
        body = {"email": email, "password": password or self.password}
        return self.ask("POST", "/api/v1/auths/signin", body)

    def _bearer(self, token: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}"} if token else {}

    def manage(self, *args: str) -> str:
        return run_manage(self.environment, *args)

    def log_lines(self, part: str) -> list[str]:
        text = self.log.read_text() if self.log else ""
        return [line for line in text.splitlines() if part in line]


@contextmanager
def own_site(redis: Redis | None, **own: str) -> Iterator[Site]:
    """The project under gunicorn, on a database and a port of its own."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
            "AUDIT_SPOOL_DIR": f"{folder}/audit",
            "AUDIT_LOG_LEVEL": "REQUEST_RESPONSE",
            "DEMO_PASSWORD": PASSWORD,
            "DEMO_ADMIN_PASSWORD": PASSWORD,
            "WEBUI_AUTH_TRUSTED_EMAIL_HEADER": "X-Email",
            "TRUSTED_PROXIES": identity_tour.PROXY,
            "ENABLE_PASSWORD_AUTH": "true",
            "DEMO_EMAIL": DEMO,
            "PORT": str(free_port()),
            "REDIS_URL": redis.url if redis else "",
            # The tour shows one outage, and a busy machine should not show another.
            "REDIS_SOCKET_CONNECT_TIMEOUT": "2",
            "REDIS_SOCKET_TIMEOUT": "2",
            "WEB_CONCURRENCY": "1",
            **own,
        }
        run_manage(environment, "migrate", "--verbosity", "0")
        run_manage(environment, "demo_data")
        site = Site(f"http://127.0.0.1:{environment['PORT']}")
        site.environment, site.log = environment, Path(folder) / "log"
        command = ["gunicorn", "--config", "project/gunicorn.conf.py"]
        with site.log.open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 (fixed words)
                [sys.executable, "-m", *command],
                cwd=settings.BASE_DIR,
                env=environment,
                stdout=log,
                stderr=log,
            )
        try:
            wait_until(lambda: answers(int(environment["PORT"])), "the server to start")
            yield site
        finally:
            process.terminate()
            process.wait(timeout=30)


class Redis:
    """A redis-server of the tour's own, or nothing where there is none."""

    def __init__(self, binary: str, folder: str) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._command = [binary, "--port", str(self.port), "--bind", "127.0.0.1"]
        self._command += ["--save", "", "--dir", folder]
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    @contextmanager
    def started(cls) -> Iterator[Redis | None]:
        binary = shutil.which("redis-server")
        if binary is None:
            sys.stdout.write("No redis-server here: limits are kept in memory.\n")
            yield None
            return
        with tempfile.TemporaryDirectory() as folder:
            redis = cls(binary, folder)
            redis.start()
            try:
                yield redis
            finally:
                redis.kill()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)  # noqa: S603
        wait_until(lambda: answers(self.port), "Redis to start")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def calls(self) -> int:
        """Scripts that were called, as Redis itself counts them."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as client:
            client.sendall(b"INFO commandstats\r\nQUIT\r\n")
            text = b"".join(iter(lambda: client.recv(65536), b"")).decode()
        lines = [line for line in text.split() if line.startswith("cmdstat_evalsha:")]
        return int(lines[0].partition("calls=")[2].partition(",")[0]) if lines else 0


def run_manage(environment: dict[str, str], *args: str) -> str:
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), *args]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        raise CommandError(done.stderr)
    return done.stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def wait_until(is_true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + START
    while not is_true():
        if time.monotonic() > end:
            raise CommandError(f"Not within {START} s: {what}.")
        time.sleep(0.05)
