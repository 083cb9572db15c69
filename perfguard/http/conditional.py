"""Conditional requests: an ETag for what has none, and 304 to who has the answer."""

from __future__ import annotations

from hashlib import blake2b

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from django.utils.http import parse_http_date_safe

from perfguard.conf import conf
from perfguard.http.middleware import Middleware

CONDITIONS = frozenset(
    {
        "HTTP_IF_MATCH",
        "HTTP_IF_NONE_MATCH",
        "HTTP_IF_MODIFIED_SINCE",
        "HTTP_IF_UNMODIFIED_SINCE",
    }
)
# What describes a body, and has nothing to describe in a 304 (RFC 9110, 15.4.5).
OF_THE_BODY = (
    "Content-Type",
    "Content-Length",
    "Content-Encoding",
    "Content-Language",
    "Content-Disposition",
)


class ConditionalGetMiddleware(Middleware):
    """As Django's, for GET and HEAD, on the loop under ASGI.

    It stands inside compression: there the same answer is the same bytes. Streams,
    and all that changes something, are left to the view.
    """

    def after(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        if (
            not conf.CONDITIONAL_GET_ENABLED
            or request.method not in {"GET", "HEAD"}
            or response.status_code != 200
            or not isinstance(response, HttpResponse)
        ):
            return response
        if "ETag" not in response.headers and _is_worth_one(response):
            response.headers["ETag"] = _etag(response.content)
        if CONDITIONS.isdisjoint(request.META):
            return response
        return _answer(request, response)


def _is_worth_one(response: HttpResponse) -> bool:
    # To a HEAD, some views answer with a body, and all with the headers of a GET.
    return (
        0 < len(response.content) <= conf.CONDITIONAL_GET_MAX_BYTES
        and "no-store" not in response.headers.get("Cache-Control", "").lower()
    )


def _etag(body: bytes) -> str:
    # Not for secrecy: so that two bodies have the same one never, not even on purpose.
    return f'"{blake2b(body, digest_size=16).hexdigest()}"'


def _answer(request: HttpRequest, response: HttpResponse) -> HttpResponseBase:
    modified = response.headers.get("Last-Modified")
    answer = get_conditional_response(
        request,
        etag=response.headers.get("ETag"),
        last_modified=parse_http_date_safe(modified) if modified else None,
    )
    if answer is None:
        return response
    return _without_body(response, answer.status_code)


def _without_body(response: HttpResponse, status: int) -> HttpResponse:
    """The same answer, 304 or 412: with its cookies, its limits, its Vary."""
    response.status_code = status
    response.content = b""
    for name in OF_THE_BODY:
        del response.headers[name]
    return response
