"""System checks of what else on the site has to do with security headers.

perfguard.W503  two middlewares for a policy    perfguard.W507  forms without an origin
perfguard.W504  nobody sends the headers        perfguard.W508  anybody's word for TLS
perfguard.W505  Django is first                 perfguard.W509  two policies
perfguard.W506  a nonce, and no template
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning

from perfguard.conf import conf, given
from perfguard.exceptions import InvalidSetting
from perfguard.headers.layers import (
    DJANGO_POLICIES,
    given_headers,
    given_policies,
    sound,
)
from perfguard.headers.middleware import SecurityHeadersMiddleware
from perfguard.headers.policies import has_nonce, read_policy

Check = Callable[..., list[CheckMessage]]

MIDDLEWARE = (
    f"{SecurityHeadersMiddleware.__module__}.{SecurityHeadersMiddleware.__qualname__}"
)
SECURITY = "django.middleware.security.SecurityMiddleware"
FRAMES = "django.middleware.clickjacking.XFrameOptionsMiddleware"
OTHERS = (
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "csp.middleware.CSPMiddleware",
    "csp.contrib.rate_limiting.RateLimitedCSPMiddleware",
    "django_permissions_policy.PermissionsPolicyMiddleware",
)
PROCESSORS = {
    "django.template.context_processors.csp",
    "perfguard.headers.csp.csp",
}
# By header: the middleware that sets it further in, and its setting.
DJANGO_SETS = {
    "strict-transport-security": (SECURITY, "SECURE_HSTS_SECONDS"),
    "x-frame-options": (FRAMES, "X_FRAME_OPTIONS"),
    "referrer-policy": (SECURITY, "SECURE_REFERRER_POLICY"),
    "cross-origin-opener-policy": (SECURITY, "SECURE_CROSS_ORIGIN_OPENER_POLICY"),
}


def check_others(**kwargs: Any) -> list[CheckMessage]:
    if MIDDLEWARE not in settings.MIDDLEWARE:
        return []
    return [
        Warning(
            f"{path} sets a header that perfguard sets too.",
            hint="What it sets is kept, and sent once. Remove it: perfguard honours "
            "SECURE_CSP, SECURE_CSP_REPORT_ONLY and Django's decorators.",
            id="perfguard.W503",
        )
        for path in settings.MIDDLEWARE
        if path in OTHERS
    ]


def check_middleware(**kwargs: Any) -> list[CheckMessage]:
    named = [name for name in given() if name.startswith("HEADERS")]
    if not named or MIDDLEWARE in settings.MIDDLEWARE:
        return []
    return [
        Warning(
            f"PERFGUARD has {named[0]}, and nobody reads it.",
            hint=f"Add {MIDDLEWARE!r} to MIDDLEWARE, near its beginning.",
            id="perfguard.W504",
        )
    ]


def check_django(**kwargs: Any) -> list[CheckMessage]:
    """Django's own middleware stands further in, so that it is first."""
    forced = {name.lower() for name in sound("HEADERS_FORCE")}
    messages: list[CheckMessage] = []
    for name, value in sound("HEADERS").items():
        path, setting = DJANGO_SETS.get(str(name).lower(), ("", ""))
        django_value = getattr(settings, setting, None) if setting else None
        if path not in settings.MIDDLEWARE or str(name).lower() in forced:
            continue
        if django_value and str(django_value).lower() != str(value).lower():
            messages.append(
                Warning(
                    f"PERFGUARD['HEADERS'][{name!r}] is {value!r}, and has no effect: "
                    f"{path} sets {django_value!r} before.",
                    hint=f"Set {setting}, or add {name!r} to HEADERS_FORCE.",
                    id="perfguard.W505",
                )
            )
    return messages


def check_nonce(**kwargs: Any) -> list[CheckMessage]:
    named = [place for place, value in given_policies() if _has_nonce(value)]
    templates: list[Any] = list(settings.TEMPLATES)
    options = [each.get("OPTIONS", {}) for each in templates]
    used = {path for each in options for path in each.get("context_processors", ())}
    if not named or used & PROCESSORS or MIDDLEWARE not in settings.MIDDLEWARE:
        return []
    return [
        Warning(
            f"{named[0]} has a place for a nonce, and templates have none to write.",
            hint="Add 'perfguard.headers.csp.csp' to the context processors.",
            id="perfguard.W506",
        )
    ]


def _has_nonce(value: Any) -> bool:
    try:
        return has_nonce(read_policy(value))
    except InvalidSetting:
        return False  # which is another check's to tell


def check_referrer(**kwargs: Any) -> list[CheckMessage]:
    values = [value for _, name, value in given_headers() if _is_referrer(name)]
    values.append(getattr(settings, "SECURE_REFERRER_POLICY", ""))
    csrf = "django.middleware.csrf.CsrfViewMiddleware" in settings.MIDDLEWARE
    if not csrf or not any(str(it).strip().endswith("no-referrer") for it in values):
        return []
    return [
        Warning(
            "With Referrer-Policy: no-referrer browsers send forms with 'Origin: "
            "null', and Django's CSRF protection refuses them: nobody can sign in.",
            hint="Use 'same-origin', which tells other sites as little.",
            id="perfguard.W507",
        )
    ]


def _is_referrer(name: Any) -> bool:
    return str(name).lower() == "referrer-policy"


def check_two_policies(**kwargs: Any) -> list[CheckMessage]:
    written = {str(name).lower() for name in sound("HEADERS")}
    return [
        Warning(
            f"{setting} and PERFGUARD['HEADERS'][{name!r}] are both set.",
            hint=f"The second is sent. Remove {setting}.",
            id="perfguard.W509",
        )
        for name, setting in DJANGO_POLICIES.items()
        if getattr(settings, setting, None) and name.lower() in written
    ]


def check_proxy_header(**kwargs: Any) -> list[CheckMessage]:
    is_on = MIDDLEWARE in settings.MIDDLEWARE
    by_header = getattr(settings, "SECURE_PROXY_SSL_HEADER", None)
    if not is_on or not by_header or conf.TRUSTED_PROXIES:
        return []
    return [
        Warning(
            "SECURE_PROXY_SSL_HEADER is set, and TRUSTED_PROXIES is not: anybody who "
            "reaches the server can say that a request came by TLS.",
            hint="List the proxies in PERFGUARD['TRUSTED_PROXIES'].",
            id="perfguard.W508",
        )
    ]


ALL: tuple[Check, ...] = (
    check_others,
    check_middleware,
    check_django,
    check_nonce,
    check_referrer,
    check_two_policies,
)
DEPLOY: tuple[Check, ...] = (check_proxy_header,)
