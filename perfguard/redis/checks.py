"""System checks of where Redis is.

perfguard.E004  where Redis is
perfguard.W102  a cache without time-outs
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from django.core.checks import CheckMessage, Error, Warning

from perfguard.conf import conf, given, mistyped
from perfguard.exceptions import InvalidSetting
from perfguard.redis.client import cache_pool, make_client, sentinel_address

Check = Callable[..., list[CheckMessage]]


def check_redis(**kwargs: Any) -> list[CheckMessage]:
    if mistyped():
        return []
    found = list(_redis()) or list(_client())
    return [Error(message, hint=hint, id="perfguard.E004") for message, hint in found]


def _redis() -> Iterator[tuple[str, str | None]]:
    scheme = conf.REDIS_URL.partition(":")[0]
    if scheme not in {"", "redis", "rediss", "unix"}:
        yield (
            "PERFGUARD['REDIS_URL'] has an unknown scheme.",
            "Write redis://host:6379/0, rediss://... for TLS, or unix:///path.",
        )
    if conf.REDIS_URL and conf.REDIS_CACHE_ALIAS:
        yield "PERFGUARD has both REDIS_URL and REDIS_CACHE_ALIAS.", "Keep one of them."
    if conf.REDIS_SENTINELS and conf.REDIS_CLUSTER:
        yield "PERFGUARD has both REDIS_SENTINELS and REDIS_CLUSTER.", "Keep one."
    if (conf.REDIS_SENTINELS or conf.REDIS_CLUSTER) and not conf.REDIS_URL:
        yield (
            "PERFGUARD has REDIS_SENTINELS or REDIS_CLUSTER, but no REDIS_URL.",
            "For Sentinel the URL's host is the name of the service.",
        )
    if {"{", "}"} & set(conf.REDIS_KEY_PREFIX):
        yield (
            f"PERFGUARD['REDIS_KEY_PREFIX'] is {conf.REDIS_KEY_PREFIX!r}.",
            "Leave braces out: they say which part of a key chooses its slot.",
        )
    for text in conf.REDIS_SENTINELS:
        try:
            sentinel_address(text)
        except ValueError as error:
            yield (
                f"PERFGUARD['REDIS_SENTINELS']: {error}",
                "Credentials are REDIS_SENTINEL_USERNAME and REDIS_SENTINEL_PASSWORD.",
            )


def _client() -> Iterator[tuple[str, str | None]]:
    try:
        client = make_client()
    except InvalidSetting as error:
        yield str(error), None
    else:
        if client is not None:
            client.close()


def check_cache_timeouts(**kwargs: Any) -> list[CheckMessage]:
    alias = given().get("REDIS_CACHE_ALIAS", "")
    if not alias or check_redis():
        return []
    options = cache_pool(alias).connection_kwargs
    if options.get("socket_timeout") and options.get("socket_connect_timeout"):
        return []
    return [
        Warning(
            f"The cache {alias!r} has no time-outs: when Redis hangs, everything that "
            "uses the cache hangs with it.",
            hint="Set SOCKET_TIMEOUT and SOCKET_CONNECT_TIMEOUT in its OPTIONS. "
            "perfguard's own connections to that server have theirs.",
            id="perfguard.W102",
        )
    ]


ALL: tuple[Check, ...] = (check_redis, check_cache_timeouts)
