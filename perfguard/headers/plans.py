"""What is sent, made once from the settings, and again when they change."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import django
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from perfguard.headers.csp import build_policy
from perfguard.headers.layers import (
    ENFORCE,
    REPORT_ONLY,
    Value,
    Values,
    layers,
    rules,
    sound,
    values_of,
)
from perfguard.headers.policies import has_nonce, read_policy
from perfguard.headers.presets import REMOVED, REVALIDATED
from perfguard.headers.values import BAD_PATTERN, HSTS

logger = logging.getLogger("perfguard.headers")

Entry = tuple[str, str]  # a header as Django's ResponseHeaders keeps it

MARK = "\0"  # what no source may have in it
# What X-Frame-Options says, in the words of frame-ancestors.
FRAMES = {"DENY": "'none'", "SAMEORIGIN": "'self'"}
STS, FRAME_OPTIONS, CACHE = HSTS.lower(), "x-frame-options", "cache-control"
CONDITIONAL = {STS, FRAME_OPTIONS, CACHE}
DJANGO_SETTINGS = {"DEBUG", "SECURE_CSP", "SECURE_CSP_REPORT_ONLY"}


@dataclass(frozen=True, slots=True)
class PolicyPlan:
    """One of the two headers of a content security policy."""

    key: str
    name: str
    attribute: str  # of the answer, where Django's decorators leave their policy
    policy: Mapping[str, Any]
    texts: Mapping[str, str]  # without a nonce, by what X-Frame-Options says
    with_nonce: Mapping[str, str]  # where a MARK stands in its place
    has_nonce: bool = False
    follows_frames: bool = False
    is_forced: bool = False
    spares_debug_pages: bool = False

    def empty(self) -> PolicyPlan:
        return replace(self, policy={}, texts={"": ""}, has_nonce=False)

    def text(self, frames: str, nonce: Any) -> str:
        if self.has_nonce and nonce:
            texts = self.with_nonce
            return texts.get(frames, texts[""]).replace(MARK, str(nonce))
        return self.texts.get(frames, self.texts[""])


@dataclass(frozen=True, slots=True)
class Plan:
    """Headers by their names in lower case, checked and ready to be laid down."""

    values: Values
    always: tuple[tuple[str, Entry], ...]
    forced: Mapping[str, Entry]
    removed: tuple[str, ...]
    policies: tuple[PolicyPlan, PolicyPlan]
    hsts: Entry | None = None
    forces_hsts: bool = False
    frames: Entry | None = None
    cache: Entry | None = None
    revalidated: Entry | None = None  # in its place, where the view has a validator
    clear_site_data: Entry | None = None
    has_nonce: bool = False

    def without(self, names: frozenset[str]) -> Plan:
        """For a view that wants none of these, "*" being all, save what is forced."""

        def has(key: str) -> bool:
            return "*" not in names and key not in names

        def stays(policy: PolicyPlan) -> bool:
            return policy.is_forced or has(policy.key)

        enforce, report_only = self.policies
        return replace(
            self,
            always=tuple(it for it in self.always if has(it[0])),
            policies=(
                enforce if stays(enforce) else enforce.empty(),
                report_only if stays(report_only) else report_only.empty(),
            ),
            hsts=self.hsts if self.forces_hsts or has(STS) else None,
            frames=self.frames if has(FRAME_OPTIONS) else None,
            cache=self.cache if has(CACHE) else None,
            revalidated=self.revalidated if has(CACHE) else None,
        )


def make_plan(rule: Mapping[str, Any], last_good: Mapping[str, Value]) -> Plan:
    values = values_of(layers(rule), last_good)
    forced = {name.lower() for name in sound("HEADERS_FORCE")}
    entries = {
        key: (each.name, each.value)
        for key, each in values.items()
        if isinstance(each.value, str)
    }
    cache = entries.get(CACHE)
    is_own = cache and not values[CACHE].is_preset
    policies = (
        _policy(values.get(ENFORCE.lower()), ENFORCE, "_csp_config", forced),
        _policy(values.get(REPORT_ONLY.lower()), REPORT_ONLY, "_csp_ro_config", forced),
    )
    return Plan(
        values=values,
        always=tuple(it for it in entries.items() if it[0] not in CONDITIONAL),
        forced={key: it for key, it in entries.items() if key in forced - {STS}},
        removed=tuple(_removed(values, forced)),
        policies=policies,
        hsts=entries.get(STS),
        forces_hsts=STS in forced,
        frames=entries.get(FRAME_OPTIONS),
        cache=cache,
        revalidated=cache if is_own or not cache else (cache[0], REVALIDATED),
        clear_site_data=_clear_site_data(),
        has_nonce=any(policy.has_nonce for policy in policies),
    )


def _removed(values: Values, forced: set[str]) -> list[str]:
    named = forced | {name.lower() for name in REMOVED}
    return [key for key, each in values.items() if each.value is None and key in named]


def _policy(
    found: Value | None, name: str, attribute: str, forced: set[str]
) -> PolicyPlan:
    policy = (found.value if found else None) or {}
    follows = found is not None and found.is_preset
    variants = {"": policy}
    if follows:
        variants = {key: _framed(policy, key) for key in ("", *FRAMES)}
    return PolicyPlan(
        key=name.lower(),
        name=name,
        attribute=attribute,
        policy=policy,
        texts={key: build_policy(it) for key, it in variants.items()},
        with_nonce={key: build_policy(it, MARK) for key, it in variants.items()},
        has_nonce=has_nonce(policy),
        follows_frames=follows,
        is_forced=name.lower() in forced and bool(policy),
        # Django 6 sends them without a policy: their styles and scripts are inline.
        spares_debug_pages=settings.DEBUG and django.VERSION < (6,),
    )


def _framed(policy: Mapping[str, Any], frames: str) -> dict[str, Any]:
    """The preset's policy for a view that may be framed after all. Browsers pass over
    X-Frame-Options where there are frame-ancestors."""
    return {**policy, "frame-ancestors": [FRAMES[frames]] if frames in FRAMES else None}


def _clear_site_data() -> Entry | None:
    text = ", ".join(f'"{kind}"' for kind in sound("HEADERS_CLEAR_SITE_DATA"))
    return ("Clear-Site-Data", text) if text else None


class Plans:
    """The site's plan, and one for each rule of ``HEADERS_PATHS``."""

    def __init__(self) -> None:
        self.site: Plan | None = None
        self.by_path: list[tuple[re.Pattern[str], Plan]] = []
        self.last_good: Values = {}

    def of(self, path: str) -> Plan:
        site = self.site or self._make()
        for pattern, plan in self.by_path:
            if pattern.search(path):
                return plan
        return site

    def reload(self) -> None:
        self.site = None

    def _make(self) -> Plan:
        by_path = []
        for rule in rules():
            try:
                pattern = re.compile(str(rule.get("path", "")))
            except BAD_PATTERN as error:
                logger.error("HEADERS_PATHS: %r is left out: %s", rule, error)
            else:
                by_path.append((pattern, make_plan(rule, self.last_good)))
        site = make_plan({}, self.last_good)
        self.last_good, self.by_path, self.site = site.values, by_path, site
        return site


plans = Plans()


def overridden(policy: Any, nonce: Any) -> str | None:
    """A view's own policy as text; None when no browser could read it."""
    try:
        return build_policy(read_policy(policy), nonce)
    except (TypeError, ImproperlyConfigured) as error:
        logger.error("A view's policy is left out: %s", error)
        return None


def _reload(*, setting: str, **kwargs: Any) -> None:
    if setting == "PERFGUARD" or setting in DJANGO_SETTINGS:
        plans.reload()


setting_changed.connect(_reload, dispatch_uid="perfguard.headers.plans")
