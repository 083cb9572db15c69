"""Which header gets which value: the preset, and what is laid over it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from perfguard.conf import conf, missed
from perfguard.exceptions import InvalidSetting
from perfguard.headers.csp import CSP
from perfguard.headers.policies import read_policy
from perfguard.headers.presets import PRESETS
from perfguard.headers.values import CSP_HEADERS, read_name, read_value
from perfguard.schema import Settings

logger = logging.getLogger("perfguard.headers")

ENFORCE, REPORT_ONLY = (str(CSP.HEADER_ENFORCE), str(CSP.HEADER_REPORT_ONLY))
DJANGO_POLICIES = {ENFORCE: "SECURE_CSP", REPORT_ONLY: "SECURE_CSP_REPORT_ONLY"}
POLICIES = frozenset(name.lower() for name in CSP_HEADERS)
ENDPOINTS = "Reporting-Endpoints"
PRESET = "the preset"
GROUP = "perfguard"  # the end-point's name in that header


@dataclass(frozen=True, slots=True)
class Value:
    """What one header says. None: it is not sent. ``source`` names the setting."""

    name: str
    value: Any  # text; a dictionary for the two policies
    source: str

    @property
    def is_preset(self) -> bool:
        return self.source.startswith(PRESET)


Values = dict[str, Value]  # by the name in lower case
Layer = tuple[str, Mapping[Any, Any]]  # the name of a setting, and what it says


def layers(rule: Mapping[str, Any]) -> Iterator[Layer]:
    """From the weakest. A rule of ``HEADERS_PATHS`` stands above all; the preset that
    it names brings its policy, and "off" stands alone."""
    chosen = str(rule.get("preset") or sound("HEADERS_PRESET"))
    preset = PRESETS.get(chosen, PRESETS["strict"])
    yield f"{PRESET} {chosen!r}", preset
    if rule.get("preset") != "off":
        for name, setting in DJANGO_POLICIES.items():
            if policy := getattr(settings, setting, None):
                yield setting, {name: policy}
        yield "HEADERS", sound("HEADERS")
        if rule.get("preset"):
            yield f"{PRESET} {chosen!r}", {ENFORCE: preset[ENFORCE]}
    own = rule.get("headers", {})
    yield "HEADERS_PATHS", own if isinstance(own, Mapping) else {}


def values_of(stack: Iterator[Layer], last_good: Mapping[str, Value]) -> Values:
    """What is wrong changes nothing: the last good value stays, and is logged."""
    found: Values = {}
    for source, headers in stack:
        for name, raw in headers.items():
            try:
                value = Value(read_name(name), read_header(name, raw), source)
            except InvalidSetting as error:
                logger.error("%s[%r] is left out: %s", source, name, error)
                if isinstance(name, str) and name.lower() in last_good:
                    found[name.lower()] = last_good[name.lower()]
            else:
                found[name.lower()] = value
    _report(found)
    return found


def read_header(name: str, raw: Any) -> Any:
    """Text, or the dictionary of a policy; None stays None. Raises InvalidSetting."""
    if raw is None:
        return None
    if name.lower() in POLICIES:
        return read_policy(raw)
    return read_value(name, raw)


def is_report_url(url: str) -> bool:
    try:
        return bool(read_value(ENDPOINTS, f'{GROUP}="{url}"'))
    except InvalidSetting:
        return False


def _report(found: Values) -> None:
    """Every policy without an address for its reports gets the site's."""
    url = sound("HEADERS_REPORT_URL")
    if not url or not is_report_url(url):
        return
    known = found.get(ENDPOINTS.lower())
    has_groups = known is None or known.value is not None
    where: dict[str, Any] = {"report-uri": [url]}
    if has_groups:
        # Browsers that know it pass over the first.
        where["report-to"] = [GROUP]
    policies = [key for key in found if key in POLICIES and found[key].value]
    for key in policies:
        each = found[key]
        if not {"report-uri", "report-to"} & each.value.keys():
            found[key] = Value(each.name, {**each.value, **where}, each.source)
    if policies and has_groups and (known is None or f"{GROUP}=" not in known.value):
        own = [f'{GROUP}="{url}"', *([known.value] if known else [])]
        source = known.source if known else "HEADERS_REPORT_URL"
        found[ENDPOINTS.lower()] = Value(ENDPOINTS, ", ".join(own), source)


def rules() -> Sequence[Mapping[str, Any]]:
    return [each for each in sound("HEADERS_PATHS") if isinstance(each, Mapping)]


def sound(name: str) -> Any:
    """A setting, or its default when it is of a wrong type: perfguard.E002 tells."""
    value = getattr(conf, name)
    return getattr(Settings(), name) if missed(name, value) else value


def given_headers() -> Iterator[tuple[str, Any, Any]]:
    """Setting, name and value of each header that the site gives."""
    for name, value in sound("HEADERS").items():
        yield "HEADERS", name, value
    for rule in rules():
        headers = rule.get("headers", {})
        for name, value in headers.items() if isinstance(headers, Mapping) else ():
            yield "HEADERS_PATHS", name, value


def given_policies() -> Iterator[tuple[str, Any]]:
    """Where it is written, and the policy, as it was written."""
    for setting, name, value in given_headers():
        if str(name).lower() in POLICIES and value is not None:
            yield f"PERFGUARD[{setting!r}][{name!r}]", value
    for setting in DJANGO_POLICIES.values():
        if policy := getattr(settings, setting, None):
            yield setting, policy
