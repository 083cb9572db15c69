"""Security events, as signals tell of them, become entries."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.signals import (
    user_logged_in,
    user_logged_out,
    user_login_failed,
)

from perfguard import signals
from perfguard.audit import events
from perfguard.audit.quiet import quiet
from perfguard.audit.watch import REFUSER
from perfguard.conf import conf
from perfguard.http.actor import Actor, actor_for, name_actor

logger = logging.getLogger("perfguard.audit")

REVOKED_CODES = {"token_revoked", "revoked", "token_reused"}
SIGNING_OUT = {"sign_out", "sign_out_all"}
TOLD = "_perfguard_audit_told"  # kinds of events that a request has had


def connect() -> None:
    """A second time changes nothing."""
    for signal, receiver in (
        (signals.credential_refused, on_refused),
        (signals.user_signed_in, on_signed_in),
        (signals.token_revoked, on_token_revoked),
        (signals.token_reused, on_token_reused),
        (signals.api_key_changed, on_api_key_changed),
        (user_logged_in, on_logged_in),
        (user_logged_out, on_logged_out),
        (user_login_failed, on_login_failed),
    ):
        name = getattr(receiver, "__name__", "")
        signal.connect(receiver, dispatch_uid=f"perfguard.audit.{name}")


def connect_throttles() -> None:
    """Apart from the others: each decision of the gate costs a call then."""
    signals.throttle_decided.connect(
        on_throttle_decided, dispatch_uid="perfguard.audit.on_throttle_decided"
    )


def is_wanted(kind: str) -> bool:
    return conf.AUDIT_LEVEL != "NONE" and kind in conf.AUDIT_EVENTS


def on_refused(
    *, request: Any = None, kind: str, code: str, user_key: str = "", **kwargs: Any
) -> None:
    name = _kind_of_refusal(kind, code)
    http = getattr(request, "_request", request)
    if http is not None:
        setattr(http, REFUSER, kind)
    if is_wanted(name) and _is_first(http, name):
        actor = Actor("unknown", user_key) if user_key else None
        events.record_known(name, request=http, actor=actor, presented=kind, code=code)


def _kind_of_refusal(kind: str, code: str) -> str:
    if kind == "password":
        return "sign_in_refused"
    if kind == "api_key":
        return "api_key_refused"
    if kind == "trusted_header":
        return "trusted_header_refused"
    return "revoked_token_used" if code in REVOKED_CODES else "token_refused"


def on_signed_in(
    *, user: Any, request: Any = None, method: str, sid: str = "", **kwargs: Any
) -> None:
    _signed_in(request, user, method, sid)


def harmless(receiver: Callable[..., None]) -> Callable[..., None]:
    """Django sends these three by ``send``: an error would be the sign-in's."""

    @wraps(receiver)
    def guarded(**kwargs: Any) -> None:
        try:
            receiver(**kwargs)
        except Exception as error:  # noqa: BLE001 - see above
            logger.error("An audit event was lost: %s.", type(error).__name__)

    return guarded


@harmless
def on_logged_in(*, request: Any, user: Any, **kwargs: Any) -> None:
    _signed_in(request, user, "session", "")


def _signed_in(request: Any, user: Any, method: str, marker: str) -> None:
    http = getattr(request, "_request", request)
    actor = actor_for("sign_in", user, marker)
    if http is not None:
        name_actor(http, actor)
    if is_wanted("sign_in") and _is_first(http, "sign_in"):
        events.record_known("sign_in", request=http, actor=actor, by=method)


@harmless
def on_logged_out(*, request: Any, user: Any, **kwargs: Any) -> None:
    if user is None:
        return
    actor = actor_for("session", user)
    if request is not None:
        name_actor(request, actor)
    if is_wanted("sign_out"):
        events.record_known("sign_out", request=request, actor=actor)


@harmless
def on_login_failed(*, request: Any = None, **kwargs: Any) -> None:
    # Without the credentials: people type passwords into the field of the name.
    http = getattr(request, "_request", request)
    if is_wanted("sign_in_refused") and _is_first(http, "sign_in_refused"):
        events.record_known("sign_in_refused", request=http, presented="password")


def on_token_revoked(
    *, kind: str, user_key: str, marker: str, reason: str, by: str, **kwargs: Any
) -> None:
    # Of all that a user has the marker is a generation, which names nothing.
    about = Actor("", user_key, marker="" if kind == "user" else marker)
    if reason in SIGNING_OUT and kind != "token" and is_wanted("sign_out"):
        events.record_known("sign_out", actor=about, what=kind, by=by)
    if is_wanted("token_revoked"):
        told = {"what": kind, "reason": reason, "by": by}
        events.record_known("token_revoked", actor=about, **told)


def on_token_reused(*, user_key: str, sid: str, **kwargs: Any) -> None:
    if is_wanted("token_reused"):
        events.record_known("token_reused", actor=Actor("token", user_key, marker=sid))


def on_api_key_changed(
    *, key_id: str, change: str, user_key: str, by: str = "", **kwargs: Any
) -> None:
    if is_wanted("api_key_changed"):
        about = Actor("", user_key, marker=key_id)
        events.record_known("api_key_changed", actor=about, change=change, by=by)


def on_throttle_decided(
    *, identities: tuple[str, ...], verdict: Any, **kwargs: Any
) -> None:
    if verdict.allowed or not is_wanted("throttle_refused"):
        return
    scopes = sorted({window.scope for window in verdict.refusing})
    # A flood of refusals is one event a minute: it must not be a flood of rows.
    if quiet.begins((identities, *scopes)):
        events.record_known(
            "throttle_refused",
            identity=", ".join(identities),
            scope=", ".join(scopes),
            source=str(verdict.source),
        )


def _is_first(request: Any, kind: str) -> bool:
    """Two that tell of the same: Django's authentication, and the view."""
    if request is None:
        return True
    # Of some who call themselves a request nothing can be remembered.
    told: set[str] = getattr(request, "__dict__", {}).setdefault(TOLD, set())
    is_new = kind not in told
    told.add(kind)
    return is_new
