"""Entries of what happened besides requests."""

from __future__ import annotations

import re
from contextvars import ContextVar
from typing import Any

from perfguard.audit import log
from perfguard.audit.actors import UNKNOWN, known_actor
from perfguard.audit.entries import REQUEST, Entry, new_id, now
from perfguard.audit.lines import dumps
from perfguard.audit.models import LONGEST
from perfguard.audit.watch import shown_path, word
from perfguard.http.actor import Actor
from perfguard.http.client_ip import client_address
from perfguard.http.request_id import current_request_id
from perfguard.redaction.header_fields import redact_agent
from perfguard.redaction.names import is_secret
from perfguard.redaction.patterns import BLANK, redact_text
from perfguard.redaction.urls import redact_url
from perfguard.schema import EVENTS

NOBODY = Actor("")
KIND = re.compile(r"[a-z][a-z0-9_]{0,31}")
# Of the log itself, and of perfguard: they would be forged.
RESERVED = {REQUEST, "entries_dropped", "entries_exported", "entries_pruned", *EVENTS}
LONGEST_DETAIL = 2048  # characters

# The request that this thread or task works for, for events that name none.
current: ContextVar[Any] = ContextVar("perfguard_audit_request", default=None)


def record(
    kind: str, /, *, request: Any = None, actor: Actor | None = None, **details: Any
) -> None:
    """``details`` are texts, numbers and None; they are redacted. ``actor`` is whom it
    is about, in place of whoever sent the request.

    Raises ValueError for a kind that is more than 32 small letters, digits and
    underscores, or perfguard's own; TypeError for other details.
    """
    if not KIND.fullmatch(kind) or kind in RESERVED:
        raise ValueError(
            f"{kind!r} is no kind of an event of one's own: write at most 32 small "
            "letters, digits and underscores, and none of perfguard's kinds."
        )
    for name, value in details.items():
        if isinstance(value, dict | list | tuple | set | bytes):
            raise TypeError(
                f"{kind}: the detail {name!r} is a {type(value).__name__}: give texts, "
                "numbers or None."
            )
    record_known(kind, request=request, actor=actor, **details)


def record_known(
    kind: str, /, *, request: Any = None, actor: Actor | None = None, **details: Any
) -> None:
    """The same for perfguard's own kinds."""
    # DRF's request wraps Django's.
    http = getattr(request, "_request", request) or current.get()
    actor = _about(actor, http)
    log.record_later(
        Entry(
            entry_id=new_id(),
            at=now(),
            kind=kind,
            actor_kind=actor.kind,
            actor_id=actor.id[: LONGEST["actor_id"]],
            actor_label=actor.label[: LONGEST["actor_label"]],
            marker=actor.marker[: LONGEST["marker"]],
            request_id=_request_id(http),
            details=dumps({name: _detail(name, details[name]) for name in details}),
            **({} if http is None else _of_request(http)),
        )
    )


def _about(actor: Actor | None, request: Any) -> Actor:
    sender = NOBODY if request is None else known_actor(request) or UNKNOWN
    if actor is None:
        return sender
    is_sender = actor.id == sender.id and not actor.label
    return actor._replace(label=sender.label) if is_sender else actor


def _detail(name: str, value: Any) -> Any:
    if is_secret(name) and value is not None:
        return BLANK
    if value is None or isinstance(value, int | float):
        return value
    return redact_text(str(value))[:LONGEST_DETAIL]


def _of_request(request: Any) -> dict[str, Any]:
    match = getattr(request, "resolver_match", None)
    meta = getattr(request, "META", {})
    agent = meta.get("HTTP_USER_AGENT", "")[: LONGEST["user_agent"]]
    return {
        "method": (getattr(request, "method", "") or "")[:16],
        # Without its query, which the request's own entry has.
        "url": redact_url(shown_path(request), "")[: LONGEST["url"]],
        "route": match.route[: LONGEST["route"]] if match else "",
        "address": client_address(request) if meta else "",
        "user_agent": redact_agent(agent),
        "trace_id": word(request, "trace_id")[:32],
    }


def _request_id(request: Any) -> str:
    name = word(request, "request_id") or current_request_id()
    return "" if name == "-" else name[: LONGEST["request_id"]]
