"""Who sent a request, by what everybody else has found out about it."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from importlib import import_module
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib import auth
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare
from django.utils.functional import LazyObject, empty

from perfguard.audit.wanted import has_session_cookie, presents_credential
from perfguard.conf import conf
from perfguard.http.actor import Actor, actor_for, named_actor
from perfguard.http.trusted_proxy import distrusted, meta_value

ANONYMOUS = Actor("anonymous")
UNKNOWN = Actor("unknown")  # it was not looked up, or nobody could say


def actor_of(request: HttpRequest) -> Actor:
    """May look up the user of a session, if nobody has: not on the loop."""
    return known_actor(request) or _of_session(request)


async def aactor_of(request: HttpRequest) -> Actor:
    return known_actor(request) or await sync_to_async(_of_session)(request)


def known_actor(request: HttpRequest) -> Actor | None:
    """None: nobody has looked yet who it is. Asks nobody."""
    named = named_actor(request)
    if named is not None:
        return named
    user = getattr(request, "user", None)
    if isinstance(user, LazyObject) and user.__dict__.get("_wrapped") is empty:
        user = getattr(request, "_acached_user", None)
        if user is None and _may_have_session(request):
            return None
    key = getattr(request, "perfguard_api_key", None)
    if user is not None and getattr(user, "is_authenticated", False):
        return _signed_in(request, user, key)
    if key is not None:
        return Actor("api_key", marker=str(key.key_id))
    return UNKNOWN if presents_credential(request) else ANONYMOUS


def _signed_in(request: HttpRequest, user: Any, key: Any) -> Actor:
    if key is not None:
        return actor_for("api_key", user, str(key.key_id))
    token = getattr(request, "auth", None)
    if token is not None:
        return actor_for("token", user, _marker_of_token(token))
    if _is_named_by_proxy(request):
        return actor_for("trusted_header", user)
    if _is_of_the_session(request, user):
        return actor_for("session", user, session_marker(request))
    return actor_for("other", user)


def _marker_of_token(token: Any) -> str:
    """The session of a JWT, or its id. Other tokens are secrets as a whole."""
    claims = getattr(token, "payload", token)
    if not isinstance(claims, Mapping):
        return ""
    return str(claims.get("sid") or claims.get("jti") or "")


def _is_named_by_proxy(request: HttpRequest) -> bool:
    header = conf.TRUSTED_EMAIL_HEADER
    if not header or not conf.TRUSTED_PER_REQUEST:
        return False
    return meta_value(request, header) is not None and not distrusted(request)


def _is_of_the_session(request: HttpRequest, user: Any) -> bool:
    """Somebody may be signed in by another credential beside a session's cookie."""
    loaded = getattr(getattr(request, "session", None), "_session_cache", None) or {}
    return bool(loaded.get(auth.SESSION_KEY) == str(user.pk))


def session_marker(request: HttpRequest) -> str:
    """A digest of the session's key, which is a secret."""
    key = request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")
    return sha256(key.encode()).hexdigest()[:16] if key else ""


def _may_have_session(request: HttpRequest) -> bool:
    return hasattr(request, "session") and has_session_cookie(request)


def _of_session(request: HttpRequest) -> Actor:
    user = _user_of(request.COOKIES.get(settings.SESSION_COOKIE_NAME, ""))
    if user is None:
        return UNKNOWN
    return actor_for("session", user, session_marker(request))


def _user_of(session_key: str) -> Any:
    """As ``auth.get_user``, by a copy of the session: to look at the request's own
    would have Django add ``Vary: Cookie``, or delete a cookie, for the log's sake."""
    engine = import_module(settings.SESSION_ENGINE)
    session = engine.SessionStore(session_key).load()
    path = session.get(auth.BACKEND_SESSION_KEY)
    if path not in settings.AUTHENTICATION_BACKENDS:
        return None
    key = auth.get_user_model()._meta.pk.to_python(session[auth.SESSION_KEY])
    user = auth.load_backend(path).get_user(key)
    given = session.get(auth.HASH_SESSION_KEY, "")
    hashes = getattr(user, "get_session_auth_hash", None)
    return user if hashes is None or constant_time_compare(given, hashes()) else None
