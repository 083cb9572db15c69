"""What a client is told about its limits."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from perfguard.conf import conf
from perfguard.throttling.windows import Verdict, Window

QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"
PROBLEM_JSON = "application/problem+json"


def header_fields(windows: Iterable[Window]) -> dict[str, str]:
    """``RateLimit-Policy`` and ``RateLimit`` as of
    draft-ietf-httpapi-ratelimit-headers-11, and, where ``THROTTLE_HEADERS`` has
    "legacy", ``X-RateLimit-*`` of the window that will refuse first."""
    windows = list(windows)
    fields: dict[str, str] = {}
    if not windows:
        return fields
    if "ietf" in conf.THROTTLE_HEADERS:
        names = policy_names(windows)
        fields["RateLimit-Policy"] = ", ".join(
            f'"{name}";q={window.rate.limit};w={window.rate.period}'
            for name, window in zip(names, windows, strict=True)
        )
        fields["RateLimit"] = ", ".join(
            f'"{name}";r={window.remaining};t={ceil(window.reset_after)}'
            for name, window in zip(names, windows, strict=True)
        )
    if "legacy" in conf.THROTTLE_HEADERS:
        tightest = min(windows, key=lambda window: (window.allowed, window.remaining))
        fields["X-RateLimit-Limit"] = str(tightest.rate.limit)
        fields["X-RateLimit-Remaining"] = str(tightest.remaining)
        fields["X-RateLimit-Reset"] = str(ceil(tightest.reset_after))
    return fields


def policy_names(windows: list[Window]) -> list[str]:
    """The scope, with its period in seconds where a scope has several rates."""
    scopes = [window.scope for window in windows]
    return [
        scope if scopes.count(scope) == 1 else f"{scope}-{window.rate.period}"
        for scope, window in zip(scopes, windows, strict=True)
    ]


def refusal(request: HttpRequest, verdict: Verdict) -> HttpResponse:
    """429, or 503 where a scope refuses for want of Redis; with ``Retry-After``, and
    as problem details (RFC 9457) for whoever accepts them."""
    status = 503 if verdict.unavailable else 429
    detail = explanation(verdict)
    if accepts_problem(request):
        response = problem(status, detail, verdict)
    else:
        response = JsonResponse({"detail": detail}, status=status)
    for name, value in header_fields(verdict.windows).items():
        response.headers[name] = value
    response.headers["Retry-After"] = str(verdict.retry_after)
    return response


def explanation(verdict: Verdict) -> str:
    if verdict.unavailable:
        return _("Limits cannot be checked just now. Try again in a moment.")
    wait = verdict.retry_after
    return ngettext(
        "Too many requests. Try again in %(wait)d second.",
        "Too many requests. Try again in %(wait)d seconds.",
        wait,
    ) % {"wait": wait}


def accepts_problem(request: HttpRequest) -> bool:
    # Said in so many words: "*/*" is a client that would rather have what it knows.
    return PROBLEM_JSON in request.headers.get("Accept", "").lower()


def problem(status: int, detail: str, verdict: Verdict) -> JsonResponse:
    body: dict[str, object] = {"title": "Service Unavailable", "status": status}
    if status == 429:
        body = {"type": QUOTA_EXCEEDED, "title": "Too Many Requests", "status": status}
        names = policy_names(list(verdict.windows))
        body["violated-policies"] = [
            name
            for name, window in zip(names, verdict.windows, strict=True)
            if not window.allowed
        ]
    body["detail"] = detail
    return JsonResponse(body, status=status, content_type=PROBLEM_JSON)
