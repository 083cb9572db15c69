"""The way to Redis that the settings name: standalone, Sentinel or Cluster."""

from __future__ import annotations

import os
import threading
from functools import cache
from typing import Any, Protocol
from urllib.parse import urlsplit

from django.conf import settings
from django.core.cache import caches
from django.core.signals import setting_changed
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool, parse_url
from redis.exceptions import RedisError
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from perfguard.conf import conf
from perfguard.exceptions import InvalidSetting
from perfguard.redis.cluster import Cluster
from perfguard.redis.endpoint import Endpoint
from perfguard.redis.era import Reading
from perfguard.redis.scripts import Script

SENTINEL_PORT = 26379
# What perfguard takes over from the connections of a cache.
WHERE_AND_WHO = {"host", "port", "path", "db", "username", "password"} | {
    "credential_provider",
    "client_name",
}
DJANGO_BACKEND = "django.core.cache.backends.redis.RedisCache"
DJANGO_REDIS_BACKEND = "django_redis.cache.RedisCache"


class Client(Protocol):
    """What the rooms ask of Redis. ``identity`` is the hash tag of all keys."""

    one_slot: bool  # whether the keys of one call must share a slot

    def is_away(self, identity: str) -> bool: ...

    def call(self, identity: str, script: Script, command: bytes) -> Any: ...

    def read(self, identity: str, command: bytes) -> Reading:
        """Raises RedisUnavailable; see ``Endpoint.read``."""
        ...

    def endpoints(self) -> list[Endpoint]: ...

    def away(self) -> list[str]:
        """Servers in use that do not answer just now; asks those thought to be well."""
        ...

    def close(self) -> None: ...


