"""Values from the environment; a bad one is refused by its name."""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from django.core.exceptions import ImproperlyConfigured

T = TypeVar("T")
TRUE = {"1", "true", "yes", "on"}
FALSE = {"0", "false", "no", "off"}


def text(name: str, default: str = "") -> str:
    return os.environ.get(name, "").strip() or default


def flag(name: str, default: bool = False) -> bool:
    value = text(name).lower()
    if not value:
        return default
    if value not in TRUE | FALSE:
        raise ImproperlyConfigured(f"{name}={value!r}: use true or false.")
    return value in TRUE


def number(name: str, default: float, *, above: float = 0) -> float:
    return _read(name, default, float, above)


def whole(name: str, default: int, *, above: int = 0) -> int:
    return _read(name, default, int, above)


SIZES = {"": 1, "B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3}


def size(name: str, default: int) -> int:
    """Bytes, as ``"10MB"`` or ``"500 KB"``; a bare number is bytes."""
    value = text(name).upper()
    if not value:
        return default
    digits = value.rstrip("KMGB ")
    unit = value[len(digits) :].strip()
    if not digits.isdecimal() or unit not in SIZES or not int(digits):
        raise ImproperlyConfigured(f"{name}={text(name)!r}: write a size such as 10MB.")
    return int(digits) * SIZES[unit]


def items(name: str, separator: str = ",") -> list[str]:
    return [each.strip() for each in text(name).split(separator) if each.strip()]


def origins(name: str, custom_schemes: list[str]) -> list[str]:
    """Origins between semicolons; ``"*"`` alone means all of them."""
    values = items(name, separator=";")
    for value in [] if values == ["*"] else values:
        scheme, mark, host = value.partition("://")
        if scheme not in {"http", "https", *custom_schemes} or not mark or not host:
            raise ImproperlyConfigured(
                f"{name} has {value!r}: write scheme://host, with the scheme http, "
                "https or one of CORS_ALLOW_CUSTOM_SCHEME; or '*' alone."
            )
        if "/" in host:
            raise ImproperlyConfigured(
                f"{name} has {value!r}: a browser's origin has no slash after the host."
            )
    return values


def _read(name: str, default: T, kind: Callable[[str], T], above: float) -> T:
    value = text(name)
    if not value:
        return default
    words = "a whole number" if kind is int else "a number"
    try:
        number = kind(value)
    except ValueError:
        number = None
    if number is None or not number > above:
        raise ImproperlyConfigured(f"{name}={value!r}: use {words} above {above}.")
    return number


def secret_key(path: Path) -> str:
    """``SECRET_KEY``, else one that is made once and kept in a file of the user's."""
    if value := text("SECRET_KEY"):
        return value
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text()
    except OSError as error:
        raise ImproperlyConfigured(
            f"SECRET_KEY is not set, and none can be kept in {path}: {error.strerror}."
        ) from error
    with os.fdopen(descriptor, "w") as file:
        key = secrets.token_urlsafe(50)
        file.write(key)
    return key


def derived_key(secret: str, purpose: str) -> str:
    """Another key for another purpose, from the one secret that an operator sets."""
    return hmac.new(secret.encode(), purpose.encode(), "sha512").hexdigest()


def pairs(name: str) -> dict[str, str]:
    """``"2026-05=key,2026-09=key"``; a part before the first "=" may be empty."""
    found = {}
    for each in items(name):
        key, equals, value = each.partition("=")
        if not equals or not value:
            # Without the text, which may be a key.
            raise ImproperlyConfigured(f"{name}: write id=key, with commas between.")
        found[key.strip()] = value.strip()
    return found
