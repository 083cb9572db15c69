"""Django 6's Content Security Policy, by the same names on Django 5.2.

On Django 6 these are Django's own. On 5.2 they stand in for ``django.utils.csp``,
``django.views.decorators.csp`` and ``django.template.context_processors.csp``; settings
are ``SECURE_CSP`` and ``SECURE_CSP_REPORT_ONLY`` on both.
"""

from __future__ import annotations

import secrets
import weakref
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

import django
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject, empty

from perfguard.headers.answers import on_answer

View = TypeVar("View", bound=Callable[..., Any])

if not TYPE_CHECKING and django.VERSION >= (6,):
    from django.utils.csp import CSP, LazyNonce, build_policy, generate_nonce
else:

    class CSP(StrEnum):
        HEADER_ENFORCE = "Content-Security-Policy"
        HEADER_REPORT_ONLY = "Content-Security-Policy-Report-Only"

        NONE = "'none'"
        REPORT_SAMPLE = "'report-sample'"
        SELF = "'self'"
        STRICT_DYNAMIC = "'strict-dynamic'"
        UNSAFE_EVAL = "'unsafe-eval'"
        UNSAFE_HASHES = "'unsafe-hashes'"
        UNSAFE_INLINE = "'unsafe-inline'"
        WASM_UNSAFE_EVAL = "'wasm-unsafe-eval'"

        # A place for the nonce of each answer, never sent as it is.
        NONCE = "<CSP_NONCE_SENTINEL>"

    def generate_nonce() -> str:
        return secrets.token_urlsafe(16)

    class LazyNonce(SimpleLazyObject):  # type: ignore[type-arg]
        """Made when it is first read; true once it is made."""

        def __init__(self) -> None:
            super().__init__(generate_nonce)

        def __bool__(self) -> bool:
            return self._wrapped is not empty

    def build_policy(config: Mapping[str, Any], nonce: Any = None) -> str:
        directives = []
        for name, value in config.items():
            if value is None or value is False:
                continue
            sources = [] if value is True else _with_nonce(_listed(value), nonce)
            if sources or value is True:
                directives.append(" ".join([name, *sources]))
        return "; ".join(directives)

    def _listed(value: Any) -> Iterable[str]:
        if isinstance(value, set | frozenset):
            return sorted(value)  # a set has another order in each process
        return value if isinstance(value, list | tuple) else [value]

    def _with_nonce(sources: Iterable[str], nonce: Any) -> list[str]:
        place = f"'nonce-{nonce}'" if nonce else ""
        named = (place if it == CSP.NONCE else it for it in sources)
        return [it for it in named if it]


class Nonce(LazyNonce):
    """The nonce of one answer. To read it keeps the answer out of Django's cache, which
    would send the page again with the nonce of another."""

    def __init__(self, request: HttpRequest) -> None:
        # A strong reference would be a circle, for the garbage collector to find.
        known = weakref.ref(request)

        def make() -> str:
            if (found := known()) is not None:
                found._cache_update_cache = False  # type: ignore[attr-defined]
            return generate_nonce()

        SimpleLazyObject.__init__(self, make)


def get_nonce(request: Any) -> Any:
    return getattr(request, "_csp_nonce", None)


def csp(request: HttpRequest) -> dict[str, Any]:
    """The context processor of ``{{ csp_nonce }}``."""
    nonce = get_nonce(request)
    if nonce is None:  # the site's policy has no place for one; a view's own may
        nonce = request._csp_nonce = Nonce(request)  # type: ignore[attr-defined]
    return {"csp_nonce": nonce}


def csp_override(config: Mapping[str, Any]) -> Callable[[View], View]:
    """That policy in place of the site's; an empty one sends no header."""
    return _override("_csp_config", config)


def csp_report_only_override(config: Mapping[str, Any]) -> Callable[[View], View]:
    return _override("_csp_ro_config", config)


def _override(attribute: str, config: Mapping[str, Any]) -> Callable[[View], View]:
    if not isinstance(config, dict):
        raise TypeError("CSP config should be a mapping.")
    return on_answer(lambda response: setattr(response, attribute, config))
