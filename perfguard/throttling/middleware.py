"""Path rules by address, and the limits' state in every answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from perfguard.conf import conf
from perfguard.exceptions import InvalidSetting
from perfguard.http.middleware import GetResponse, Middleware
from perfguard.throttling.answers import (
    PROBLEM_JSON,
    accepts_problem,
    header_fields,
    refusal,
)
from perfguard.throttling.identity import address_identity
from perfguard.throttling.plans import scope_named
from perfguard.throttling.requests import Ask, ask, record_of, recorded
from perfguard.throttling.windows import Verdict


@dataclass(frozen=True, slots=True)
class PathRule:
    """Requests whose path has a match fall under the scope."""

    path: re.Pattern[str]
    scope: str
    methods: frozenset[str]  # all of them, when empty

    @classmethod
    def read(cls, value: object) -> PathRule:
        """From an item of ``THROTTLE_PATHS``. Raises InvalidSetting."""
        if not isinstance(value, Mapping) or not {"path", "scope"} <= value.keys():
            raise _wrong(value, "needs the keys 'path' and 'scope'")
        if unknown := sorted(map(str, value.keys() - {"path", "scope", "methods"})):
            raise _wrong(value, f"has no key {unknown[0]!r}: path, scope, methods")
        methods = value.get("methods", ())
        if isinstance(methods, str) or not isinstance(methods, Sequence):
            raise _wrong(value, "'methods' is a list such as ['POST']")
        try:
            path = re.compile(value["path"])
        except (re.error, TypeError) as error:
            raise _wrong(value, f"'path' is no regular expression: {error}") from error
        scope_named(value["scope"])
        return cls(path, value["scope"], frozenset(map(str.upper, methods)))

    def matches(self, request: HttpRequest) -> bool:
        return (
            not self.methods or request.method in self.methods
        ) and self.path.search(request.path_info) is not None


def _wrong(value: object, reason: str) -> InvalidSetting:
    return InvalidSetting(f"PERFGUARD['THROTTLE_PATHS'] has {value!r}: {reason}.")


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
        refused = record.refused
        if (
            refused
            and response.status_code == 429
            and _wants_problem(request, response)
        ):
            response = refusal(request, refused)
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


def _wants_problem(request: HttpRequest, response: HttpResponseBase) -> bool:
    given: Any = response.headers.get("Content-Type", "")
    return accepts_problem(request) and not given.startswith(PROBLEM_JSON)
