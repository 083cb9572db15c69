"""One Redis server: idle connections, a circuit, and calls that cannot hang."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from redis.connection import ConnectionPool
from redis.exceptions import (
    AskError,
    ClusterCrossSlotError,
    ConnectionError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from perfguard.exceptions import RedisUnavailable, SlotsDiffer
from perfguard.redis.breaker import Circuit
from perfguard.redis.era import ERA_SECONDS, INFO, Reading, era_of
from perfguard.redis.scripts import Script, bulk

# Answers that say where a slot is, or that a call was malformed for a cluster.
# The server that gives them is well.
ABOUT_SLOTS = (MovedError, AskError, TryAgainError, ClusterCrossSlotError)

# A write through a script: it also finds a replica, a full memory, a missing
# permission and a server that still loads.
PROBE = Script(
    "redis.call('DEL', KEYS[1]) redis.call('LPUSH', KEYS[1], redis.call('TIME')[1]) "
    "return redis.call('PEXPIRE', KEYS[1], 1000)"
)
ASKING = b"*1\r\n" + bulk(b"ASKING")


class Endpoint:
    """Connections are kept out of redis-py's pool while idle: its check-out and
    check-in cost as much as a call. They are opened, authenticated and, under
    Sentinel, pointed at the master by redis-py all the same.
    """

    def __init__(
        self,
        server: str,
        pool: ConnectionPool,
        *,
        probe_key: bytes,
        interval: float,
        refresh: Callable[[], None] | None = None,
    ) -> None:
        self.circuit = Circuit(server, self._probe, interval)
        self._pool = pool
        self._probe_command = PROBE.command([probe_key], [])
        self._refresh = refresh
        # pop() and append() of a deque are atomic: no lock, and as many
        # connections as there were calls at once, whatever threads come and go.
        self._idle: deque[Any] = deque()

    def call(self, script: Script, command: bytes, *, asking: bool = False) -> Any:
        """Send ``command``, built from ``script``, and return the reply.

        Raises RedisUnavailable, and opens the circuit, when the server fails;
        redis-py's slot errors (``ABOUT_SLOTS``) pass as they are, except that
        keys in several slots raise SlotsDiffer.
        """
        return self._guarded(self._exchange, script, command, asking)

    def read(self, command: bytes, *, asking: bool = False) -> Reading:
        """Send a command that changes nothing; the reply, and the server's era.

        Raises as ``call`` does.
        """
        return cast("Reading", self._guarded(self._exchange_read, command, asking))

    def _guarded(self, exchange: Callable[..., Any], *args: Any) -> Any:
        try:
            try:
                connection = self._idle.pop()
            except IndexError:
                return exchange(self._connect(), *args)
            try:
                return exchange(connection, *args)
            except ConnectionError:
                # The server may have closed an idle connection, or have been
                # restarted: that is no reason to give up on it. Its siblings are
                # as stale. A time-out is another matter, and not tried again.
                self._drop_idle()
                return exchange(self._connect(), *args)
        except ClusterCrossSlotError as error:
            raise SlotsDiffer(str(error)) from error
        except ABOUT_SLOTS:
            raise
        except (RedisError, OSError) as error:
            self.circuit.open(error)
            raise RedisUnavailable(str(error)) from error

    def check(self) -> bool:
        """Whether the server answers just now; asks it unless the circuit is open."""
        if self.circuit.is_open:
            return False
        try:
            self.call(PROBE, self._probe_command)
        except ABOUT_SLOTS:
            return True
        except RedisUnavailable:
            return False
        return True

    def close(self) -> None:
        self.circuit.end()
        self._drop_idle()
        self._pool.disconnect()

    def _connect(self) -> Any:
        connection: Any = self._pool.get_connection()
        # It may lead to another server than before: nothing is known of its era.
        connection.perfguard_era = "", 0.0
        return connection

    def _exchange(
        self, connection: Any, script: Script, command: bytes, asking: bool
    ) -> Any:
        try:
            reply = _roundtrip(connection, command, asking)
        except NoScriptError:
            # Redis was restarted, or somebody ran SCRIPT FLUSH.
            reply = self._exchange_text(connection, script, command, asking)
        except ResponseError:
            self._idle.append(connection)  # the reply was read to its end
            raise
        except BaseException:
            self._drop(connection)
            raise
        self._idle.append(connection)
        return reply

    def _exchange_read(self, connection: Any, command: bytes, asking: bool) -> Reading:
        now = time.monotonic()
        era, until = connection.perfguard_era
        fresh = now < until
        command = (b"" if fresh else INFO) + (ASKING if asking else b"") + command
        try:
            connection.send_packed_command((command,), check_health=False)
            if not fresh:
                era = _era(connection)
                connection.perfguard_era = era, now + ERA_SECONDS
            if asking:
                connection.read_response()
            reply = connection.read_response()
        except BaseException:
            self._drop(connection)  # more replies may be to come
            raise
        self._idle.append(connection)
        return Reading(reply, era)

    def _exchange_text(
        self, connection: Any, script: Script, command: bytes, asking: bool
    ) -> Any:
        try:
            return _roundtrip(connection, script.with_text(command), asking)
        except BaseException:
            self._drop(connection)
            raise

    def _drop_idle(self) -> None:
        while self._idle:
            try:
                self._drop(self._idle.pop())
            except IndexError:
                return  # another thread took the last one

    def _drop(self, connection: Any) -> None:
        connection.disconnect()
        self._pool.release(connection)

    def _probe(self) -> None:
        if self._refresh is not None:
            self._refresh()
        self._drop_idle()
        try:
            self._exchange(self._connect(), PROBE, self._probe_command, asking=False)
        except ABOUT_SLOTS:
            return
        except (RedisError, OSError) as error:
            raise RedisUnavailable(str(error)) from error


def _era(connection: Any) -> str:
    try:
        return era_of(connection.read_response())
    except NoPermissionError:
        return ""  # the account may not ask: the server is well, and not believed


def _roundtrip(connection: Any, command: bytes, asking: bool) -> Any:
    if not asking:
        connection.send_packed_command((command,), check_health=False)
        return connection.read_response()
    connection.send_packed_command((ASKING + command,), check_health=False)
    try:
        connection.read_response()
    except ResponseError:
        connection.disconnect()  # the second reply is still to come
        raise
    return connection.read_response()
