"""Whether a request's headers are a trusted proxy's own words.

The peer of the socket decides, and a shared secret where there is one. Settings that
make no sense close the door: nobody is believed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from typing import Any

import django
from django.core.signals import setting_changed
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare

from perfguard.conf import conf
from perfguard.exceptions import InvalidSetting
from perfguard.http.client_ip import UNIX, Network, is_trusted, trusted_networks

HEADERS = (
    "TRUSTED_EMAIL_HEADER",
    "TRUSTED_NAME_HEADER",
    "TRUSTED_GROUPS_HEADER",
    "TRUSTED_ROLE_HEADER",
    "TRUSTED_SECRET_HEADER",
)
HEADER_NAME = re.compile(r"[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*")
# Every client sends these, or another part of the stack reads them.
RESERVED = frozenset(
    (
        *("accept", "authorization", "connection", "content-length", "content-type"),
        *("cookie", "forwarded", "host", "origin", "proxy-authorization", "referer"),
        *("sec-fetch-site", "transfer-encoding", "user-agent", "x-forwarded-for"),
        *("x-forwarded-host", "x-forwarded-proto", "x-real-ip"),
    )
)
# Prefixes of the widest private networks, 10.0.0.0/8 and fc00::/7.
WIDEST = {4: 8, 6: 7}


def meta_value(request: HttpRequest, header: str) -> str | None:
    """The header's octets, as Latin-1, from whomever; None when there is none."""
    value: str | None = request.META.get(_meta_key(header)) if header else None
    return value


def distrusted(request: HttpRequest) -> str:
    """Why the request's headers do not count: "misconfigured", "untrusted_peer" or
    "wrong_secret"; empty when they do."""
    if is_closed():
        return "misconfigured"
    if not is_trusted(peer_of(request)):
        return "untrusted_peer"
    given = meta_value(request, conf.TRUSTED_SECRET_HEADER) or ""
    if conf.TRUSTED_SECRET and not constant_time_compare(given, conf.TRUSTED_SECRET):
        return "wrong_secret"
    return ""


def peer_of(request: HttpRequest) -> str:
    # Of the socket alone: what is forwarded may be anybody's word. Servers give a
    # Unix socket no address, or an empty one.
    return request.META.get("REMOTE_ADDR") or UNIX


@lru_cache(maxsize=1)
def is_closed() -> bool:
    """Whether the settings make no sense, so that nobody is believed."""
    try:
        return bool(
            wrong_names() or too_wide() or has_half_a_secret() or is_unsafe_django()
        )
    except InvalidSetting:
        return True


def wrong_names() -> list[str]:
    """Settings whose value is no header name, or the name of another header. A name
    with an underscore is none: servers cannot tell it from a hyphen."""
    wrong, taken = [], {*RESERVED, conf.CLIENT_IP_HEADER.lower()}
    for setting in HEADERS:
        name = getattr(conf, setting)
        if name and (name.lower() in taken or not HEADER_NAME.fullmatch(name)):
            wrong.append(setting)
        taken.add(name.lower())
    return wrong


def too_wide() -> Sequence[Network]:
    """Trusted networks, taken together, that hold more than a private one can.

    Raises InvalidSetting when an entry of ``TRUSTED_PROXIES`` cannot be read.
    """
    networks = trusted_networks()
    four = collapse_addresses(it for it in networks if isinstance(it, IPv4Network))
    six = collapse_addresses(it for it in networks if isinstance(it, IPv6Network))
    merged: list[Network] = [*four, *six]
    return [it for it in merged if it.prefixlen < WIDEST[it.version]]


def has_half_a_secret() -> bool:
    return bool(conf.TRUSTED_SECRET_HEADER) != bool(conf.TRUSTED_SECRET)


def is_unsafe_django() -> bool:
    """Whether its ASGI handler takes ``X_Email`` for ``X-Email`` (CVE-2026-3902)."""
    release = django.VERSION[:3]
    return release < (5, 2, 13) or (6, 0, 0) <= release < (6, 0, 4)


@lru_cache(maxsize=64)
def _meta_key(header: str) -> str:
    return "HTTP_" + header.upper().replace("-", "_")


def _reload(*, setting: str, **kwargs: Any) -> None:
    if setting == "PERFGUARD":
        is_closed.cache_clear()


setting_changed.connect(_reload, dispatch_uid="perfguard.http.trusted_proxy")
