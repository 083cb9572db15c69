"""System checks: every mistake in ``PERFGUARD`` is met here first.

Those of the rooms are in the rooms: ``E2xx`` trusted header, ``E3xx`` API keys,
``E4xx`` tokens, ``E5xx`` headers, ``E6xx`` compression, ``E7xx`` streaming, ``E8xx`` sockets,
``E9xx`` the pipeline: its order, redirects, request ids.

perfguard.E001  an unknown key            perfguard.W101  DRF's NUM_PROXIES is set
perfguard.E002  a value of a wrong type   perfguard.W102  a cache without time-outs
perfguard.E003  a wrong rate              perfguard.W103  a scope counted twice
perfguard.E004  where Redis is            perfguard.W104  DRF's own throttles as well
perfguard.E005  TRUSTED_PROXIES           perfguard.W105  limits in process memory
perfguard.E006  THROTTLE_PATHS            perfguard.W106  "refuse", and no Redis
perfguard.E007  a throttle without a rate
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

from perfguard.api_keys import checks as api_keys
from perfguard.compression import checks as compression
from perfguard.conf import SETTINGS, conf, given, missed
from perfguard.exceptions import InvalidSetting
from perfguard.fast_json import checks as fast_json
from perfguard.headers import checks as headers
from perfguard.http.client_ip import trusted_networks
from perfguard.redirects import checks as redirects
from perfguard.redis.client import cache_pool, make_client, sentinel_address
from perfguard.sockets import checks as sockets
from perfguard.streaming import checks as streaming
from perfguard.throttling.middleware import ThrottleMiddleware
from perfguard.throttling.paths import PathRule
from perfguard.throttling.plans import Scope, scope_named, scope_names
from perfguard.throttling.urls import Throttled, throttled_views
from perfguard.tokens import checks as tokens
from perfguard.trusted_header import checks as trusted_header

Check = Callable[..., list[CheckMessage]]


def check_names(**kwargs: Any) -> list[CheckMessage]:
    value = getattr(settings, "PERFGUARD", {})
    if not isinstance(value, Mapping):
        return [
            Error(
                f"PERFGUARD is a {type(value).__name__}.",
                hint="Write it as a dictionary: PERFGUARD = {...}.",
                id="perfguard.E002",
            )
        ]
    return [
        Error(
            f"PERFGUARD has no setting {name!r}.",
            hint=suggestion(str(name)),
            id="perfguard.E001",
        )
        for name in sorted(value.keys() - SETTINGS.keys(), key=str)
    ]


def suggestion(name: str) -> str:
    close = get_close_matches(name.upper(), SETTINGS, n=1, cutoff=0.5)
    return f"Did you mean {close[0]!r}?" if close else "See docs/settings.md."


def check_types(**kwargs: Any) -> list[CheckMessage]:
    return [
        Error(
            f"PERFGUARD[{name!r}] is {shown(name, value)}.",
            hint=f"Give it {wanted}.",
            id="perfguard.E002",
        )
        for name, value in given().items()
        if name in SETTINGS and (wanted := missed(name, value))
    ]


def shown(name: str, value: object) -> str:
    """The value, unless it may hold a password."""
    if any(word in name for word in ("PASSWORD", "URL", "SECRET", "PEPPER", "KEYS")):
        return f"a {type(value).__name__}"
    return repr(value)[:100]


def check_rates(**kwargs: Any) -> list[CheckMessage]:
    rest = getattr(settings, "REST_FRAMEWORK", {})
    sources = {
        "PERFGUARD['THROTTLE_RATES']": given().get("THROTTLE_RATES", {}),
        "REST_FRAMEWORK['DEFAULT_THROTTLE_RATES']": rest.get(
            "DEFAULT_THROTTLE_RATES", {}
        )
        if _uses_perfguard(rest.get("DEFAULT_THROTTLE_CLASSES", ()))
        else {},
    }
    messages: list[CheckMessage] = []
    for source, rates in sources.items():
        for name, value in rates.items() if isinstance(rates, Mapping) else ():
            try:
                Scope.read(str(name), value)
            except InvalidSetting as error:
                messages.append(
                    Error(f"{source}[{name!r}]: {error}", id="perfguard.E003")
                )
    return messages


def check_redis(**kwargs: Any) -> list[CheckMessage]:
    if check_types():
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


def check_proxies(**kwargs: Any) -> list[CheckMessage]:
    if check_types():
        return []
    messages: list[CheckMessage] = []
    try:
        trusted_networks()
    except InvalidSetting as error:
        messages.append(Error(str(error), id="perfguard.E005"))
    rest = getattr(settings, "REST_FRAMEWORK", {})
    if rest.get("NUM_PROXIES") and not conf.TRUSTED_PROXIES:
        messages.append(
            Warning(
                "REST_FRAMEWORK['NUM_PROXIES'] is set, and perfguard does not use it: "
                "all clients behind your proxies share one address.",
                hint="List the proxies' networks in PERFGUARD['TRUSTED_PROXIES'].",
                id="perfguard.W101",
            )
        )
    return messages


def check_paths(**kwargs: Any) -> list[CheckMessage]:
    messages: list[CheckMessage] = []
    paths = given().get("THROTTLE_PATHS", ())
    for value in paths if isinstance(paths, Sequence) else ():
        try:
            PathRule.read(value)
        except InvalidSetting as error:
            messages.append(Error(str(error), id="perfguard.E006"))
    middleware = f"{ThrottleMiddleware.__module__}.{ThrottleMiddleware.__qualname__}"
    if paths and middleware not in settings.MIDDLEWARE:
        messages.append(
            Error(
                "PERFGUARD['THROTTLE_PATHS'] is set, and nobody reads it.",
                hint=f"Add {middleware!r} to MIDDLEWARE.",
                id="perfguard.E006",
            )
        )
    return messages


def check_views(**kwargs: Any) -> list[CheckMessage]:
    """Throttles of views: counted twice, mixed with DRF's own, or without a rate."""
    messages: list[CheckMessage] = []
    if not getattr(settings, "ROOT_URLCONF", None):
        return messages
    for view in throttled_views():
        messages += _without_rate(view)
        if view.twice:
            messages.append(
                Warning(
                    f"{view.name} is throttled twice under {', '.join(view.twice)}.",
                    hint="A request counts once in a scope, whichever door asks "
                    "first. Remove one, or give it a scope of its own.",
                    id="perfguard.W103",
                )
            )
        if view.foreign:
            messages.append(
                Warning(
                    f"{view.name} mixes perfguard's throttles with "
                    f"{', '.join(view.foreign)}.",
                    hint="DRF's own counts apart, with more round trips, and counts "
                    "requests that perfguard refuses. Import its name from "
                    "perfguard.throttling.throttles.",
                    id="perfguard.W104",
                )
            )
    return messages


