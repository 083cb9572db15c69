"""Scopes, and the plan of what one hit must pass."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed

from perfguard.conf import conf
from perfguard.exceptions import InvalidRate, InvalidSetting, UnknownScope
from perfguard.schema import DEFAULT_RATES
from perfguard.throttling.rates import Rate

ON_REDIS_FAILURE = ("memory", "refuse", "allow")
# A scope is part of keys and of the RateLimit fields, where it is a quoted string.
SCOPE_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,100}")
OPTIONS = {"rate", "count_refused", "on_redis_failure"}


@dataclass(frozen=True, slots=True)
class ScopedRate:
    """One rate of a scope. ``suffix`` ends its key: no two windows share one."""

    scope: str
    rate: Rate
    step_ms: int
    count_refused: bool
    on_redis_failure: str
    suffix: str
    policy: str  # its name in the RateLimit fields

    @classmethod
    def of(cls, scope: Scope, rate: Rate) -> ScopedRate:
        step_ms = rate.step_ms
        # Exact windows and buckets are written differently, so a limit that
        # crosses the threshold starts afresh.
        suffix = f"throttle:{scope.name}:{rate.period}{'' if step_ms == 1 else 'b'}"
        if scope.count_refused:
            # It keeps the newest hits up to its limit alone: not the window of a rate
            # with another limit.
            suffix += f"r{rate.limit}"
        policy = scope.policy or scope.name
        return cls(
            scope.name,
            rate,
            step_ms,
            scope.count_refused,
            scope.on_redis_failure,
            suffix,
            policy if len(scope.rates) == 1 else f"{policy}-{rate.period}",
        )


@dataclass(frozen=True, eq=False)  # compared, and hashed, as the object it is
class Scope:
    """A named set of rates that a request falls under; none at all when disabled.

    count_refused: refused hits lengthen the wait, as a penalty.
    on_redis_failure: "memory", "refuse" or "allow".
    policy: its name in the RateLimit fields; that of the scope, when empty.

    Make one once and keep it: what is derived from a scope is remembered for the
    object, and an equal one knows nothing of it.
    """

    name: str
    rates: tuple[Rate, ...]
    count_refused: bool = False
    on_redis_failure: str = "memory"
    policy: str = ""

    def __post_init__(self) -> None:
        if not SCOPE_NAME.fullmatch(self.name):
            raise InvalidSetting(
                f"{self.name!r} is no name for a scope: use letters, digits, '_', "
                "'-' and '.', at most 100."
            )
        if self.on_redis_failure not in ON_REDIS_FAILURE:
            raise InvalidSetting(
                f"on_redis_failure of the scope {self.name!r} is "
                f"{self.on_redis_failure!r}; use one of {', '.join(ON_REDIS_FAILURE)}."
            )

    @classmethod
    def read(cls, name: str, value: object, policy: str = "") -> Scope:
        """From a value of ``THROTTLE_RATES``: a rate, a list of rates, a mapping
        with ``rate``, ``count_refused`` and ``on_redis_failure``, or None.

        Raises InvalidRate or InvalidSetting.
        """
        options: Mapping[str, Any] = value if isinstance(value, Mapping) else {}
        if unknown := sorted(map(str, options.keys() - OPTIONS)):
            raise InvalidSetting(
                f"The scope {name!r} has no option {unknown[0]!r}; "
                f"use {', '.join(sorted(OPTIONS))}."
            )
        rates = options.get("rate", ()) if isinstance(value, Mapping) else value
        if isinstance(rates, str | bytes) or not isinstance(rates, Sequence | None):
            rates = (rates,)
        elif rates is not None and not rates:
            raise InvalidRate(f"The scope {name!r} has no rate; None is no limit.")
        count_refused = options.get("count_refused", False)
        if not isinstance(count_refused, bool):
            raise InvalidSetting(
                f"count_refused of the scope {name!r} is {count_refused!r}; "
                "use True or False."
            )
        failure = options.get("on_redis_failure", "memory")
        parsed = tuple(map(Rate.parse, rates or ()))
        return cls(name, parsed, count_refused, failure, policy)


class Plan:
    """All the limits that one hit of one identity must pass, each window once."""

    __slots__ = ("cached", "limits", "parts", "templates")

    def __init__(self, priced: Sequence[tuple[Scope, int]]) -> None:
        strictest: dict[str, tuple[ScopedRate, int]] = {}
        for scope, cost in priced:
            for scoped in (ScopedRate.of(scope, rate) for rate in scope.rates):
                other = strictest.setdefault(scoped.suffix, (scoped, cost))
                if (scoped.rate.limit, -cost) < (other[0].rate.limit, -other[1]):
                    strictest[scoped.suffix] = scoped, cost
        self.limits = tuple(strictest.values())
        # Whether a refusal may be repeated without asking the store: not where
        # refused hits are to be counted.
        self.cached = not any(scoped.count_refused for scoped, _ in self.limits)
        # What stores derive from a plan, by the store's own key.
        self.templates: dict[Any, Any] = {}
        self.parts: dict[str, Plan] = {}

    def part(self, on_redis_failure: str) -> Plan:
        """The limits whose scopes want this when Redis is away."""
        part = self.parts.get(on_redis_failure)
        if part is None:
            limits = tuple(
                limit
                for limit in self.limits
                if limit[0].on_redis_failure == on_redis_failure
            )
            part = self
            if limits != self.limits:
                part = Plan(())
                part.limits = limits
            self.parts[on_redis_failure] = part
        return part


Group = tuple[str, Plan]  # an identity and what its hit must pass


@lru_cache(maxsize=1024)
def scope_named(name: str) -> Scope:
    """The scope of that name in ``THROTTLE_RATES``, else in DRF's own setting.

    Raises UnknownScope, InvalidRate or InvalidSetting.
    """
    for rates in _sources():
        if name in rates:
            return Scope.read(name, rates[name])
    shown = repr(name)[:100]
    if "/" in name:
        raise UnknownScope(
            f"{shown} is a rate and not the name of a scope: give it a name in "
            "PERFGUARD['THROTTLE_RATES'], or make a Scope once with Scope.read()."
        )
    raise UnknownScope(
        f"PERFGUARD['THROTTLE_RATES'] has no rate for the scope {shown}. "
        "Add one, or None to leave it unlimited."
    )


def scope_names() -> list[str]:
    """All scopes that have a rate, or None in place of one."""
    return sorted({str(name) for rates in _sources() for name in rates})


def _sources() -> tuple[Mapping[str, Any], ...]:
    """Where rates are looked for, the first of them first."""
    rest = getattr(settings, "REST_FRAMEWORK", {})
    return (
        conf.THROTTLE_RATES,
        rest.get("DEFAULT_THROTTLE_RATES", {}),
        DEFAULT_RATES,
    )


@lru_cache(maxsize=4096)
def plan_for(*priced: tuple[str | Scope, int]) -> Plan:
    """The plan of (scope or its name, cost) pairs."""
    return Plan(
        [
            (scope_named(scope) if isinstance(scope, str) else scope, cost)
            for scope, cost in priced
        ]
    )


def valid_cost(cost: int) -> int:
    """Raises ValueError for a cost that is not a whole number of at least 1."""
    if type(cost) is not int or cost < 1:
        shown = repr(cost)[:40]
        raise ValueError(
            f"The cost of a hit is {shown}; use a whole number of at least 1."
        )
    return cost


def _reload(*, setting: str, **kwargs: Any) -> None:
    if setting in {"PERFGUARD", "REST_FRAMEWORK"}:
        scope_named.cache_clear()
        plan_for.cache_clear()


setting_changed.connect(_reload, dispatch_uid="perfguard.throttling.plans")
