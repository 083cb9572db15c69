"""Questions about the process and what it depends on, each bounded in time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import cache

from django.db import connections

from perfguard.audit.log import state as audit_state
from perfguard.conf import conf
from perfguard.redis.client import get_client

Probe = Callable[[], None]


class ProbeFailed(Exception):
    """Why a part is not ready, in words for the operator's log."""


def check_database() -> None:
    """Raises ProbeFailed when the default database does not answer in time."""
    _DATABASE.run()


def check_redis() -> None:
    """Raises ProbeFailed when a server of Redis that is in use does not answer: at once
    while its circuit is open, else within the time-outs of a call."""
    client = get_client()
    if client is not None and (away := client.away()):
        raise ProbeFailed(f"Redis is away: {', '.join(away)}")


def check_audit() -> None:
    """Raises ProbeFailed while a sink of this process takes no audit entries."""
    failing = [name for name, each in audit_state().items() if each["failing"]]
    if failing:
        raise ProbeFailed(f"Audit entries wait for: {', '.join(failing)}")


def audit_dropped() -> int:
    """Audit entries that this process has lost since it began."""
    return sum(sum(each["lost"].values()) for each in audit_state().values())


class Bounded:
    """Runs a probe in a thread of its own, one at a time, and waits so long at most.

    A probe that hangs keeps its thread; until it ends the answer is "no" at once,
    and no second thread is spent on it.
    """

    def __init__(self, name: str, probe: Probe) -> None:
        self._name = name
        self._probe = probe
        self._renew()

    def _renew(self) -> None:
        self._lock = threading.Lock()
        self._running: Future[None] | None = None
        self._late: Future[None] | None = None  # somebody has waited for it in vain

    def run(self) -> None:
        _renew_after_fork()
        with self._lock:
            future = self._running
            if future is None or future.done():
                future = self._running = self._start()
        try:
            future.result(0 if future is self._late else conf.HEALTH_TIMEOUT)
        except TimeoutError as error:
            self._late = future
            raise ProbeFailed(f"{self._name} did not answer in time") from error
        except Exception as error:  # whatever a driver may raise
            raise ProbeFailed(f"{self._name}: {type(error).__name__}") from error

    def _start(self) -> Future[None]:
        future: Future[None] = Future()
        threading.Thread(
            target=self._run,
            args=(future,),
            name=f"perfguard-{self._name}",
            daemon=True,
        ).start()
        return future

    def _run(self, future: Future[None]) -> None:
        try:
            self._probe()
        except BaseException as error:  # noqa: BLE001 (handed to whoever waits)
            future.set_exception(error)
        else:
            future.set_result(None)


def _select_one() -> None:
    # The thread's own connection, closed after use: one that broke is not met again.
    connection = connections["default"]
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    finally:
        connection.close()


_DATABASE = Bounded("database", _select_one)


@cache
def _renew_after_fork() -> None:
    # The child has the parent's future, and no thread that would end it.
    os.register_at_fork(after_in_child=_DATABASE._renew)
