"""System checks of throttles.

perfguard.E003  a wrong rate              perfguard.W104  DRF's own throttles as well
perfguard.E006  THROTTLE_PATHS            perfguard.W105  limits in process memory
perfguard.E007  a throttle without a rate perfguard.W106  "refuse", and no Redis
perfguard.W103  a scope counted twice
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

from perfguard.conf import conf, given, mistyped
from perfguard.exceptions import InvalidSetting
from perfguard.throttling.middleware import ThrottleMiddleware
from perfguard.throttling.paths import PathRule
from perfguard.throttling.plans import Scope, scope_named, scope_names
from perfguard.throttling.urls import Throttled, throttled_views

Check = Callable[..., list[CheckMessage]]


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
    if conf.REDIS_URL or conf.REDIS_CACHE_ALIAS or mistyped() or check_rates():
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
    check_rates,
    check_paths,
    check_refusing_scopes,
    check_views,
)
DEPLOY: tuple[Check, ...] = (check_shared_store,)
