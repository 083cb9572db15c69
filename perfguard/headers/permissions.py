"""Permissions-Policy: which features of a browser a page may use.

https://www.w3.org/TR/permissions-policy/; the value is a dictionary of structured
fields (RFC 9651).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from perfguard.exceptions import InvalidSetting

# Those that a browser knows; each of them knows some, and the list grows.
FEATURES = frozenset(
    (
        *(
            "accelerometer",
            "all-screens-capture",
            "ambient-light-sensor",
            "aria-notify",
        ),
        *("attribution-reporting", "autoplay", "battery", "bluetooth"),
        *(
            "browsing-topics",
            "camera",
            "captured-surface-control",
            "ch-ua-high-entropy",
        ),
        *("clipboard-read", "clipboard-write", "compute-pressure"),
        *("cross-origin-isolated", "deferred-fetch", "deferred-fetch-minimal"),
        *("digital-credentials-get", "digital-credentials-create", "direct-sockets"),
        *("display-capture", "document-domain", "encrypted-media"),
        *("execution-while-not-rendered", "execution-while-out-of-viewport"),
        *("fullscreen", "gamepad", "geolocation", "gyroscope", "hid"),
        *("identity-credentials-get", "idle-detection", "interest-cohort"),
        *("join-ad-interest-group", "keyboard-map", "language-detector"),
        *("language-model", "local-fonts", "local-network-access", "magnetometer"),
        *("microphone", "midi", "navigation-override", "on-device-speech-recognition"),
        *("otp-credentials", "payment", "picture-in-picture", "private-aggregation"),
        *("private-state-token-issuance", "private-state-token-redemption"),
        *("publickey-credentials-create", "publickey-credentials-get", "rewriter"),
        *("run-ad-auction", "screen-wake-lock", "serial", "shared-storage"),
        *("shared-storage-select-url", "speaker-selection", "storage-access"),
        *("sub-apps", "summarizer", "sync-xhr", "translator", "unload", "usb"),
        *("vertical-scroll", "web-share", "window-management", "writer"),
        "xr-spatial-tracking",
    )
)
FEATURE = re.compile(r"[a-z][a-z0-9-]*")
ORIGIN = re.compile(r"https?://[A-Za-z0-9*.\-\[\]:]+")
ENTRY = re.compile(r"([a-z][a-z0-9-]*)=(?:\(([^()]*)\)|(\*|self|\"[^\"]*\"))")
ALLOWED = "list origins, 'self' and '*'; an empty list is for nobody"

Permissions = dict[str, tuple[str, ...]]


def read_permissions(value: Any) -> Permissions:
    """``{"camera": [], "usb": ["self", "https://a.example"]}``, or the header's text.

    Raises InvalidSetting.
    """
    if isinstance(value, str):
        return dict(_parsed(value))
    if not isinstance(value, Mapping) or not value:
        raise InvalidSetting(f"{value!r} is neither text nor a dictionary of features.")
    return {_feature(name): _allowed(name, each) for name, each in value.items()}


def permissions_text(permissions: Permissions) -> str:
    return ", ".join(
        f"{feature}={_rendered(allowed)}" for feature, allowed in permissions.items()
    )


def _rendered(allowed: tuple[str, ...]) -> str:
    if allowed == ("*",):
        return "*"
    return "(" + " ".join(it if it == "self" else f'"{it}"' for it in allowed) + ")"


def _parsed(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    for part in text.split(","):
        found = ENTRY.fullmatch(part.strip())
        if not found:
            raise InvalidSetting(
                f"{part.strip()!r} is no entry: write camera=(), camera=(self) or "
                'camera=(self "https://a.example"), with commas between.'
            )
        feature, inside, single = found.groups()
        words = (inside if single is None else single).split()
        if any(_is_bare(word) for word in words):
            raise InvalidSetting(f"{part.strip()!r} has an origin without quotes.")
        yield feature, _allowed(feature, [word.strip('"') for word in words])


def _is_bare(word: str) -> bool:
    return word not in {"*", "self"} and not (word[0] == word[-1] == '"')


def _feature(name: Any) -> str:
    if not isinstance(name, str) or not FEATURE.fullmatch(name):
        raise InvalidSetting(f"{name!r} is no name of a feature.")
    return name


def _allowed(feature: Any, value: Any) -> tuple[str, ...]:
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list | tuple):
        raise InvalidSetting(f"{feature!r} is {value!r}: {ALLOWED}.")
    for each in given:
        if not isinstance(each, str) or (
            each not in {"self", "*"} and not ORIGIN.fullmatch(each)
        ):
            raise InvalidSetting(f"{feature!r} has {each!r}: {ALLOWED}.")
    return ("*",) if "*" in given else tuple(given)
