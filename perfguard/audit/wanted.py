"""Which requests are audited, and how much of them is kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.http import HttpRequest

from perfguard.conf import conf

BODIES_OF = {  # level: of the request, of the response
    "METADATA": (False, False),
    "REQUEST": (True, False),
    "REQUEST_RESPONSE": (True, True),
}


@dataclass(frozen=True, slots=True)
class Paths:
    """Literal ones: ``/chat`` is ``/chat`` and ``/chat/...``, and not ``/chat-x``."""

    exact: frozenset[str]
    below: tuple[str, ...]

    @classmethod
    def of(cls, entries: Iterable[str]) -> Paths:
        bases = ("", *(base.rstrip("/") for base in conf.AUDIT_PATH_BASES))
        paths = {
            f"{base}/{entry.strip('/')}" for entry in entries for base in bases if entry
        }
        return cls(frozenset(paths), tuple(f"{path.rstrip('/')}/" for path in paths))

    def __bool__(self) -> bool:
        return bool(self.exact)

    def has(self, path: str) -> bool:
        return path in self.exact or path.startswith(self.below)


@dataclass(frozen=True, slots=True)
class Wanted:
    methods: frozenset[str]
    always: Paths
    included: Paths
    excluded: Paths
    credentials: tuple[str, ...]  # names in request.META
    session_cookie: str


@cache
def _wanted() -> Wanted:
    names = ("Authorization", conf.API_KEYS_HEADER, conf.TRUSTED_EMAIL_HEADER)
    return Wanted(
        methods=frozenset(name.upper() for name in conf.AUDIT_METHODS),
        always=Paths.of(conf.AUDIT_ALWAYS_PATHS),
        included=Paths.of(conf.AUDIT_INCLUDED_PATHS),
        excluded=Paths.of(conf.AUDIT_EXCLUDED_PATHS),
        credentials=tuple(
            f"HTTP_{name.upper().replace('-', '_')}" for name in names if name
        ),
        session_cookie=f"{settings.SESSION_COOKIE_NAME}=",
    )


def level_for(request: HttpRequest) -> str:
    """Empty: the request is not audited."""
    level = conf.AUDIT_LEVEL
    if level == "NONE":
        return ""
    wanted, path = _wanted(), request.path_info
    if wanted.always.has(path):
        return level
    if request.method not in wanted.methods or not _is_in_scope(wanted, path):
        return ""
    if conf.AUDIT_ANONYMOUS or presents_credential(request):
        return level
    return ""


def _is_in_scope(wanted: Wanted, path: str) -> bool:
    if wanted.included:
        return wanted.included.has(path)
    return not wanted.excluded.has(path)


def presents_credential(request: HttpRequest) -> bool:
    """Good or bad. Asks nobody."""
    wanted, meta = _wanted(), request.META
    if any(meta.get(name) for name in wanted.credentials):
        return True
    return wanted.session_cookie in meta.get("HTTP_COOKIE", "")


def has_session_cookie(request: HttpRequest) -> bool:
    return _wanted().session_cookie in request.META.get("HTTP_COOKIE", "")


def _reload(*, setting: str, **kwargs: Any) -> None:
    if setting in {"PERFGUARD", "SESSION_COOKIE_NAME"}:
        _wanted.cache_clear()


setting_changed.connect(_reload, dispatch_uid="perfguard.audit.wanted")