class Server:
    """One server, or the master that Sentinel names at each new connection."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self.one_slot = False
        self.circuit = endpoint.circuit

    def is_away(self, identity: str) -> bool:
        return self.circuit.is_open

    def call(self, identity: str, script: Script, command: bytes) -> Any:
        return self._endpoint.call(script, command)

    def read(self, identity: str, command: bytes) -> Reading:
        return self._endpoint.read(command)

    def endpoints(self) -> list[Endpoint]:
        return [self._endpoint]

    def away(self) -> list[str]:
        return [] if self._endpoint.check() else [self.circuit.server]

    def close(self) -> None:
        self._endpoint.close()


_lock = threading.Lock()
_current: tuple[Client | None] | None = None


def get_client() -> Client | None:
    """The client of this process, or None when no Redis is configured.

    Raises InvalidSetting when the settings contradict each other.
    """
    global _current
    if _current is None:
        with _lock:
            if _current is None:
                _forget_after_fork()
                _current = (make_client(),)
    return _current[0]


def close_client(**kwargs: Any) -> None:
    """Forget the client; the next use builds another from the settings."""
    global _current
    with _lock:
        current, _current = _current, None
    if current is not None and current[0] is not None:
        current[0].close()


@cache
def _forget_after_fork() -> None:
    # A child shares its parent's sockets and has none of its threads.
    os.register_at_fork(after_in_child=_forget)


def _forget() -> None:
    global _current, _lock
    _current, _lock = None, threading.Lock()


def _reload(*, setting: str, **kwargs: Any) -> None:
    if setting in {"PERFGUARD", "CACHES"}:
        close_client()


setting_changed.connect(_reload, dispatch_uid="perfguard.redis")


def make_client() -> Client | None:
    """A client from the settings; it connects when it is first asked.

    Raises InvalidSetting for settings that no connection can be made from.
    """
    try:
        if conf.REDIS_URL:
            return _from_url(conf.REDIS_URL)
        if conf.REDIS_CACHE_ALIAS:
            return _from_cache(conf.REDIS_CACHE_ALIAS)
    except (ValueError, TypeError, RedisError):
        name = "REDIS_URL" if conf.REDIS_URL else "REDIS_CACHE_ALIAS"
        # Without the cause: what redis-py says may quote the URL, and its password.
        raise InvalidSetting(
            f"PERFGUARD[{name!r}] leads to no connection: "
            "look at its port, its database number and the options after '?'."
        ) from None
    return None


def connection_options() -> dict[str, Any]:
    """What every connection of perfguard is opened with."""
    return {
        "socket_connect_timeout": conf.REDIS_CONNECT_TIMEOUT,
        "socket_timeout": conf.REDIS_READ_TIMEOUT,
        # One try: a second wait would be the request's.
        "retry": Retry(NoBackoff(), 0),
        # As many as there are calls at once: the server's threads are the bound.
        "max_connections": 2**31 - 1,
        "protocol": 2,
    }


def _from_url(url: str) -> Client:
    options = connection_options()
    pool = _sentinel_pool(url) if conf.REDIS_SENTINELS else _pool(url, options)
    # Made to be thrown away: a wrong option shows only here.
    pool.connection_class(**pool.connection_kwargs)
    return Cluster(url, options) if conf.REDIS_CLUSTER else _server(pool)


def _pool(url: str, options: dict[str, Any]) -> ConnectionPool:
    # Not from_url(), by which options of the URL would overrule perfguard's bounds.
    return ConnectionPool(**(parse_url(url) | options))


def _server(pool: ConnectionPool) -> Server:
    return Server(
        Endpoint(
            _address(pool),
            pool,
            probe_key=f"{conf.REDIS_KEY_PREFIX}:{{probe}}".encode(),
            interval=conf.REDIS_PROBE_INTERVAL,
        )
    )


def _sentinel_pool(url: str) -> SentinelConnectionPool:
    options = connection_options()
    sentinel = Sentinel(
        [sentinel_address(text) for text in conf.REDIS_SENTINELS],
        sentinel_kwargs=options
        | {
            "username": conf.REDIS_SENTINEL_USERNAME or None,
            "password": conf.REDIS_SENTINEL_PASSWORD or None,
        },
    )
    service = urlsplit(url).hostname or "mymaster"
    parsed = parse_url(url)
    # The host is the name of the service here, and Sentinel tells address and port.
    for name in ("host", "port", "connection_class"):
        parsed.pop(name, None)
    return SentinelConnectionPool(
        service, sentinel, ssl=url.startswith("rediss:"), **(parsed | options)
    )


def sentinel_address(text: str) -> tuple[str, int]:
    """``"host"``, ``"host:port"`` or ``"[v6]:port"`` as host and port.

    Raises ValueError for anything else.
    """
    parts = urlsplit(f"//{text.strip()}")
    try:
        if parts.hostname and not parts.path and "@" not in text:
            return parts.hostname, parts.port or SENTINEL_PORT
    except ValueError:
        pass  # the port is none
    # Without the text, which may hold a password.
    raise ValueError("an entry is not 'host' or 'host:port'.")


def _from_cache(alias: str) -> Client:
    """Own connections, to the server and with the credentials of a cache alias."""
    theirs = cache_pool(alias)
    options = connection_options() | {
        name: value
        for name, value in theirs.connection_kwargs.items()
        if name in WHERE_AND_WHO or name.startswith("ssl_")
    }
    if isinstance(theirs, SentinelConnectionPool):
        options["connection_class"] = theirs.connection_class
        sentinel = _own_sentinel(theirs.sentinel_manager)
        return _server(SentinelConnectionPool(theirs.service_name, sentinel, **options))
    return _server(ConnectionPool(theirs.connection_class, **options))


def _own_sentinel(theirs: Sentinel) -> Sentinel:
    """The same sentinels, asked within perfguard's own time-outs."""
    kwargs = [each.connection_pool.connection_kwargs for each in theirs.sentinels]
    return Sentinel(
        [(each["host"], each["port"]) for each in kwargs],
        min_other_sentinels=theirs.min_other_sentinels,
        sentinel_kwargs=theirs.sentinel_kwargs | connection_options(),
    )


def cache_pool(alias: str) -> ConnectionPool:
    """The connection pool of a Redis cache of django-redis or of Django itself.

    Raises InvalidSetting when the alias is missing or is no Redis cache.
    """
    if alias not in settings.CACHES:
        raise InvalidSetting(
            f"PERFGUARD['REDIS_CACHE_ALIAS'] names {alias!r}, which CACHES lacks."
        )
    backend = settings.CACHES[alias]["BACKEND"]
    cache: Any = caches[alias]
    # Django keeps its client factory in _cache, django-redis in client.
    factory = getattr(cache, "_cache" if backend == DJANGO_BACKEND else "client", None)
    connect = getattr(factory, "get_client", None)
    # To write: of several servers the others are replicas.
    pool = getattr(connect(write=True) if connect else None, "connection_pool", None)
    if not isinstance(pool, ConnectionPool):
        raise InvalidSetting(
            f"PERFGUARD['REDIS_CACHE_ALIAS'] names {alias!r}, whose backend "
            f"{backend!r} is no Redis cache. Use {DJANGO_REDIS_BACKEND!r} or "
            f"{DJANGO_BACKEND!r}, or set REDIS_URL."
        )
    return pool


def _address(pool: ConnectionPool) -> str:
    if isinstance(pool, SentinelConnectionPool):
        return f"sentinel:{pool.service_name}"
    options = pool.connection_kwargs
    return str(
        options.get("path")
        or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
    )
