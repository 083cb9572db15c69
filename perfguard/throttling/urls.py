"""Which views are throttled by what, read from the URL configuration.

It knows views by their attributes, so that it needs no DRF.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from perfguard.conf import given
from perfguard.exceptions import InvalidSetting
from perfguard.http.routes import all_views, view_class, view_name, view_option
from perfguard.throttling.paths import PathRule
from perfguard.throttling.plans import Scope, scope_named

# Names of scopes, left on a view by the decorator.
SCOPES_ATTRIBUTE = "perfguard_scopes"


@dataclass(frozen=True, slots=True)
class Throttled:
    """A view, and the scopes it falls under by whichever door."""

    name: str
    scopes: tuple[str, ...]
    foreign: tuple[str, ...]  # throttles of another make, beside perfguard's
    errors: tuple[str, ...]

    @property
    def twice(self) -> list[str]:
        return sorted({each for each in self.scopes if self.scopes.count(each) > 1})


def throttled_views(urlconf: str | None = None) -> list[Throttled]:
    """Each view once, whatever number of patterns lead to it."""
    found: dict[str, Throttled] = {}
    for route, view in all_views(urlconf):
        throttled = _read(route, view)
        found.setdefault(repr(throttled), throttled)
    return list(found.values())


def _read(route: str, view: Any) -> Throttled:
    options = getattr(view, "initkwargs", None) or {}
    kind = view_class(view)
    classes = view_option(view, "throttle_classes")
    ours = [each for each in classes if hasattr(each, "asks")]
    scopes = list(getattr(view, SCOPES_ATTRIBUTE, ()))
    # A rate that was written at the view itself is no name.
    errors = [_error_of_name(scope) for scope in scopes if "/" not in scope]
    for each in ours:
        for scope in _scopes(each, kind, options):
            scopes.append(scope)
            errors.append(_error(each, scope))
    foreign = [each.__qualname__ for each in classes if ours and each not in ours]
    scopes += _scopes_of_paths(route)
    return Throttled(
        view_name(view), tuple(scopes), tuple(foreign), tuple(filter(None, errors))
    )


def _scopes(throttle: Any, kind: Any, options: Any) -> list[str]:
    attribute = getattr(throttle, "scope_attr", "")
    named = options.get(attribute, getattr(kind, attribute, "")) if attribute else ""
    found = [throttle.scope or named, getattr(throttle, "address_scope", "")]
    return [scope for scope in found if scope]


def _scopes_of_paths(route: str) -> list[str]:
    """Scopes of the path rules that match the route, its parameters filled in."""
    path = re.sub(r"<[^>]*>", "1", route)
    values = given().get("THROTTLE_PATHS", ())
    found = []
    for value in values if isinstance(values, list | tuple) else ():
        with suppress(InvalidSetting):
            rule = PathRule.read(value)
            if rule.path.search(path):
                found.append(rule.scope)
    return list(dict.fromkeys(found))


def _error(throttle: Any, scope: str) -> str:
    rates = throttle.THROTTLE_RATES or {}
    rate = throttle.rate if throttle.rate is not None else rates.get(scope)
    if rate is None:
        return _error_of_name(scope)
    try:
        Scope.read(scope, rate)
    except InvalidSetting as error:
        return str(error)
    return ""


def _error_of_name(scope: str) -> str:
    try:
        scope_named(scope)
    except InvalidSetting as error:
        return str(error)
    return ""
