"""What a client is told about its limits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import ceil
from typing import cast

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
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
    wanted = conf.THROTTLE_HEADERS
    verdicts = [each for each in verdicts if each.told]
    if not verdicts:
        return {}
    fields = _ietf_fields(verdicts) if "ietf" in wanted else {}
    if "legacy" in wanted:
        fields |= _legacy_fields([each for it in verdicts for each in it.windows])
    return fields


def _ietf_fields(verdicts: Sequence[Verdict]) -> dict[str, str]:
    if len(verdicts) == 1:  # as for nearly every answer
        policy, state = _state(verdicts[0])
        return {"RateLimit-Policy": policy, "RateLimit": state}
    policies, states = zip(*map(_state, verdicts), strict=True)
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(states)}


def _state(verdict: Verdict) -> tuple[str, str]:
    """Both fields' part of one verdict; on every answer, so made from its reply."""
    _, *numbers = verdict.reply
    # Whole seconds, rounded up: nobody should come too early.
    for at in range(1, len(numbers), 2):
        numbers[at] = -(-numbers[at] // 1000)
    if len(verdict.groups) == 1:
        policy, form = _forms(verdict.groups[0][1])
        return policy, form % tuple(numbers)
    policies, forms = zip(*[_forms(plan) for _, plan in verdict.groups], strict=True)
    return ", ".join(policies), ", ".join(forms) % tuple(numbers)


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
    response: HttpResponse = JsonResponse(
        {"detail": explanation(verdict)}, status=refusal_status(verdict)
    )
    become_problem(request, response, verdict)
    for name, value in header_fields([verdict]).items():
        response.headers[name] = value
    response.headers["Retry-After"] = str(verdict.retry_after)
    return response


def refusal_status(verdict: Verdict) -> int:
    return 503 if verdict.unavailable else 429


def become_problem(
    request: HttpRequest, response: HttpResponseBase, verdict: Verdict
) -> None:
    """Turn the body of a refusal into problem details, where they are accepted."""
    patch_vary_headers(response, ["Accept"])
    # Said in so many words: "*/*" is a client that would rather have what it knows.
    accepted = PROBLEM_JSON in request.headers.get("Accept", "").lower()
    if accepted and isinstance(response, HttpResponse):
        response.content = json.dumps(problem(verdict)).encode()
        response.headers["Content-Type"] = PROBLEM_JSON
        if "Content-Length" in response.headers:
            response.headers["Content-Length"] = str(len(response.content))


def explanation(verdict: Verdict) -> str:
    if verdict.unavailable:
        return _("Limits cannot be checked just now. Try again in a moment.")
    wait = verdict.retry_after
    return ngettext(
        "Too many requests. Try again in %(wait)d second.",
        "Too many requests. Try again in %(wait)d seconds.",
        wait,
    ) % {"wait": wait}


def problem(verdict: Verdict) -> dict[str, object]:
    body: dict[str, object] = {"title": "Service Unavailable", "status": 503}
    if not verdict.unavailable:
        body = {"type": QUOTA_EXCEEDED, "title": "Too Many Requests", "status": 429}
        body["violated-policies"] = [window.policy for window in verdict.refusing]
    return body | {"detail": explanation(verdict)}
