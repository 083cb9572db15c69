"""Where an API key may be used: per key by route and method, for all keys by path.

A rule of a key is a line, ``GET,POST notes:list``: methods, or ``*`` for all, and a
target, which is one of

- the name of a URL, with its namespaces: ``notes:list``
- a route as the URL configuration spells it: ``/api/v1/notes/<int:pk>``
- a path and what lies below it: ``/api/v1/notes``

Names and routes are those that Django resolved the request to, so that no spelling of a
path leads around them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.http import HttpRequest
from django.urls import ResolverMatch, get_resolver
from django.urls.resolvers import URLPattern

from perfguard.conf import conf
from perfguard.http.routes import view_class, view_option

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
ANY = "*"
# A class or function with this attribute set to False is closed to all API keys.
OPEN = "api_keys_allowed"


@dataclass(frozen=True, slots=True)
class Rule:
    methods: frozenset[str]  # empty: all of them
    target: str

    @classmethod
    def parse(cls, line: str) -> Rule:
        """Raises ValueError, whose message says what is wrong."""
        words = line.split()
        if len(words) != 2:
            raise ValueError(
                f"{line[:100]!r} is no rule. Write methods and a target, as in "
                "'GET,POST notes:list' or '* /api/v1/notes'."
            )
        named = words[0].upper().split(",")
        unknown = [each for each in named if each not in METHODS]
        if unknown and named != [ANY]:
            raise ValueError(
                f"{unknown[0][:100]!r} is no method. Use {', '.join(METHODS)}, or "
                f"{ANY!r} for all."
            )
        return cls(frozenset() if named == [ANY] else frozenset(named), words[1])

    def allows(self, request: HttpRequest, match: ResolverMatch) -> bool:
        return self._has_method(request, match) and self._has_target(request, match)

    def _has_method(self, request: HttpRequest, match: ResolverMatch) -> bool:
        if not self.methods or request.method in self.methods:
            return True
        return (
            request.method == "HEAD"
            and "GET" in self.methods
            and _head_runs_get(match.func)
        )

    def _has_target(self, request: HttpRequest, match: ResolverMatch) -> bool:
        if not self.target.startswith("/"):
            return match.view_name == self.target
        if "<" in self.target:
            return f"/{match.route}" == self.target
        return covers(self.target, request.path_info)


def _head_runs_get(view: Any) -> bool:
    """Whether HEAD runs the very handler of GET. A function may tell them apart by
    itself, so that it cannot be known."""
    actions = getattr(view, "actions", None)  # of DRF's view sets
    if actions:
        get = actions.get("get")
        return get is not None and actions.get("head", get) == get
    kind = view_class(view)
    return hasattr(kind, "get") and not hasattr(kind, "head")


def covers(start: str, path: str) -> bool:
    """Whether a path is ``start`` or lies below it; a slash at the end of either
    changes nothing. ``start`` begins with a slash, and covers nothing else."""
    if not start.startswith("/") or not _is_plain(path):
        return False
    start = start.rstrip("/")
    return path == start or path.startswith(f"{start}/")


def _is_plain(path: str) -> bool:
    """Whether every reader of the path would take it apart in the same way. What is
    left of a percent sign was encoded twice."""
    parts = path.strip("/").split("/") if path != "/" else ["root"]
    return (
        path.isprintable()
        and not {"\\", "%"} & set(path)
        and not path.startswith("//")
        and not path.endswith("//")
        and not {"", ".", ".."} & set(parts)
    )


# -- decisions -------------------------------------------------------------------------


def is_allowed(
    request: HttpRequest, match: ResolverMatch, rules: str | None = None
) -> bool:
    """Whether a request by an API key may go on. ``rules`` are the key's own lines,
    None for a key that is not restricted; empty allows nothing."""
    if not _is_open(match.func):
        return False
    if conf.API_KEYS_ENDPOINT_RESTRICTIONS and not any(
        covers(entry, request.path_info) for entry in conf.API_KEYS_ALLOWED_ENDPOINTS
    ):
        return False
    return rules is None or any(rule.allows(request, match) for rule in _parsed(rules))


def match_of(request: HttpRequest) -> ResolverMatch:
    """As the request was resolved, or will be. Raises Resolver404, a Http404."""
    if request.resolver_match is not None:
        return request.resolver_match
    return get_resolver(getattr(request, "urlconf", None)).resolve(request.path_info)


def _is_open(view: Any) -> bool:
    return view_option(view, OPEN) is not False and getattr(view, OPEN, True)


@lru_cache(maxsize=1024)
def _parsed(text: str) -> tuple[Rule, ...]:
    """The rules that can be read. One that cannot allows nothing."""
    rules = []
    for line in text.splitlines():
        try:
            rules.append(Rule.parse(line))
        except ValueError:
            continue
    return tuple(rules)


# -- what exists -----------------------------------------------------------------------


def mistakes(lines: list[str]) -> Iterator[str]:
    """What is wrong with the rules of a key, a sentence for each."""
    if not all(line.strip() for line in lines):
        yield "A rule is empty."
    for line in filter(str.strip, lines):
        try:
            target = Rule.parse(line).target
        except ValueError as error:
            yield str(error)
        else:
            if not is_known(target):
                yield f"No URL of this site has the name, route or path {target!r}."


def is_known(target: str) -> bool:
    """Whether the URL configuration leads anywhere by that target."""
    urls = list(_urls(get_resolver().url_patterns))
    if not target.startswith("/"):
        return any(name == target for name, _ in urls)
    if "<" in target:
        return any(f"/{route}" == target for _, route in urls)
    return any(_may_lead_below(route, target) for _, route in urls)


def _urls(
    patterns: Any, start: str = "", spaces: tuple[str, ...] = ()
) -> Iterator[tuple[str, str]]:
    """Name, empty for none, and route of each URL, as ``ResolverMatch`` has them."""
    for each in patterns:
        route = str(each.pattern)
        route = start + route.removeprefix("^") if start else route
        if isinstance(each, URLPattern):
            yield ":".join((*spaces, each.name)) if each.name else "", route
        else:
            inner = (*spaces, each.namespace) if each.namespace else spaces
            yield from _urls(each.url_patterns, route, inner)


def _may_lead_below(route: str, path: str) -> bool:
    here = route.removeprefix("^").strip("/").split("/")
    for wanted in path.strip("/").split("/"):
        part = here.pop(0) if here else ""
        # What follows a parameter, or a regular expression, may be anything.
        if not wanted or set(part) & set("<([\\?*+$"):
            return True
        if part != wanted:
            return False
    return True
