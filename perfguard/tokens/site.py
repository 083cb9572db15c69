"""What the project does with tokens, as its settings and views say; for the checks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.db import connections

from perfguard.http.routes import all_views, view_class, view_name, view_option
from perfguard.tokens.claims import simple_jwt
from perfguard.tokens.simplejwt import TOKEN_CLASSES

OURS = "perfguard.tokens.authentication"
ENDING = {"TokenRefreshView", "TokenBlacklistView"}  # simplejwt's


def algorithm() -> str:
    return str(simple_jwt().get("ALGORITHM", "HS256"))


def in_use() -> bool:
    """Whether the project has perfguard check its tokens, in one view at least."""
    rest = getattr(settings, "REST_FRAMEWORK", {})
    classes = [*rest.get("DEFAULT_AUTHENTICATION_CLASSES", ()), *_token_classes()]
    return any("perfguard.tokens" in str(each) for each in classes) or any(
        OURS in _modules(each) for _, each in authenticators()
    )


def authenticators() -> Iterator[tuple[str, Any]]:
    """Each view's name, with each of its classes."""
    for _, view in all_views() if getattr(settings, "ROOT_URLCONF", None) else ():
        for each in view_option(view, "authentication_classes"):
            yield view_name(view), each


def undone_views() -> set[str]:
    """Views that end sessions in a transaction of the request's."""
    aliases = {
        alias
        for alias, options in connections.settings.items()
        if options.get("ATOMIC_REQUESTS")
    }
    views = all_views() if aliases and getattr(settings, "ROOT_URLCONF", None) else ()
    return {
        view_name(view)
        for _, view in views
        if aliases - getattr(view, "_non_atomic_requests", set())
        and any(each.__name__ in ENDING for each in _simplejwts(view_class(view)))
    }


def _simplejwts(kind: Any) -> Iterator[Any]:
    for each in getattr(kind, "__mro__", ()):
        if each.__module__ == "rest_framework_simplejwt.views":
            yield each


def _modules(kind: Any) -> list[str]:
    return [each.__module__ for each in getattr(kind, "__mro__", ())]


def _token_classes() -> Iterator[Any]:
    for name in TOKEN_CLASSES:
        value = simple_jwt().get(name, ())
        yield from value if isinstance(value, list | tuple) else [value]


def is_stock(kind: Any) -> bool:
    modules = _modules(kind)
    return "rest_framework_simplejwt.authentication" in modules and OURS not in modules
