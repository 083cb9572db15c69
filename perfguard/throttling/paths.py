"""Rules by path: items of ``THROTTLE_PATHS``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.http import HttpRequest

from perfguard.exceptions import InvalidSetting
from perfguard.throttling.plans import scope_named


def with_head(methods: Iterable[str]) -> frozenset[str]:
    """The methods in upper case; HEAD with GET, as Django runs the same view."""
    named = frozenset(map(str.upper, methods))
    return named | {"HEAD"} if "GET" in named else named


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
        return cls(path, value["scope"], with_head(methods))

    def matches(self, request: HttpRequest) -> bool:
        return (
            not self.methods or request.method in self.methods
        ) and self.path.search(request.path_info) is not None


def _wrong(value: object, reason: str) -> InvalidSetting:
    return InvalidSetting(f"PERFGUARD['THROTTLE_PATHS'] has {value!r}: {reason}.")
