"""Batches of lines into the database, by a connection of the writer's own thread."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress

from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction
from django.db.utils import load_backend
from django.utils.connection import ConnectionDoesNotExist

from perfguard.audit.insertion import insert
from perfguard.audit.replay import replay
from perfguard.audit.seals.sealing import hold_shared, seal
from perfguard.conf import conf

logger = logging.getLogger("perfguard.audit")

IDLE_SECONDS = 10.0  # then the connection is closed
REPLAY_SECONDS = 30.0  # between two looks for spools of processes that are gone


def store(lines: list[bytes]) -> None:
    """All in one transaction of their own, whatever a request may roll back."""
    connection = connections[conf.AUDIT_DATABASE]
    connection.close_if_unusable_or_obsolete()
    try:
        connection.ensure_connection()
        # Whatever CONN_MAX_AGE says of requests: it is closed when it rests.
        connection.close_at = None
        with transaction.atomic(using=conf.AUDIT_DATABASE):
            hold_shared(connection)
            insert(connection, lines)
    except Exception:
        connection.close()  # one that broke is not met again
        raise
    finally:
        connection.queries_log.clear()  # which DEBUG fills, and no request empties


def store_inline(lines: list[bytes]) -> None:
    """Within the caller's transaction, if there is one."""
    insert(connections[conf.AUDIT_DATABASE], lines)


class DatabaseSink:
    name = "database"

    def __init__(
        self, owner: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._owner = owner  # of this process's spool
        # Also when the settings have changed, and this one is closed therefore.
        self._alias = conf.AUDIT_DATABASE
        # Its driver is imported here, and not by the writer's thread: a child that is
        # forked meanwhile would have half of it for ever.
        with suppress(KeyError, ImportError, ImproperlyConfigured):  # each try says it
            load_backend(connections.settings[self._alias]["ENGINE"])
        self._name = self._database_name()
        self._clock = clock
        self._used_at = clock()
        self._seal_at = clock() + conf.AUDIT_SEAL_SECONDS
        self._replay_at = clock()
        self._has_written = False

    def write(self, lines: list[bytes]) -> None:
        # A test run had put its own in this one's place, and has taken it back.
        if self._database_name() != self._name:
            logger.warning("%d audit entries of a test are discarded.", len(lines))
            return
        store(lines)
        self._used_at = self._clock()
        self._has_written = True

    def upkeep(self, *, is_idle: bool) -> None:
        if conf.AUDIT_SPOOL_DIR and self._is_due("_replay_at", REPLAY_SECONDS):
            replay(conf.AUDIT_SPOOL_DIR, self.write, but=self._owner)
        if self._has_written and conf.AUDIT_SEAL_SECONDS:
            self._seal()
        if is_idle and self._clock() - self._used_at > IDLE_SECONDS:
            self.close()

    def close(self) -> None:
        connections[self._alias].close()

    def _database_name(self) -> str:
        with suppress(ConnectionDoesNotExist):
            return str(connections[self._alias].settings_dict["NAME"])
        return ""

    def _seal(self) -> None:
        # Only by a process that has written: the others would ask for nothing.
        if self._is_due("_seal_at", conf.AUDIT_SEAL_SECONDS):
            self._has_written = False
            seal()

    def _is_due(self, name: str, every: float) -> bool:
        now = self._clock()
        if now < getattr(self, name):
            return False
        setattr(self, name, now + every)
        return True
