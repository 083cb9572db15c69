"""Headers of single views."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from perfguard.headers.answers import on_answer
from perfguard.headers.csp import csp_override, csp_report_only_override
from perfguard.headers.layers import POLICIES, read_header
from perfguard.headers.middleware import WITHOUT
from perfguard.headers.sign_out import ATTRIBUTE
from perfguard.headers.values import read_name

__all__ = [
    "csp_override",
    "csp_report_only_override",
    "security_headers",
    "security_headers_exempt",
    "signs_out",
]

View = TypeVar("View", bound=Callable[..., Any])
FIRST_ERROR = 400


def security_headers(headers: Mapping[str, Any]) -> Callable[[View], View]:
    """These headers in place of the site's; None: not sent.

    ``@security_headers({"X-Frame-Options": "SAMEORIGIN", "X-Download-Options": None})``
    What the view itself sets stays. Raises InvalidSetting for a wrong value, and for a
    content security policy, which ``csp_override`` sets.
    """
    values = {read_name(name): read_header(name, it) for name, it in headers.items()}
    own = {name: it for name, it in values.items() if isinstance(it, str)}
    without = frozenset(name.lower() for name, it in values.items() if it is None)
    if any(name.lower() in POLICIES and values[name] is not None for name in values):
        raise TypeError("Set a policy by csp_override or csp_report_only_override.")

    def mark(response: Any) -> None:
        for name, value in own.items():
            response.headers.setdefault(name, value)
        if without:
            setattr(
                response, WITHOUT, without | getattr(response, WITHOUT, frozenset())
            )

    return on_answer(mark)


def security_headers_exempt(view: View) -> View:
    """None of the site's headers, save those of ``HEADERS_FORCE``."""
    mark: Callable[[View], View] = on_answer(
        lambda response: setattr(response, WITHOUT, frozenset({"*"}))
    )
    return mark(view)


def signs_out(view: View) -> View:
    """The answers of this view carry ``Clear-Site-Data``, where that is set, unless
    they are errors. Those of Django's own sign-out do so by themselves."""

    def mark(response: Any) -> None:
        if response.status_code < FIRST_ERROR:
            setattr(response, ATTRIBUTE, True)

    marked: Callable[[View], View] = on_answer(mark)
    return marked(view)
