"""Which views are throttled by what, read from the URL configuration.

It knows views by their attributes, so that it needs no DRF.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.urls import URLPattern, get_resolver

from perfguard.conf import given
from perfguard.exceptions import InvalidSetting
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
    views = {_name(view): view for view in _views(get_resolver(urlconf).url_patterns)}
    return [_read(name, view) for name, view in views.items()]


def _views(patterns: Any) -> Iterator[Any]:
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            yield pattern.callback
        else:
            yield from _views(pattern.url_patterns)


def _name(view: Any) -> str:
    kind = _class(view) or view
    name = getattr(kind, "__qualname__", type(kind).__qualname__)
    return f"{kind.__module__}.{name}"


def _class(view: Any) -> Any:
    return getattr(view, "cls", None) or getattr(view, "view_class", None)


def _read(name: str, view: Any) -> Throttled:
    classes = list(getattr(_class(view), "throttle_classes", ()))
    ours = [each for each in classes if hasattr(each, "asks")]
    scopes = [*getattr(view, SCOPES_ATTRIBUTE, ()), *_scopes_of_paths()]
    # A rate that was written at the view itself is no name.
    errors = [_error_of_name(scope) for scope in scopes if "/" not in scope]
    for each in ours:
        scope = each.scope or getattr(_class(view), getattr(each, "scope_attr", ""), "")
        if scope:
            scopes.append(scope)
            errors.append(_error(each, scope))
    foreign = [each.__qualname__ for each in classes if ours and each not in ours]
    return Throttled(name, tuple(scopes), tuple(foreign), tuple(filter(None, errors)))


def _scopes_of_paths() -> list[str]:
    # A path may match any view; a scope that a view counts too is a mistake in all.
    paths = given().get("THROTTLE_PATHS", ())
    found = [
        rule["scope"] for rule in paths if isinstance(rule, dict) and "scope" in rule
    ]
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
