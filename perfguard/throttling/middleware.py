"""Path rules by address, and the limits' state in every answer."""

from __future__ import annotations

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from perfguard.conf import conf
from perfguard.http.middleware import GetResponse, Middleware
from perfguard.throttling.answers import (
    become_problem,
    header_fields,
    refusal,
    refusal_status,
)
from perfguard.throttling.identity import address_identity
from perfguard.throttling.paths import PathRule
from perfguard.throttling.plans import scope_named
from perfguard.throttling.requests import Ask, ask, record_of, recorded
from perfguard.throttling.windows import Verdict


class ThrottleMiddleware(Middleware):
    """All rules that match a request are asked in one call."""

    def __init__(self, get_response: GetResponse) -> None:
        super().__init__(get_response)
        self.rules = [PathRule.read(value) for value in conf.THROTTLE_PATHS]

    def before(self, request: HttpRequest) -> HttpResponseBase | None:
        if asks := self._asks(request):
            return _answer(request, record_of(request).decide(asks))
        return None

    async def abefore(self, request: HttpRequest) -> HttpResponseBase | None:
        # The gate takes a thread only where it must wait for Redis.
        if asks := self._asks(request):
            return _answer(request, await record_of(request).adecide(asks))
        return None

    def after(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        record = recorded(request)
        if record is None:
            return response
        refused = record.unavailable or record.refused
        if refused and response.status_code == refusal_status(refused):
            become_problem(request, response, refused)
        for name, value in header_fields(record.verdicts).items():
            response.headers[name] = value
        return response

    def _asks(self, request: HttpRequest) -> list[Ask]:
        rules = [rule for rule in self.rules if rule.matches(request)]
        identity = address_identity(request) if rules else ""
        return [ask(identity, scope_named(rule.scope)) for rule in rules]


def _answer(request: HttpRequest, verdict: Verdict | None) -> HttpResponseBase | None:
    if verdict is None or verdict.allowed:
        return None
    return refusal(request, verdict)
