"""Security headers on every answer, also on those that no view gives."""

from __future__ import annotations

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import patch_cache_control

from perfguard.headers.csp import Nonce, get_nonce
from perfguard.headers.plans import FRAMES, Entry, Plan, PolicyPlan, overridden, plans
from perfguard.headers.presets import VALIDATORS
from perfguard.headers.sign_out import is_sign_out
from perfguard.headers.transport import is_believed
from perfguard.headers.values import HSTS
from perfguard.http.middleware import Middleware

# Left on an answer by the decorators: names of headers, in lower case.
WITHOUT = "_perfguard_without_headers"
STS = HSTS.lower()
NOT_MODIFIED = 304
FIRST_ERROR = 400

Store = dict[str, Entry]


class SecurityHeadersMiddleware(Middleware):
    """Outside of all that may answer: redirects, files, CORS, limits.

    What a view set stays, save the names in ``HEADERS_FORCE``. Nothing here raises:
    what is wrong in the settings is a system check, and is left out.
    """

    def before(self, request: HttpRequest) -> HttpResponseBase | None:
        if plans.of(request.path_info).has_nonce:
            request._csp_nonce = Nonce(request)  # type: ignore[attr-defined]
        return None

    def after(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        plan = plans.of(request.path_info)
        if without := getattr(response, WITHOUT, None):
            plan = plan.without(without)
        # Past ResponseHeaders.__setitem__, which encodes each name and value again:
        # all of these were read when the plan was made.
        store: Store = response.headers._store
        for key in plan.removed:
            store.pop(key, None)
        if plan.forced:
            store.update(plan.forced)
        for key, entry in plan.always:
            if key not in store:
                store[key] = entry
        _add_conditional(plan, request, response, store)
        return response


def _add_conditional(
    plan: Plan, request: HttpRequest, response: HttpResponseBase, store: Store
) -> None:
    if plan.frames and not getattr(response, "xframe_options_exempt", False):
        store.setdefault("x-frame-options", plan.frames)
    for policy in plan.policies:
        if policy.policy or hasattr(response, policy.attribute):
            _add_policy(policy, request, response, store)
    if "cache-control" not in store:
        _add_cache_control(plan, request, store)
    if get_nonce(request):
        _keep_from_shared_caches(response)
    _add_hsts(plan, request, store)
    if plan.clear_site_data and is_sign_out(request, response):
        store["clear-site-data"] = plan.clear_site_data


def _add_cache_control(plan: Plan, request: HttpRequest, store: Store) -> None:
    has_validator = any(key in store for key in VALIDATORS)
    entry = plan.revalidated if has_validator else plan.cache
    if entry is not None:
        store["cache-control"] = entry


def _keep_from_shared_caches(response: HttpResponseBase) -> None:
    """They would hand the nonce to everybody; one that is known is none."""
    said = response.headers.get("Cache-Control", "").lower()
    if "private" not in said and "no-store" not in said:
        patch_cache_control(response, private=True)  # in place of "public"


def _add_hsts(plan: Plan, request: HttpRequest, store: Store) -> None:
    if not plan.hsts and STS not in store:
        return
    if not (request.is_secure() and is_believed(request)):
        # RFC 6797, section 7.2: not over plain HTTP, whoever put it there.
        store.pop(STS, None)
    elif plan.hsts and (STS not in store or plan.forces_hsts):
        store[STS] = plan.hsts


def _add_policy(
    plan: PolicyPlan, request: HttpRequest, response: HttpResponseBase, store: Store
) -> None:
    if plan.key in store and not plan.is_forced:
        return
    text = _policy_text(plan, request, response, store)
    if text:
        store[plan.key] = (plan.name, text)


def _policy_text(
    plan: PolicyPlan, request: HttpRequest, response: HttpResponseBase, store: Store
) -> str:
    own = None if plan.is_forced else getattr(response, plan.attribute, None)
    nonce = get_nonce(request)
    if response.status_code == NOT_MODIFIED and (own is not None or plan.has_nonce):
        # It would take the place of the policy that the page was stored with, whose
        # nonce is in the page (RFC 9111, section 3.2).
        return ""
    if own is not None:
        text = overridden(own, nonce)
        if text is not None:
            return text
    if plan.spares_debug_pages and _is_error_page(response):
        return ""
    frames = _frames(response, store) if plan.follows_frames else ""
    return plan.text(frames, nonce)


def _frames(response: HttpResponseBase, store: Store) -> str:
    """Who may frame it, in the words of X-Frame-Options. Without that header nobody
    may, unless the view is exempt."""
    said = store.get("x-frame-options", ("", ""))[1].strip().upper()
    if said.startswith("ALLOW") or getattr(response, "xframe_options_exempt", False):
        return ""
    return said if said in FRAMES else "DENY"


def _is_error_page(response: HttpResponseBase) -> bool:
    is_html = response.headers.get("Content-Type", "").startswith("text/html")
    return response.status_code >= FIRST_ERROR and is_html
