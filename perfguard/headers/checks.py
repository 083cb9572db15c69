"""System checks of security headers: what is written in the settings of this room.

Those of the rest of the site are in ``site_checks``.

perfguard.E501  a value in HEADERS        perfguard.W501  a doubtful policy
perfguard.E502  a name in HEADERS_FORCE   perfguard.W502  an unknown feature
perfguard.E503  a policy
perfguard.E504  HEADERS_PATHS
perfguard.E505  HEADERS_REPORT_URL
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

from perfguard.exceptions import InvalidSetting
from perfguard.headers import site_checks
from perfguard.headers.layers import (
    DJANGO_POLICIES,
    POLICIES,
    given_headers,
    given_policies,
    is_report_url,
    read_header,
    sound,
)
from perfguard.headers.permissions import FEATURES, read_permissions
from perfguard.headers.policies import doubts, read_policy
from perfguard.headers.presets import PRESETS
from perfguard.headers.values import BAD_PATTERN, PERMISSIONS, read_name

Check = Callable[..., list[CheckMessage]]


def check_values(**kwargs: Any) -> list[CheckMessage]:
    messages: list[CheckMessage] = []
    for setting, name, value in given_headers():
        try:
            read_name(name)
            if name.lower() not in POLICIES:
                read_header(name, value)
        except InvalidSetting as error:
            text = f"PERFGUARD[{setting!r}][{name!r}]: {error}"
            messages.append(Error(text, hint=_meant(name), id="perfguard.E501"))
    return messages


def _meant(name: Any) -> str | None:
    if str(name).lower() == "clear-site-data":
        return "Set HEADERS_CLEAR_SITE_DATA: it is sent on sign-out alone."
    return None


def check_names(**kwargs: Any) -> list[CheckMessage]:
    """Names in ``HEADERS_FORCE`` that nobody gives a value; typing errors, mostly."""
    rules_headers = {str(name).lower() for _, name, _ in given_headers()}
    preset = {name.lower() for name in PRESETS[sound("HEADERS_PRESET")]}
    policies = {
        name.lower()
        for name, setting in DJANGO_POLICIES.items()
        if getattr(settings, setting, None)
    }
    known = rules_headers | preset | policies
    return [
        Error(
            f"PERFGUARD['HEADERS_FORCE'] has {name!r}, and no such header is sent.",
            hint=_close(name.lower(), known) or "Give it a value in HEADERS.",
            id="perfguard.E502",
        )
        for name in sound("HEADERS_FORCE")
        if name.lower() not in known
    ]


def check_policies(**kwargs: Any) -> list[CheckMessage]:
    messages: list[CheckMessage] = []
    for place, value in given_policies():
        try:
            policy = read_policy(value)
        except InvalidSetting as error:
            messages.append(Error(f"{place}: {error}", id="perfguard.E503"))
        else:
            messages += [
                Warning(f"{place}: {text}.", hint=hint, id="perfguard.W501")
                for text, hint in doubts(policy)
            ]
    return messages


def check_paths(**kwargs: Any) -> list[CheckMessage]:
    return [
        Error(
            f"PERFGUARD['HEADERS_PATHS'] has {rule!r}: {text}",
            hint="Write {'path': '^/api/', 'preset': 'api', 'headers': {...}}, the "
            "last two as you need them.",
            id="perfguard.E504",
        )
        for rule in sound("HEADERS_PATHS")
        for text in _wrong_rule(rule)
    ]


def _wrong_rule(rule: Any) -> Iterator[str]:
    if not isinstance(rule, Mapping):
        yield "it is no dictionary."
        return
    if unknown := rule.keys() - {"path", "preset", "headers"}:
        yield f"it has no {', '.join(sorted(map(repr, unknown)))}."
    path = rule.get("path")
    try:
        re.compile(path if isinstance(path, str) and path else "(")
    except BAD_PATTERN as error:
        yield f"'path' is no regular expression ({error})."
    if rule.get("preset", "strict") not in tuple(PRESETS):
        yield f"'preset' is none of {', '.join(PRESETS)}."
    if not isinstance(rule.get("headers", {}), Mapping):
        yield "'headers' is no dictionary."


def check_report_url(**kwargs: Any) -> list[CheckMessage]:
    url = sound("HEADERS_REPORT_URL")
    if not url or is_report_url(url):
        return []
    return [
        Error(
            f"PERFGUARD['HEADERS_REPORT_URL'] is {url!r}.",
            hint="Write the path of CspReportView, such as '/csp-reports', or an "
            "address that begins with https://.",
            id="perfguard.E505",
        )
    ]


def check_features(**kwargs: Any) -> list[CheckMessage]:
    messages: list[CheckMessage] = []
    for setting, name, value in given_headers():
        if str(name).lower() == PERMISSIONS.lower() and value is not None:
            messages += [
                Warning(
                    f"PERFGUARD[{setting!r}][{name!r}]: no browser is known to have "
                    f"the feature {feature!r}.",
                    hint=_close(feature, FEATURES) or "Browsers pass over it.",
                    id="perfguard.W502",
                )
                for feature in _features(value)
                if feature not in FEATURES
            ]
    return messages


def _features(value: Any) -> list[str]:
    try:
        return list(read_permissions(value))
    except InvalidSetting:
        return []  # perfguard.E501


def _close(word: str, words: Any) -> str:
    close = get_close_matches(word, sorted(words), n=1, cutoff=0.6)
    return f"Did you mean {close[0]!r}?" if close else ""


ALL: tuple[Check, ...] = (
    check_values,
    check_names,
    check_policies,
    check_paths,
    check_report_url,
    check_features,
    *site_checks.ALL,
)
DEPLOY: tuple[Check, ...] = site_checks.DEPLOY
