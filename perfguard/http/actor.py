"""Whom a request is about, for what is written down of it."""

from __future__ import annotations

from typing import Any, NamedTuple

ATTRIBUTE = "_perfguard_actor"


class Actor(NamedTuple):
    """``kind`` is how the person was known: "session", "token", "api_key",
    "trusted_header", "sign_in", "other"; "anonymous"; or "unknown"."""

    kind: str
    id: str = ""
    label: str = ""  # the user's name at sign-in
    marker: str = ""  # the public name of the session or API key


def name_actor(request: Any, actor: Actor) -> None:
    """For those who sign somebody in, up or out, where ``request.user`` does not say
    who it is, or no longer."""
    http = getattr(request, "_request", request)  # DRF's request wraps Django's
    setattr(http, ATTRIBUTE, actor)


def named_actor(request: Any) -> Actor | None:
    named: Actor | None = getattr(request, ATTRIBUTE, None)
    return named


def actor_for(kind: str, user: Any, marker: str = "") -> Actor:
    name = getattr(user, "get_username", None)
    return Actor(kind, str(user.pk), str(name()) if name else "", marker)
