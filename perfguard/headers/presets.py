"""The presets: what is sent when nothing else is said."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from perfguard.headers.csp import CSP
from perfguard.headers.values import HSTS

# Powers that few sites use. What browsers let every page do is not listed.
DENIED = (
    *("accelerometer", "camera", "display-capture", "geolocation", "gyroscope", "hid"),
    *("magnetometer", "microphone", "midi", "payment", "serial", "usb"),
    "xr-spatial-tracking",
)

# Nothing but what comes from the site itself; Django's own admin needs no more.
STRICT_POLICY: Mapping[str, Any] = MappingProxyType(
    {
        "default-src": [CSP.NONE],
        "script-src": [CSP.SELF, CSP.NONCE],
        "style-src": [CSP.SELF, CSP.NONCE],
        "img-src": [CSP.SELF, "data:"],
        "font-src": [CSP.SELF],
        "connect-src": [CSP.SELF],
        "media-src": [CSP.SELF],
        "manifest-src": [CSP.SELF],
        "worker-src": [CSP.SELF],
        "frame-src": [CSP.SELF],
        "base-uri": [CSP.SELF],
        "form-action": [CSP.SELF],
        "frame-ancestors": [CSP.NONE],
    }
)
# A browser that is made to show JSON as a page shows nothing.
API_POLICY: Mapping[str, Any] = MappingProxyType(
    {"default-src": [CSP.NONE], "frame-ancestors": [CSP.NONE]}
)

COMMON: Mapping[str, Any] = MappingProxyType(
    {
        HSTS: "max-age=31536000; includeSubDomains",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        # As Django's own default. "no-referrer" would make browsers send forms with
        # "Origin: null", which Django's CSRF protection refuses.
        "Referrer-Policy": "same-origin",
        "Permissions-Policy": {feature: [] for feature in DENIED},
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Embedder-Policy": "require-corp",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Origin-Agent-Cluster": "?1",
        "X-Permitted-Cross-Domain-Policies": "none",
        "X-Download-Options": "noopen",
        "Cache-Control": "no-store",
        # They tell an attacker what to look up.
        "Server": None,
        "X-Powered-By": None,
    }
)

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "strict": {**COMMON, str(CSP.HEADER_ENFORCE): STRICT_POLICY},
        "api": {**COMMON, str(CSP.HEADER_ENFORCE): API_POLICY},
        "off": {},
    }
)
# Taken away even when a view set them, unless HEADERS gives them a value.
REMOVED = ("Server", "X-Powered-By")
# The preset's Cache-Control where the view says how to ask again: kept by the user's
# browser alone, which asks each time.
REVALIDATED = "private, no-cache"
VALIDATORS = ("etag", "last-modified", "expires")
