"""Whether a request came by TLS, as far as that can be believed."""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest

from perfguard.conf import conf
from perfguard.http.client_ip import is_trusted
from perfguard.http.trusted_proxy import peer_of

# By which servers let themselves be told: gunicorn and uvicorn do so by default when
# the peer is of the same machine.
TOLD = (
    *("HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_PROTOCOL", "HTTP_X_FORWARDED_SSL"),
    "HTTP_FORWARDED",
)


def is_believed(request: HttpRequest) -> bool:
    """Of a request that calls itself secure: whether that is more than its own word.

    Django takes ``SECURE_PROXY_SSL_HEADER`` from whomever. Where ``TRUSTED_PROXIES``
    is given, nobody else's word counts.
    """
    if not conf.TRUSTED_PROXIES:
        return True
    by_header = getattr(settings, "SECURE_PROXY_SSL_HEADER", None) or ()
    if not any(name in request.META for name in (*TOLD, *by_header[:1])):
        return True  # of the socket itself
    try:
        return is_trusted(peer_of(request))
    except ImproperlyConfigured:
        return False  # perfguard.E005 says what is wrong with TRUSTED_PROXIES
