"""System checks of sign-in by a trusted header.

perfguard.E201  nobody, or everybody, is trusted   perfguard.W201  no door
perfguard.E202  a name that no header can have     perfguard.W202  without effect
perfguard.E203  half a secret, or a weak one       perfguard.W203  roles unlike
perfguard.E204  a role that cannot be given        perfguard.W204  no index
perfguard.E205  a Django that can be deceived
perfguard.E206  a user model that lacks a field
perfguard.E207  the order of the middleware
perfguard.E208  a domain that is none
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import django
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.utils.module_loading import import_string

from perfguard.conf import conf, given, missed
from perfguard.exceptions import InvalidSetting
from perfguard.http.trusted_header import LABEL, small
from perfguard.http.trusted_proxy import (
    has_half_a_secret,
    is_unsafe_django,
    too_wide,
    wrong_names,
)
from perfguard.schema import SETTINGS
from perfguard.trusted_header.user_model import (
    email_field,
    has_groups,
    has_lower_index,
    role_fault,
    unique_field,
)

Check = Callable[..., list[CheckMessage]]

SHORTEST_SECRET = 32  # characters
DOMAIN = re.compile(rf"{LABEL}(?:\.{LABEL})*")
ROOM = __name__.rpartition(".")[0]
DJANGO_AUTH = "django.contrib.auth.middleware"


def check_effect(**kwargs: Any) -> list[CheckMessage]:
    idle = [name for name, value in _mine().items() if value]
    if not idle or not _has_types() or conf.TRUSTED_EMAIL_HEADER:
        return []
    return [
        Warning(
            f"PERFGUARD has {', '.join(idle)}, and no TRUSTED_EMAIL_HEADER: "
            "sign-in by a trusted header is off.",
            hint="Name the e-mail header, or remove the others.",
            id="perfguard.W202",
        )
    ]


def check_proxies(**kwargs: Any) -> list[CheckMessage]:
    if not _is_on():
        return []
    try:
        wide = [str(network) for network in too_wide()]
    except InvalidSetting:
        return []  # the check of the networks themselves tells
    if conf.TRUSTED_PROXIES and not wide:
        return []
    trusted = f"trusts {' and '.join(wide)}" if wide else "is empty"
    return [
        Error(
            f"TRUSTED_EMAIL_HEADER is set, and PERFGUARD['TRUSTED_PROXIES'] {trusted}: "
            "the header is ignored.",
            hint="List the addresses of the proxies that set the header, and no more: "
            "whoever connects from there can be anybody.",
            id="perfguard.E201",
        )
    ]


def check_headers(**kwargs: Any) -> list[CheckMessage]:
    return [
        Error(
            f"PERFGUARD[{name!r}] is {getattr(conf, name)!r}.",
            hint="Take a name of letters, digits and single hyphens that no other "
            "header has. With an underscore a client could send it too.",
            id="perfguard.E202",
        )
        for name in (wrong_names() if _is_on() else ())
    ]


def check_secret(**kwargs: Any) -> list[CheckMessage]:
    if not _is_on():
        return []
    secret = conf.TRUSTED_SECRET
    message = ""
    if has_half_a_secret():
        message = "TRUSTED_SECRET_HEADER and TRUSTED_SECRET need each other."
    elif secret and not (
        secret.isascii() and secret.isprintable() and " " not in secret
    ):
        message = "TRUSTED_SECRET has characters that no header carries safely."
    elif secret and len(secret) < SHORTEST_SECRET:
        message = f"TRUSTED_SECRET is shorter than {SHORTEST_SECRET} characters."
    hint = 'Make one: python -c "import secrets; print(secrets.token_urlsafe(32))".'
    return [Error(message, hint=hint, id="perfguard.E203")] if message else []


def check_roles(**kwargs: Any) -> list[CheckMessage]:
    if not _is_on() or not _has_user_model():
        return []
    messages: list[CheckMessage] = [
        Error(f"TRUSTED_ROLES[{name!r}] {fault}.", id="perfguard.E204")
        for name, fault in _role_faults()
    ]
    default, roles = conf.TRUSTED_DEFAULT_ROLE, conf.TRUSTED_ROLES
    if default and default not in roles:
        messages.append(
            Error(
                f"TRUSTED_DEFAULT_ROLE is {default!r}, which TRUSTED_ROLES lacks.",
                hint="Until it is there, no user is created.",
                id="perfguard.E204",
            )
        )
    if not messages and len({frozenset(fields) for fields in roles.values()}) > 1:
        messages.append(
            Warning(
                "The roles of TRUSTED_ROLES do not all set the same fields: who "
                "changes role keeps what the new one says nothing of.",
                hint="Write each field in each role: 'is_staff': False as well.",
                id="perfguard.W203",
            )
        )
    return messages


def _role_faults() -> Iterator[tuple[str, str]]:
    for name, fields in conf.TRUSTED_ROLES.items():
        if name != small(str(name).strip()) or not name:
            yield name, "is no role in lower case"
        elif fault := role_fault(get_user_model(), fields):
            yield name, fault


def check_django(**kwargs: Any) -> list[CheckMessage]:
    if not _is_on() or not is_unsafe_django():
        return []
    return [
        Error(
            f"Django {django.get_version()} takes a client's X_Email for the proxy's "
            "X-Email under ASGI (CVE-2026-3902): the trusted header is ignored.",
            hint="Upgrade to Django 5.2.13, 6.0.4 or newer.",
            id="perfguard.E205",
        )
    ]


def check_user_model(**kwargs: Any) -> list[CheckMessage]:
    if not _is_on():
        return []
    if not _has_user_model():
        message = (
            "The user model has no e-mail field, and the trusted header needs one."
        )
        return [Error(message, id="perfguard.E206")]
    model = get_user_model()
    messages: list[CheckMessage] = []
    if conf.TRUSTED_GROUPS_HEADER and not has_groups(model):
        message = "TRUSTED_GROUPS_HEADER is set, and the user model has no groups."
        messages.append(Error(message, id="perfguard.E206"))
    if conf.TRUSTED_CREATE_USERS and unique_field(model) is None:
        messages.append(
            Error(
                "TRUSTED_CREATE_USERS is on, and two first requests at once could make "
                "two accounts: neither the e-mail address nor the user name is a "
                "unique column of text.",
                hint="Make the e-mail field unique. Until then no user is created.",
                id="perfguard.E206",
            )
        )
    if conf.TRUSTED_PER_REQUEST and not has_lower_index(model):
        messages.append(
            Warning(
                "TRUSTED_PER_REQUEST is on, and the user model has no index on its "
                "e-mail address in lower case: each request reads the whole table.",
                hint="Add UniqueConstraint(Lower('email'), name=...) to its Meta.",
                id="perfguard.W204",
            )
        )
    return messages


def check_doors(**kwargs: Any) -> list[CheckMessage]:
    if not _is_on():
        return []
    middleware = [_bases(path) for path in settings.MIDDLEWARE]
    mine = [at for at, names in enumerate(middleware) if any(map(_is_mine, names))]
    before = middleware[: mine[0]] if mine else []
    if mine and not any(
        f"{DJANGO_AUTH}.AuthenticationMiddleware" in it for it in before
    ):
        return [
            Error(
                "TrustedHeaderMiddleware stands before AuthenticationMiddleware.",
                hint="Move it behind: it compares the session's user with the header.",
                id="perfguard.E207",
            )
        ]
    rest = getattr(settings, "REST_FRAMEWORK", {})
    classes = rest.get("DEFAULT_AUTHENTICATION_CLASSES", ())
    authenticates = any(_is_mine(name) for it in classes for name in _bases(it))
    if not conf.TRUSTED_PER_REQUEST or mine or authenticates:
        return []
    return [
        Warning(
            "TRUSTED_PER_REQUEST is on, and nothing by default reads the header.",
            hint="Add TrustedHeaderMiddleware to MIDDLEWARE, or "
            "TrustedHeaderAuthentication to DEFAULT_AUTHENTICATION_CLASSES.",
            id="perfguard.W201",
        )
    ]


def check_domains(**kwargs: Any) -> list[CheckMessage]:
    domains = conf.TRUSTED_EMAIL_DOMAINS if _is_on() else ()
    return [
        Error(
            f"PERFGUARD['TRUSTED_EMAIL_DOMAINS'] has {domain!r}, which is no domain.",
            hint="Write what follows the @, such as 'example.com'. A domain does not "
            "include those below it.",
            id="perfguard.E208",
        )
        for domain in domains
        if domain.isascii() and not DOMAIN.fullmatch(domain)
    ]


def _mine() -> Mapping[str, Any]:
    shared = {"TRUSTED_EMAIL_HEADER", "TRUSTED_PROXIES"}
    return {
        name: value
        for name, value in given().items()
        if name in SETTINGS and name.startswith("TRUSTED_") and name not in shared
    }


def _has_types() -> bool:
    """Whether the values can be read at all; the check of types tells of others."""
    names = [name for name in SETTINGS if name.startswith("TRUSTED_")]
    return not any(missed(name, given()[name]) for name in names if name in given())


def _is_on() -> bool:
    return _has_types() and bool(conf.TRUSTED_EMAIL_HEADER)


def _has_user_model() -> bool:
    try:
        email_field(get_user_model())
    except (FieldDoesNotExist, ImproperlyConfigured):
        return False
    return True


def _bases(each: Any) -> Sequence[str]:
    """The dotted names of a class and of what it inherits from."""
    try:
        each = import_string(each) if isinstance(each, str) else each
    except ImportError:
        return ()
    return [f"{it.__module__}.{it.__qualname__}" for it in getattr(each, "__mro__", ())]


def _is_mine(name: str) -> bool:
    return name.startswith(f"{ROOM}.")


ALL: tuple[Check, ...] = (
    check_effect,
    check_proxies,
    check_headers,
    check_secret,
    check_roles,
    check_django,
    check_user_model,
    check_doors,
    check_domains,
)
