"""A handshake as the HttpRequest that it is: for addresses, hosts and credentials."""

from __future__ import annotations

from io import BytesIO
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import BadRequest, DisallowedHost
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest
from django.utils.http import is_same_domain

from perfguard.conf import conf
from perfguard.sockets.refusals import Scope, refused

SCHEMES = {"ws": "http", "wss": "https"}


def request_of(scope: Scope) -> HttpRequest:
    """Raises Refused for octets that Django cannot read either."""
    scheme = SCHEMES.get(scope.get("scheme", "ws"), "http")
    plain = {**scope, "type": "http", "method": "GET", "scheme": scheme}
    try:
        return ASGIRequest(plain, BytesIO())
    except (BadRequest, ValueError, LookupError) as error:  # the URL, or a charset
        raise refused(400, "malformed", "The request cannot be read.") from error


def check_host(request: HttpRequest) -> str:
    """The Host header, which ``ALLOWED_HOSTS`` must have. Raises Refused."""
    try:
        return request.get_host()
    except DisallowedHost as error:
        raise refused(400, "host", "There is no such host here.") from error


def check_origin(request: HttpRequest, *, by_cookie: bool) -> None:
    """Raises Refused for a page of a site that may not open sockets here, and for a
    host that is not this site's.

    Browsers let any page open a socket to any site, send that site's cookies along, and
    always say in Origin whose page it is (RFC 6455, section 10.2).
    """
    host = check_host(request)
    origin = request.META.get("HTTP_ORIGIN", "").lower()
    if not origin:
        if by_cookie or not conf.SOCKET_ALLOW_NO_ORIGIN:
            raise refused(403, "origin_missing", "The Origin header is missing.")
        return
    if by_cookie and "*" in conf.SOCKET_ORIGINS:
        # perfguard.E802 says so, where anybody looks at it.
        raise refused(403, "origin", "Cookies sign in for listed origins alone.")
    if not is_trusted_origin(origin, host.lower(), is_secure=request.is_secure()):
        raise refused(403, "origin", "Pages of this origin may not open sockets here.")


def is_trusted_origin(origin: str, host: str, *, is_secure: bool) -> bool:
    """``origin`` and ``host`` in lower case."""
    if origin == "null":  # sandboxed frames and files: anybody's
        return False
    if conf.SOCKET_ORIGINS:
        listed = [each.lower() for each in conf.SOCKET_ORIGINS]
        return "*" in listed or origin in listed
    # A proxy may have taken TLS off, so https is the site's own as well; a page that
    # came without TLS may be anybody's where the site has it.
    own = {f"https://{host}", *(() if is_secure else (f"http://{host}",))}
    return origin in own or _is_listed(origin)


def _is_listed(origin: str) -> bool:
    """Whether the project trusts it for requests that change something, or lets it read
    what is answered. The second is no trust in cookies, so not where they sign in."""
    listed = [each.lower() for each in settings.CSRF_TRUSTED_ORIGINS]
    if "session" not in conf.SOCKET_AUTHENTICATION:
        listed += map(str.lower, getattr(settings, "CORS_ALLOWED_ORIGINS", ()))
    return any(_matches(origin, each) for each in listed)


def _matches(origin: str, pattern: str) -> bool:
    """As Django reads ``CSRF_TRUSTED_ORIGINS``: ``https://*.example.com``."""
    if "*" not in pattern:
        return origin == pattern
    try:
        given, wanted = urlsplit(origin), urlsplit(pattern)
    except ValueError:
        return False
    return given.scheme == wanted.scheme and is_same_domain(
        given.netloc, wanted.netloc.lstrip("*")
    )
