"""System checks of tokens.

perfguard.E401  a wrong lifetime          perfguard.W401  one key for everything
perfguard.E402  a lifetime without end    perfguard.W402  "allow" when Redis is away
perfguard.E403  SIMPLE_JWT's classes      perfguard.W403  tokens without end
perfguard.E404  a weak signing key        perfguard.W404  simplejwt's blacklist as well
perfguard.E405  a view without revocation perfguard.W405  a Redis that evicts
perfguard.E406  ids of keys               perfguard.I401  long access tokens
perfguard.E407  a long leeway
perfguard.E408  an old PyJWT
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Info, Warning

from perfguard.conf import conf, given
from perfguard.exceptions import InvalidSetting, RedisUnavailable
from perfguard.lifetimes import read_lifetime
from perfguard.redis.client import get_client
from perfguard.redis.scripts import packed
from perfguard.tokens.claims import leeway, simple_jwt
from perfguard.tokens.keys import KEY_BYTES, is_usable, is_weak
from perfguard.tokens.simplejwt import TOKEN_CLASSES
from perfguard.tokens.site import (
    algorithm,
    authenticators,
    in_use,
    is_stock,
)
from perfguard.tokens.site_checks import check_time_zones, check_transactions

Check = Callable[..., list[CheckMessage]]

LONGEST_LEEWAY = timedelta(seconds=60)
LONG_ACCESS = timedelta(days=1)
LIFETIMES = [f"TOKEN_{kind}_LIFETIME" for kind in ("ACCESS", "REFRESH", "SESSION")]
OLDEST_PYJWT = (2, 13)  # CVE-2026-32597, and the five that 2.13.0 mended


def check_lifetimes(**kwargs: Any) -> list[CheckMessage]:
    messages: list[CheckMessage] = []
    for name in LIFETIMES:
        value = getattr(conf, name)
        try:
            endless = isinstance(value, str) and read_lifetime(value) is None
        except InvalidSetting as error:
            messages.append(Error(f"PERFGUARD[{name!r}]: {error}", id="perfguard.E401"))
            continue
        if endless and not conf.TOKEN_ALLOW_NEVER_EXPIRES:
            messages.append(
                Error(
                    f"PERFGUARD[{name!r}] is '-1', without end.",
                    hint="Give it an end, or set TOKEN_ALLOW_NEVER_EXPIRES to True. "
                    "For programs, API keys are the better choice.",
                    id="perfguard.E402",
                )
            )
    return messages


def check_classes(**kwargs: Any) -> list[CheckMessage]:
    if not in_use():
        return []
    messages: list[CheckMessage] = []
    for name, wanted in TOKEN_CLASSES.items():
        value = simple_jwt().get(name, "")
        if "rest_framework_simplejwt" in str(value) or not value:
            messages.append(
                Error(
                    f"SIMPLE_JWT[{name!r}] is simplejwt's own: revoked tokens would "
                    "pass there.",
                    hint=f"Set it to {wanted!r}, or a subclass: SIMPLE_JWT = "
                    "{**perfguard.tokens.simplejwt.TOKEN_CLASSES, ...}.",
                    id="perfguard.E403",
                )
            )
    return messages


def check_signing_key(**kwargs: Any) -> list[CheckMessage]:
    if not in_use():
        return []
    keys = {
        "SIMPLE_JWT['SIGNING_KEY']": simple_jwt().get(
            "SIGNING_KEY", settings.SECRET_KEY
        )
    }
    for kid, key in _old_keys().items():
        if is_usable(key, algorithm()):
            keys[f"PERFGUARD['TOKEN_OLD_KEYS'][{kid!r}]"] = key
    return [
        Error(
            f"{name} is too weak for {algorithm()}: whoever guesses it can be anybody.",
            hint=f"Use {KEY_BYTES[algorithm()]} random bytes or more: "
            "secrets.token_urlsafe(64).",
            id="perfguard.E404",
        )
        for name, key in keys.items()
        if is_weak(key, algorithm())
    ]


def _old_keys() -> dict[Any, Any]:
    value: object = conf.TOKEN_OLD_KEYS  # another check says where it is none
    return dict(value) if isinstance(value, Mapping) else {}


def check_views(**kwargs: Any) -> list[CheckMessage]:
    """No view of the project takes tokens without asking whether they were revoked."""
    if not in_use():
        return []
    found = {name: each.__name__ for name, each in authenticators() if is_stock(each)}
    return [
        Error(
            f"{name} authenticates by {kind}, which takes revoked tokens.",
            hint="Use perfguard.tokens.authentication.JWTAuthentication.",
            id="perfguard.E405",
        )
        for name, kind in sorted(found.items())
    ]


def check_keys(**kwargs: Any) -> list[CheckMessage]:
    keys = _old_keys()
    wrong = [
        repr(kid)
        for kid, key in keys.items()
        if not isinstance(kid, str) or not is_usable(key, algorithm())
    ]
    wrong += [f"{kid!r}, the TOKEN_KEY_ID" for kid in keys if kid == conf.TOKEN_KEY_ID]
    if not wrong:
        return []
    return [
        Error(
            f"PERFGUARD['TOKEN_OLD_KEYS'] has a wrong entry: {', '.join(wrong)}.",
            hint="It maps the kid of older tokens to the key that verifies them; '' is "
            "for tokens without a kid.",
            id="perfguard.E406",
        )
    ]


def check_leeway(**kwargs: Any) -> list[CheckMessage]:
    try:
        if not in_use() or timedelta(0) <= leeway() <= LONGEST_LEEWAY:
            return []
    except (TypeError, ValueError, OverflowError):
        pass
    return [
        Error(
            "SIMPLE_JWT['LEEWAY'] is not a time of up to a minute.",
            hint="It is for clocks that differ, and lengthens every token's life.",
            id="perfguard.E407",
        )
    ]


def check_pyjwt(**kwargs: Any) -> list[CheckMessage]:
    if not in_use():
        return []
    try:
        found = version("pyjwt")
    except PackageNotFoundError:
        return []  # the import that fails says it better
    if tuple(int(part) for part in found.split(".")[:2]) >= OLDEST_PYJWT:
        return []
    return [
        Error(
            f"PyJWT is {found}, with known holes (CVE-2026-32597).",
            hint="pip install 'pyjwt>=2.13'",
            id="perfguard.E408",
        )
    ]


def check_failure_mode(**kwargs: Any) -> list[CheckMessage]:
    if conf.REVOCATION_ON_REDIS_FAILURE != "allow":
        return []
    return [
        Warning(
            "PERFGUARD['REVOCATION_ON_REDIS_FAILURE'] is 'allow': while Redis is away, "
            "revoked tokens are good again.",
            hint="Use 'database', which costs a query, or 'deny'.",
            id="perfguard.W402",
        )
    ]


def check_blacklist_app(**kwargs: Any) -> list[CheckMessage]:
    app = "rest_framework_simplejwt.token_blacklist"
    if not in_use() or app not in settings.INSTALLED_APPS:
        return []
    return [
        Warning(
            f"{app} is installed, and not needed: perfguard keeps the journal.",
            hint="Remove it from INSTALLED_APPS.",
            id="perfguard.W404",
        )
    ]


def check_key_of_its_own(**kwargs: Any) -> list[CheckMessage]:
    if not in_use() or simple_jwt().get("SIGNING_KEY", settings.SECRET_KEY) != (
        settings.SECRET_KEY
    ):
        return []
    return [
        Warning(
            "Tokens are signed with SECRET_KEY, which has other uses as well: neither "
            "can be changed alone.",
            hint="Set SIMPLE_JWT['SIGNING_KEY'] to a key of its own.",
            id="perfguard.W401",
        )
    ]


def check_never_expires(**kwargs: Any) -> list[CheckMessage]:
    if not conf.TOKEN_ALLOW_NEVER_EXPIRES:
        return []
    return [
        Warning(
            "PERFGUARD['TOKEN_ALLOW_NEVER_EXPIRES'] is on: a token that leaks is good "
            "until somebody revokes it.",
            hint="For programs, API keys are the better choice.",
            id="perfguard.W403",
        )
    ]


def check_long_access(**kwargs: Any) -> list[CheckMessage]:
    lifetime = simple_jwt().get("ACCESS_TOKEN_LIFETIME")
    name = "TOKEN_ACCESS_LIFETIME"
    if lifetime is None or name in given():
        text = getattr(conf, name)
        wrong = not isinstance(text, str) or check_lifetimes()
        lifetime = None if wrong else read_lifetime(text)
    if not in_use() or lifetime is None or lifetime <= LONG_ACCESS:
        return []
    return [
        Info(
            f"Access tokens live {lifetime}. Each request asks whether they were "
            "revoked, but a stolen one works until somebody notices.",
            hint="Clients that refresh are as comfortable with '30m'.",
            id="perfguard.I401",
        )
    ]


def check_eviction(**kwargs: Any) -> list[CheckMessage]:
    """Asks Redis, and says nothing where it does not answer."""
    try:
        client = get_client() if in_use() else None
        if client is None or client.read("probe", packed(b"MGET", b"probe")).era:
            return []
    except (InvalidSetting, RedisUnavailable):
        return []
    return [
        Warning(
            "Redis may evict keys to make room, or is no master: each request with a "
            "token asks the database instead.",
            hint="Set its maxmemory-policy to noeviction, and keep caches elsewhere.",
            id="perfguard.W405",
        )
    ]


ALL: tuple[Check, ...] = (
    check_lifetimes,
    check_classes,
    check_signing_key,
    check_views,
    check_keys,
    check_leeway,
    check_pyjwt,
    check_failure_mode,
    check_blacklist_app,
    check_transactions,
    check_time_zones,
)
DEPLOY: tuple[Check, ...] = (
    check_key_of_its_own,
    check_never_expires,
    check_long_access,
    check_eviction,
)
