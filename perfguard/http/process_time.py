"""How long the answer took to begin."""

from __future__ import annotations

import time
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from perfguard.conf import conf
from perfguard.http.middleware import GetResponse, Middleware


class ProcessTimeMiddleware(Middleware):
    """Sets ``PROCESS_TIME_HEADER``: decimal seconds until the answer's first byte.

    Of a stream that is the time until it begins; what comes after is not in a header.
    """

    def __init__(self, get_response: GetResponse, clock: Any = time.perf_counter):
        super().__init__(get_response)
        self.clock = clock

    def before(self, request: HttpRequest) -> HttpResponseBase | None:
        request.META["perfguard.started"] = self.clock()
        return None

    def after(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        if conf.PROCESS_TIME_HEADER:
            seconds = self.clock() - request.META["perfguard.started"]
            response.headers[conf.PROCESS_TIME_HEADER] = f"{seconds:.6f}"
        return response
