"""Whether a browser sends a request for a page of another site.

A proxy knows people by a cookie of its own, which browsers attach to requests that
other sites make, so that signing in by header alone would open every unsafe method to
them. Browsers say where a request comes from; other programs say nothing.
"""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest
from django.utils.http import is_same_domain

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # RFC 9110 section 9.2.1


def is_from_elsewhere(request: HttpRequest) -> bool:
    if request.method in SAFE:
        return False
    site = request.headers.get("Sec-Fetch-Site")  # W3C Fetch Metadata
    if site in {"same-origin", "none"}:
        return False
    origin = request.headers.get("Origin")
    if origin is None:
        return site is not None
    return not (_is_own(request, origin) or _is_listed(origin))


def _is_own(request: HttpRequest, origin: str) -> bool:
    return origin == f"{request.scheme}://{request.get_host()}"


def _is_listed(origin: str) -> bool:
    """In Django's own setting: ``https://*.example.com`` is all of the domain."""
    scheme, _, host = origin.partition("://")
    listed = (each.partition("://") for each in settings.CSRF_TRUSTED_ORIGINS)
    return any(
        scheme == listed_scheme and is_same_domain(host, pattern.lstrip("*"))
        for listed_scheme, _, pattern in listed
    )
