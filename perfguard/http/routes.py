"""The views of the URL configuration, for system checks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.urls import URLPattern, get_resolver


def all_views(urlconf: str | None = None) -> Iterator[tuple[str, Any]]:
    """Route, from its slash, and view of each pattern."""
    yield from _views(get_resolver(urlconf).url_patterns, "/")


def _views(patterns: Any, start: str) -> Iterator[tuple[str, Any]]:
    for each in patterns:
        route = start + str(each.pattern)
        if isinstance(each, URLPattern):
            yield route, each.callback
        else:
            yield from _views(each.url_patterns, route)


def view_name(view: Any) -> str:
    kind = view_class(view) or view
    # DRF gives the class that it makes of a function that function's name.
    name = getattr(kind, "__name__", type(kind).__name__)
    return f"{getattr(kind, '__module__', '')}.{name}"


def view_class(view: Any) -> Any:
    """The class behind what ``as_view()`` or DRF's ``api_view`` returned, or None."""
    return getattr(view, "cls", None) or getattr(view, "view_class", None)


def view_option(view: Any, name: str) -> Any:
    """An attribute of a class-based view, as ``as_view()`` may have overridden it."""
    options = getattr(view, "initkwargs", None) or {}
    return options.get(name, getattr(view_class(view), name, ()))
