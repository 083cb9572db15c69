"""System checks of the middleware's order: what must stand outside what, and why.

perfguard.W901  a middleware stands inside one that it should stand outside of
perfguard.E903  the same, and requests are answered for the wrong person
perfguard.E904  a middleware that is listed twice
perfguard.I901  a middleware that Django runs in a thread under ASGI
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Info, Warning
from django.utils.module_loading import import_string

Check = Callable[..., list[CheckMessage]]
Layer = tuple[str, set[str]]  # the path in MIDDLEWARE, and all names it goes by

HEALTH = "perfguard.health.middleware.HealthMiddleware"
REQUEST_ID = "perfguard.http.request_id.RequestIdMiddleware"
PROCESS_TIME = "perfguard.http.process_time.ProcessTimeMiddleware"
HEADERS = "perfguard.headers.middleware.SecurityHeadersMiddleware"
SECURITY = "django.middleware.security.SecurityMiddleware"
STATIC_FILES = "whitenoise.middleware.WhiteNoiseMiddleware"
CORS = "corsheaders.middleware.CorsMiddleware"
COMPRESSION = "perfguard.compression.middleware.CompressionMiddleware"
UPDATE_CACHE = "django.middleware.cache.UpdateCacheMiddleware"
SESSION = "django.contrib.sessions.middleware.SessionMiddleware"
COMMON = "django.middleware.common.CommonMiddleware"
CSRF = "django.middleware.csrf.CsrfViewMiddleware"
AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"
TRUSTED_HEADER = "perfguard.trusted_header.middleware.TrustedHeaderMiddleware"
MESSAGES = "django.contrib.messages.middleware.MessageMiddleware"
AUDIT = "perfguard.audit.middleware.AuditMiddleware"
REDIRECT = "perfguard.redirects.middleware.RedirectMiddleware"
API_KEY = "perfguard.api_keys.middleware.ApiKeyRestrictionMiddleware"
THROTTLE = "perfguard.throttling.middleware.ThrottleMiddleware"

REFUSING = (COMMON, CSRF, REDIRECT, API_KEY, THROTTLE)


@dataclass(frozen=True, slots=True)
class Rule:
    """``outer`` stands outside each of ``inner``, for that reason."""

    outer: str
    inner: tuple[str, ...]
    why: str
    is_error: bool = False


RULES = (
    Rule(
        HEALTH,
        (HEADERS, SECURITY, CORS, SESSION, AUTHENTICATION, *REFUSING),
        "A probe would be redirected, refused or counted by what stands outside.",
    ),
    Rule(
        REQUEST_ID,
        (PROCESS_TIME, HEADERS, SECURITY, CORS, COMPRESSION, SESSION, *REFUSING),
        "What stands outside would answer and log without the request's id.",
    ),
    Rule(
        PROCESS_TIME,
        (COMPRESSION, SESSION, *REFUSING),
        "The time of what stands outside would not be counted.",
    ),
    Rule(
        HEADERS,
        (SECURITY, STATIC_FILES, CORS, UPDATE_CACHE, SESSION, *REFUSING),
        "Answers that are made outside of it would carry no security headers: "
        "redirects, files, preflight answers, refusals.",
    ),
    Rule(
        SECURITY,
        (STATIC_FILES, SESSION, *REFUSING),
        "Plain HTTP would be answered before it is redirected to HTTPS.",
    ),
    Rule(
        CORS,
        REFUSING,
        "A page of another origin could not read what they answer, nor why.",
    ),
    Rule(
        COMPRESSION,
        (SESSION, CSRF, *REFUSING),
        "What stands outside would see compressed bodies, and its own answers would "
        "not be compressed.",
    ),
    Rule(
        UPDATE_CACHE,
        (SESSION, COMPRESSION),
        "A page would be cached before it says by which headers it varies.",
    ),
    Rule(SESSION, (AUTHENTICATION, MESSAGES), "Both keep what they know in sessions."),
    Rule(
        AUTHENTICATION,
        (TRUSTED_HEADER,),
        "The session's user would take the place of the one whom the proxy names.",
        is_error=True,
    ),
    Rule(
        COMPRESSION,
        (AUDIT,),
        "The audit log would be given compressed bodies, in which nothing is redacted.",
    ),
    Rule(
        AUTHENTICATION,
        (AUDIT,),
        "Entries would not know who sent a request, where the view does not say.",
    ),
    Rule(
        AUDIT,
        (REDIRECT, API_KEY, THROTTLE),
        "What they refuse would not be on record.",
    ),
    Rule(
        REDIRECT,
        (API_KEY, THROTTLE),
        "A request that is only sent elsewhere would be refused or counted.",
    ),
    Rule(
        API_KEY,
        (THROTTLE,),
        "Requests that are refused for their API key would use up the limits.",
    ),
)


def check_order(**kwargs: Any) -> list[CheckMessage]:
    if not settings.MIDDLEWARE:
        return []
    layers = [(path, names(path)) for path in settings.MIDDLEWARE]
    messages: list[CheckMessage] = []
    for rule in RULES:
        for text, hint in _broken(rule, layers):
            if rule.is_error:
                messages.append(Error(text, hint=hint, id="perfguard.E903"))
            else:
                messages.append(Warning(text, hint=hint, id="perfguard.W901"))
    return messages


def _broken(rule: Rule, layers: list[Layer]) -> Iterator[tuple[str, str]]:
    """What is wrong and what to do, when something stands outside ``rule.outer``."""
    place = next((i for i, (_, has) in enumerate(layers) if rule.outer in has), 0)
    moved = layers[place][0]
    wrong = [path for path, has in layers[:place] if has & set(rule.inner)]
    if wrong:
        yield (
            f"MIDDLEWARE has {moved} after {', '.join(wrong)}. {rule.why}",
            f"Move {moved} above {wrong[0]}.",
        )


def check_twice(**kwargs: Any) -> list[CheckMessage]:
    return [
        Error(
            f"MIDDLEWARE has {path} twice.",
            hint="Each request would go through it twice. Remove one.",
            id="perfguard.E904",
        )
        for path, count in Counter(settings.MIDDLEWARE).items()
        if count > 1
    ]


def check_threads(**kwargs: Any) -> list[CheckMessage]:
    return [
        Info(
            f"{path} knows no async mode: under ASGI Django runs it in a thread, and "
            "what stands inside of it is brought back to the loop, at each request.",
            hint="Under WSGI this costs nothing. "
            + (
                "perfguard.http.static_files.StaticFilesMiddleware takes its place."
                if STATIC_FILES in names(path)
                else "Is there a newer version, or another package?"
            ),
            id="perfguard.I901",
        )
        for path in settings.MIDDLEWARE
        if not getattr(_loaded(path), "async_capable", False)
    ]


def names(path: str) -> set[str]:
    """The middleware's own name, and those of the classes that it inherits from."""
    classes = getattr(_loaded(path), "__mro__", ())
    return {path, *(f"{each.__module__}.{each.__qualname__}" for each in classes)}


def _loaded(path: str) -> Any:
    try:
        return import_string(path)
    except ImportError:
        return None  # Django says so by itself, and better


ALL: tuple[Check, ...] = (check_order, check_twice)
DEPLOY: tuple[Check, ...] = (check_threads,)
