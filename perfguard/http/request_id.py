"""One id for a request: in its answer, on its log lines, and for who asks later."""

from __future__ import annotations

import logging
import os
import re
from contextvars import ContextVar
from typing import Any

from django.core.signals import request_finished
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from perfguard.conf import conf
from perfguard.http.client_ip import UNIX, is_trusted
from perfguard.http.middleware import GetResponse, Middleware

# What is taken from a client ends up in logs, and stays one word there.
WELL_FORMED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")
NONE = "-"

_current: ContextVar[str] = ContextVar("perfguard_request_id", default=NONE)


def current_request_id() -> str:
    """The id of the request that this thread or task works for; ``"-"`` for none."""
    return _current.get()


def work_for(request_id: str) -> None:
    """Tell it to a thread that works for a request, and began without its context."""
    _current.set(request_id)


class RequestIdMiddleware(Middleware):
    """Sets ``request.request_id`` and the answer's ``REQUEST_ID_HEADER``.

    A well-formed id that came with the request is taken, from whom
    ``REQUEST_ID_FROM`` says; else a new one is made (128 random bits, as in W3C Trace
    Context).
    """

    def __init__(self, get_response: GetResponse) -> None:
        super().__init__(get_response)
        # Not when the middleware is left: a stream works for its request until its end.
        request_finished.connect(_forget, dispatch_uid="perfguard.http.request_id")

    def before(self, request: HttpRequest) -> HttpResponseBase | None:
        name = given_id(request) or os.urandom(16).hex()
        request.request_id = name  # type: ignore[attr-defined]
        _current.set(name)
        return None

    def after(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        if conf.REQUEST_ID_HEADER:
            response.headers[conf.REQUEST_ID_HEADER] = request.request_id  # type: ignore[attr-defined]
        return response


def given_id(request: HttpRequest) -> str:
    """The id that came with the request; empty when there is none to be taken."""
    if not conf.REQUEST_ID_HEADER or conf.REQUEST_ID_FROM == "nobody":
        return ""
    key = "HTTP_" + conf.REQUEST_ID_HEADER.upper().replace("-", "_")
    given: str = request.META.get(key, "")
    if not given or not WELL_FORMED.fullmatch(given):
        return ""
    if conf.REQUEST_ID_FROM == "proxies":
        return given if is_trusted(request.META.get("REMOTE_ADDR") or UNIX) else ""
    return given


class RequestIdFilter(logging.Filter):
    """Gives each record a ``request_id``, for ``{request_id}`` in a format."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = _current.get()
        return True


def _forget(**kwargs: Any) -> None:
    _current.set(NONE)