def _without_rate(view: Throttled) -> list[CheckMessage]:
    return [
        Error(f"{view.name}: {error}", id="perfguard.E007") for error in view.errors
    ]


def _uses_perfguard(classes: Sequence[Any]) -> bool:
    return any("perfguard" in str(each) for each in classes)


def check_refusing_scopes(**kwargs: Any) -> list[CheckMessage]:
    if conf.REDIS_URL or conf.REDIS_CACHE_ALIAS or check_types() or check_rates():
        return []
    closed = [
        name for name in scope_names() if scope_named(name).on_redis_failure == "refuse"
    ]
    return [
        Warning(
            f"The scope {name!r} refuses when Redis is away, and no Redis is set: its "
            "limits are kept in memory, and it never refuses for that.",
            hint="Set REDIS_URL or REDIS_CACHE_ALIAS.",
            id="perfguard.W106",
        )
        for name in closed
    ]


def check_shared_store(**kwargs: Any) -> list[CheckMessage]:
    if conf.REDIS_URL or conf.REDIS_CACHE_ALIAS:
        return []
    return [
        Warning(
            "PERFGUARD has no Redis: each process keeps limits of its own in memory, "
            "so that N worker processes admit N times the limit.",
            hint="Set REDIS_URL or REDIS_CACHE_ALIAS, or run one process with threads "
            "and add 'perfguard.W105' to SILENCED_SYSTEM_CHECKS.",
            id="perfguard.W105",
        )
    ]


ALL: tuple[Check, ...] = (
    *trusted_header.ALL,
    *api_keys.ALL,
    *tokens.ALL,
    *headers.ALL,
    *compression.ALL,
    *streaming.ALL,
    *sockets.ALL,
    *redirects.ALL,
    *fast_json.ALL,
    check_names,
    check_types,
    check_rates,
    check_redis,
    check_cache_timeouts,
    check_proxies,
    check_paths,
    check_refusing_scopes,
    check_views,
)
DEPLOY: tuple[Check, ...] = (
    *tokens.DEPLOY,
    *headers.DEPLOY,
    *compression.DEPLOY,
    *streaming.DEPLOY,
    *sockets.DEPLOY,
    check_shared_store,
)
