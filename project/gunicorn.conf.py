"""gunicorn: threads by THREAD_POOL_SIZE, processes by WEB_CONCURRENCY.

Without Redis each process would keep limits of its own, so that one process runs.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from perfguard.streaming.drain import Worker, drain_with
from project import env

ROOT = Path(__file__).resolve().parent.parent
MOST_WORKERS = 16


def cpu_quota() -> int:
    """CPUs that the control group (cgroup v2) allows, else those of the machine."""
    available = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(available, round(int(quota) / int(period))))
    except (OSError, ValueError):
        return available


def wanted_workers() -> int:
    return env.whole("WEB_CONCURRENCY", min(2 * cpu_quota() + 1, MOST_WORKERS))


try:
    threads = env.whole("THREAD_POOL_SIZE", 8)
    workers = wanted_workers() if env.text("REDIS_URL") else 1
    bind = f"{env.text('HOST', '127.0.0.1')}:{env.whole('PORT', 8000)}"
    timeout = env.whole("WORKER_TIMEOUT", 30)  # seconds
except ImproperlyConfigured as error:
    raise SystemExit(f"gunicorn: {error}") from error

# "asgi" serves WebSockets as well; its worker has no threads of its own.
worker_class = env.text("WORKER_CLASS", "gthread")
if worker_class not in {"gthread", "asgi"}:
    raise SystemExit(f"gunicorn: WORKER_CLASS={worker_class!r}: use gthread or asgi.")
wsgi_app = "project.wsgi"
if worker_class == "asgi":
    wsgi_app, threads = "project.asgi:application", 1
graceful_timeout = 20  # seconds
# One path for all servers of a user, and nothing here asks it.
control_socket_disable = True
keepalive = 15  # seconds; longer than a client's pause between two requests
accesslog = env.text("ACCESS_LOG") or None


def on_starting(server: object) -> None:
    """A WSGI server runs no system checks by itself: a mistake would be a 500."""
    with contextlib.suppress(OSError):  # on a read-only disk it was made before
        (ROOT / "staticfiles").mkdir(exist_ok=True)
    check = [sys.executable, str(ROOT / "manage.py"), "check", "--fail-level", "ERROR"]
    done = subprocess.run(check, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        raise SystemExit(done.stderr)
    if env.text("WEB_CONCURRENCY") not in {"", "1"} and workers == 1:
        logging.getLogger("gunicorn.error").warning(
            "WEB_CONCURRENCY is ignored: without REDIS_URL each process would keep "
            "limits of its own, and %s would admit that many times the limit.",
            env.text("WEB_CONCURRENCY"),
        )


def post_worker_init(worker: Worker) -> None:
    """Event streams end with the worker, and do not keep it waiting."""
    drain_with(worker)
