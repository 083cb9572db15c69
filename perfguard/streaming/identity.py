"""For whom a stream is counted."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_network
from typing import Any

from django.http import HttpRequest
from django.utils.functional import LazyObject

from perfguard.http.client_ip import client_ip

IPV6_PREFIX = 64  # what one customer is given: RFC 6177


def identity_of(request: HttpRequest) -> str:
    """``key:<id>``, ``user:<pk>`` or ``ip:<address>``, whichever is known first.

    Nobody is looked up for it: a view that has not asked who the user is does not
    depend on that.
    """
    api_key = getattr(request, "perfguard_api_key", None)
    if api_key is not None:
        return f"key:{api_key.key_id}"
    user = known_user(request)
    if getattr(user, "pk", None) is not None:
        return f"user:{user.pk}"
    return _address(request)


def known_user(request: HttpRequest) -> Any:
    """The user whom somebody has looked up already, or None."""
    user = vars(request).get("user")
    if not isinstance(user, LazyObject):
        return user
    return session_user(request)


def session_user(request: HttpRequest) -> Any:
    """Whom Django found by the session, where somebody asked it; or None."""
    known = vars(request)
    return known.get("_cached_user") or known.get("_acached_user")


def _address(request: HttpRequest) -> str:
    address = client_ip(request)
    if isinstance(address, IPv6Address):
        return f"ip:{ip_network((int(address), IPV6_PREFIX), strict=False)}"
    return f"ip:{address or 'unknown'}"
