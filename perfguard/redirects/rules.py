"""Redirects by path: items of ``REDIRECTS``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

from django.http import HttpRequest
from django.urls import get_script_prefix

from perfguard.exceptions import InvalidSetting

KEYS = {"path", "to", "query", "status", "methods", "carry_query"}
STATUSES = (301, 302, 303, 307, 308)
Pattern = re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Redirect:
    """Requests whose path has a match, and whose query has all of ``query``."""

    path: Pattern
    to: str
    query: tuple[tuple[str, Pattern], ...] = ()
    status: int = 307
    methods: frozenset[str] = frozenset({"GET", "HEAD"})
    carry_query: bool = True

    @classmethod
    def read(cls, value: object) -> Redirect:
        """From an item of ``REDIRECTS``. Raises InvalidSetting."""
        if not isinstance(value, Mapping) or not {"path", "to"} <= value.keys():
            raise _wrong(value, "needs the keys 'path' and 'to'")
        if unknown := sorted(map(str, value.keys() - KEYS)):
            raise _wrong(value, f"has no key {unknown[0]!r}: {', '.join(sorted(KEYS))}")
        path = _pattern(value, value["path"])
        query = _query(value)
        _check_target(value, [path, *(pattern for _, pattern in query)])
        return cls(path, value["to"], query, **_rest(value))

    def target(self, request: HttpRequest) -> str | None:
        """Where the request is to go; None when this is no rule for it."""
        if request.method not in self.methods:
            return None
        found = self.path.search(request.path_info)
        if found is None:
            return None
        values = found.groupdict("")
        for name, pattern in self.query:
            match = pattern.fullmatch(request.GET.get(name, ""))
            if match is None or name not in request.GET:
                return None
            values |= match.groupdict("")
        return self._url(values, request)

    def _url(self, values: Mapping[str, str], request: HttpRequest) -> str:
        path, mark, query = self.to.partition("?")
        url = path.format_map({k: quote(v, safe="/") for k, v in values.items()})
        if url.startswith("/"):
            # One slash: a browser takes what follows two for another host.
            url = get_script_prefix() + url.lstrip("/")
        query = query.format_map({k: quote_plus(v) for k, v in values.items()})
        carried = self._carried(request) if self.carry_query else ""
        query = "&".join(filter(None, [query, carried]))
        return f"{url}?{query}" if query or mark else url

    def _carried(self, request: HttpRequest) -> str:
        if not request.META.get("QUERY_STRING"):
            return ""
        rest = request.GET.copy()
        for name, _ in self.query:
            rest.pop(name, None)
        return rest.urlencode()


def _rest(value: Mapping[str, Any]) -> dict[str, Any]:
    status = value.get("status", 307)
    if status not in STATUSES:
        raise _wrong(value, f"'status' is one of {', '.join(map(str, STATUSES))}")
    methods = value.get("methods", ("GET",))
    if isinstance(methods, str) or not isinstance(methods, Sequence):
        raise _wrong(value, "'methods' is a list such as ['GET']")
    named = frozenset(str(each).upper() for each in methods)
    carry_query = value.get("carry_query", True)
    if not isinstance(carry_query, bool):
        raise _wrong(value, "'carry_query' is True or False")
    # HEAD with GET, as Django runs the same view.
    methods = named | {"HEAD"} if "GET" in named else named
    return {"status": status, "methods": methods, "carry_query": carry_query}


def _query(value: Mapping[str, Any]) -> tuple[tuple[str, Pattern], ...]:
    query = value.get("query", {})
    if not isinstance(query, Mapping):
        raise _wrong(value, "'query' is a dictionary of names and regular expressions")
    return tuple((str(name), _pattern(value, text)) for name, text in query.items())


def _pattern(value: object, text: Any) -> Pattern:
    try:
        return re.compile(text)
    except (re.error, TypeError) as error:
        raise _wrong(value, f"{text!r} is no regular expression: {error}") from error


def _check_target(value: Mapping[str, Any], patterns: Iterable[Pattern]) -> None:
    to = value["to"]
    names = {name for pattern in patterns for name in pattern.groupindex}
    try:
        used = [part[1:] for part in Formatter().parse(to) if part[1] is not None]
    except (TypeError, ValueError) as error:
        raise _wrong(value, f"'to' is no template: {error}") from error
    for name, *form in used:
        if name not in names or any(form):
            raise _wrong(
                value, f"'to' uses {{{name}}}, which no pattern has as a group"
            )
    if reason := _unsafe(to):
        raise _wrong(value, reason)


def _unsafe(to: str) -> str:
    """Why a template might lead to a host that the setting does not name."""
    if re.search(r"[\x00-\x20\x7f\\#]", to):
        return "'to' has a blank, a control character, a backslash or a fragment"
    if to.startswith("/") and not to.startswith("//"):
        return ""
    parts = urlsplit(to)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return "'to' is a path from the root, or a URL of http or https"
    if "{" in parts.netloc or ("{" in to and not parts.path.startswith("/")):
        return "'to' has a host that the client may choose: write it out, with a slash"
    return "'to' has credentials" if "@" in parts.netloc else ""


def _wrong(value: object, reason: str) -> InvalidSetting:
    return InvalidSetting(f"PERFGUARD['REDIRECTS'] has {value!r}: {reason}.")
