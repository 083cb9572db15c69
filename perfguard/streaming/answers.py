"""What a client is told that cannot have a stream just now."""

from __future__ import annotations

import json
from math import ceil

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.cache import patch_vary_headers
from django.utils.translation import gettext as _

from perfguard.conf import conf
from perfguard.streaming.slots import IDENTITY

PROBLEM_JSON = "application/problem+json"
TITLES = {429: "Too Many Requests", 503: "Service Unavailable"}


def no_room(request: HttpRequest, whose: str) -> HttpResponse:
    if whose == IDENTITY:
        detail = _("You have too many open streams. Close one, or try again later.")
        return _refusal(request, 429, "too_many_streams", detail)
    detail = _("There are too many open streams. Try again in a moment.")
    return _refusal(request, 503, "streams_full", detail)


def ending(request: HttpRequest) -> HttpResponse:
    detail = _("The server is about to restart. Try again in a moment.")
    return _refusal(request, 503, "restarting", detail)


def _refusal(request: HttpRequest, status: int, code: str, detail: str) -> HttpResponse:
    """As problem details (RFC 9457) for whoever names their media type."""
    response: HttpResponse
    if PROBLEM_JSON in request.headers.get("Accept", "").lower():
        body = {"title": TITLES[status], "status": status, "detail": detail}
        text = json.dumps(body | {"code": code})
        response = HttpResponse(text, PROBLEM_JSON, status)
    else:
        response = JsonResponse({"detail": detail, "code": code}, status=status)
    patch_vary_headers(response, ["Accept"])
    response.headers["Retry-After"] = str(ceil(conf.STREAM_RETRY_MS / 1000))
    return response
