"""What is known of one request, made into its entry when the answer is there."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from perfguard.audit.capture import Capture, capture_request
from perfguard.audit.entries import (
    COMPLETED,
    FAILED,
    REFUSED,
    REQUEST,
    Entry,
    new_id,
    now,
)
from perfguard.audit.models import LONGEST
from perfguard.audit.wanted import BODIES_OF
from perfguard.conf import conf
from perfguard.http.actor import Actor
from perfguard.http.client_ip import client_address
from perfguard.redaction.bodies import redact_body, redact_headers
from perfguard.redaction.header_fields import redact_agent
from perfguard.redaction.urls import redact_path, redact_url

ERROR = "_perfguard_audit_error"  # the class of an exception that no view caught
REFUSER = "_perfguard_audit_refuser"
CSRF = "django.middleware.csrf.CsrfViewMiddleware"
REFUSERS = {401: "authentication", 403: "permission", 405: "method", 429: "throttle"}


class Size(NamedTuple):
    """Of a body of which nothing is kept."""

    size: int


Received = Capture | Size


class Watch:
    def __init__(self, request: HttpRequest, level: str) -> None:
        self.request = request
        self._id = new_id()
        self._at = now()
        self._started = time.perf_counter_ns()
        self._level = level
        of_request, self.keeps_response = BODIES_OF[level]
        self._sent = capture_request(request) if of_request else None

    def entry(
        self,
        actor: Actor,
        response: HttpResponseBase | None,
        received: Received | None,
        outcome: str = "",
        error: str = "",
    ) -> Entry:
        """``received`` is what was captured of the response; None: nothing of it is
        known."""
        request = self.request
        status = response.status_code if response is not None else None
        error = error or getattr(request, ERROR, "")
        match = request.resolver_match
        meta = request.META
        return Entry(
            entry_id=self._id,
            at=self._at,
            kind=REQUEST,
            level=self._level,
            method=(request.method or "")[:16],
            url=self._url()[: LONGEST["url"]],
            route=match.route[: LONGEST["route"]] if match else "",
            status=status,
            outcome=outcome or _outcome(status, error),
            refused_by=_refuser(request, status),
            error=error[:255],
            duration_us=(time.perf_counter_ns() - self._started) // 1000,
            bytes_in=self._bytes_in(),
            bytes_out=received.size if received is not None else None,
            actor_kind=actor.kind,
            actor_id=actor.id[: LONGEST["actor_id"]],
            actor_label=actor.label[: LONGEST["actor_label"]],
            address=client_address(request),
            user_agent=redact_agent(
                meta.get("HTTP_USER_AGENT", "")[: LONGEST["user_agent"]]
            ),
            request_id=word(request, "request_id")[: LONGEST["request_id"]],
            trace_id=word(request, "trace_id")[:32],
            marker=actor.marker[: LONGEST["marker"]],
            **self._bodies(response, received),
        )

    def _url(self) -> str:
        query = self.request.META.get("QUERY_STRING", "")
        return redact_url(shown_path(self.request), query)

    def _bodies(
        self, response: HttpResponseBase | None, received: Received | None
    ) -> dict[str, Any]:
        if self._sent is None:
            return {}
        of_request = self._of_request(self._sent)
        if not self.keeps_response or not isinstance(received, Capture):
            return of_request
        assert response is not None
        return of_request | _of_response(response, received)

    def _bytes_in(self) -> int | None:
        if self._sent is not None and self._sent.size:
            return self._sent.size
        return self._declared()

    def _declared(self) -> int | None:
        text = self.request.META.get("CONTENT_LENGTH")
        if not text and "HTTP_TRANSFER_ENCODING" not in self.request.META:
            return 0
        if not text or not text.isascii() or not text.isdecimal() or len(text) > 18:
            return None
        return int(text)

    def _of_request(self, sent: Capture) -> dict[str, Any]:
        request, content = self.request, sent.content()
        # A view may leave a body unread, or a part of it.
        is_whole = len(content) >= max(sent.size, self._declared() or 0)
        body, is_cut = _redacted(
            content,
            request.META.get("CONTENT_TYPE", ""),
            request.META.get("HTTP_CONTENT_ENCODING", ""),
            is_whole=is_whole,
        )
        return {
            "request_headers": redact_headers(request.headers.items()),
            "request_body": body,
            "request_truncated": is_cut or not is_whole,
        }

    def received(self, response: HttpResponse) -> Received:
        if not self.keeps_response:
            return Size(len(response.content))
        capture = Capture()
        capture.add(response.content)
        return capture


def _of_response(response: HttpResponseBase, received: Capture) -> dict[str, Any]:
    content = received.content()
    is_whole = len(content) == received.size
    body, is_cut = _redacted(
        content,
        response.headers.get("Content-Type", ""),
        response.headers.get("Content-Encoding", ""),
        is_whole=is_whole,
    )
    cookies = [
        ("Set-Cookie", each.OutputString()) for each in response.cookies.values()
    ]
    return {
        "response_headers": redact_headers([*response.headers.items(), *cookies]),
        "response_body": body,
        "response_truncated": is_cut or not is_whole,
    }


def _redacted(
    content: bytes, content_type: str, coding: str, *, is_whole: bool
) -> tuple[str, bool]:
    if coding and coding.lower() != "identity":
        content_type = "application/octet-stream"  # what is in it cannot be seen
    if not content or not conf.AUDIT_BODY_BYTES:
        return "", bool(content)
    return redact_body(
        content, content_type, complete=is_whole, limit=conf.AUDIT_BODY_BYTES
    )


def word(request: Any, name: str) -> str:
    """An attribute that others may have set, to whatever they like."""
    return str(getattr(request, name, None) or "")


def shown_path(request: Any) -> str:
    """Without what a route calls a secret, as in ``/reset/<token>/``."""
    path: str = getattr(request, "path", "") or ""
    match = getattr(request, "resolver_match", None)
    if match is not None and match.kwargs:
        path = redact_path(path, match.kwargs)
    return path


def _outcome(status: int | None, error: str) -> str:
    if error or status is None or status >= 500:
        return FAILED
    return REFUSED if status in REFUSERS else COMPLETED


def _refuser(request: HttpRequest, status: int | None) -> str:
    """Which layer, as far as it told; else what the status means."""
    if status is None or status < 400:
        return ""
    told: str = getattr(request, REFUSER, "")
    if told and status in {400, 401, 403, 404, 503}:
        return told
    if status == 403 and _failed_csrf(request):
        return "csrf"
    return REFUSERS.get(status, "")


def _failed_csrf(request: HttpRequest) -> bool:
    match = request.resolver_match
    return (
        match is not None
        and CSRF in settings.MIDDLEWARE
        and request.method not in {"GET", "HEAD", "OPTIONS", "TRACE"}
        and not getattr(request, "csrf_processing_done", False)
        and not getattr(match.func, "csrf_exempt", False)
        and not getattr(request, "_dont_enforce_csrf_checks", False)
    )
