"""What a client is told about its limits."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import cast

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from perfguard.conf import conf
from perfguard.throttling.plans import Plan
from perfguard.throttling.windows import Verdict, Window

QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"
PROBLEM_JSON = "application/problem+json"


def header_fields(verdicts: Sequence[Verdict]) -> dict[str, str]:
    """``RateLimit-Policy`` and ``RateLimit`` as of
    draft-ietf-httpapi-ratelimit-headers-11, and, where ``THROTTLE_HEADERS`` has
    "legacy", ``X-RateLimit-*`` of the window that will refuse first."""
    fields: dict[str, str] = {}
    wanted = conf.THROTTLE_HEADERS
    if "ietf" in wanted and (states := [_state(each) for each in verdicts]):
        fields["RateLimit-Policy"] = ", ".join([policy for policy, _ in states])
        fields["RateLimit"] = ", ".join([state for _, state in states])
    if "legacy" in wanted:
        windows = [window for verdict in verdicts for window in verdict.windows]
        fields |= _legacy_fields(windows) if windows else {}
    return fields


def _state(verdict: Verdict) -> tuple[str, str]:
    """Both fields' part of one verdict; on every answer, so made from its reply."""
    forms = [_forms(plan) for _, plan in verdict.groups]
    reply = verdict.reply
    numbers = [
        # Whole seconds, rounded up: nobody should come too early.
        number if at % 2 else -(-number // 1000)
        for at, number in enumerate(reply[1:], start=1)
    ]
    policy = ", ".join([policy for policy, _ in forms])
    return policy, ", ".join([state for _, state in forms]) % tuple(numbers)


def _forms(plan: Plan) -> tuple[str, str]:
    forms = plan.templates.get("fields")
    if forms is None:
        forms = plan.templates["fields"] = (
            ", ".join(
                f'"{scoped.policy}";q={scoped.rate.limit};w={scoped.rate.period}'
                for scoped, _ in plan.limits
            ),
            ", ".join(f'"{scoped.policy}";r=%d;t=%d' for scoped, _ in plan.limits),
        )
    return cast("tuple[str, str]", forms)


def _legacy_fields(windows: Sequence[Window]) -> dict[str, str]:
    tightest = min(windows, key=lambda window: (window.allowed, window.remaining))
    return {
        "X-RateLimit-Limit": str(tightest.rate.limit),
        "X-RateLimit-Remaining": str(tightest.remaining),
        "X-RateLimit-Reset": str(ceil(tightest.reset_after)),
    }


def refusal(request: HttpRequest, verdict: Verdict) -> HttpResponse:
    """429, or 503 where a scope refuses for want of Redis; with ``Retry-After``, and
    as problem details (RFC 9457) for whoever accepts them."""
    status = 503 if verdict.unavailable else 429
    detail = explanation(verdict)
    if accepts_problem(request):
        response = problem(status, detail, verdict)
    else:
        response = JsonResponse({"detail": detail}, status=status)
    for name, value in header_fields([verdict]).items():
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
        body["violated-policies"] = [window.policy for window in verdict.refusing]
    body["detail"] = detail
    return JsonResponse(body, status=status, content_type=PROBLEM_JSON)
