"""Django's own sessions, for sockets: read, and never changed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest

from perfguard.exceptions import TruthUnavailable


def session_key_of(request: HttpRequest) -> str:
    """Of the cookie; empty for none, and for what no session was ever named."""
    key = request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")
    # PostgreSQL takes no NUL, which an escape in a cookie may hold.
    return key if key.isascii() and key.isprintable() else ""


def user_of(session_key: str) -> Any | None:
    """Who is signed in by that session; None for nobody. Raises TruthUnavailable."""
    session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    # get_user() would end a session whose password was changed, or give it another key
    # where the site's secret was: the cookie that tells of it cannot be sent.
    session.flush = session.cycle_key = _nothing
    request = HttpRequest()
    request.session = session
    try:
        user = get_user(request)
    except Exception as error:  # of whatever keeps sessions, or knows users
        raise TruthUnavailable("Sessions cannot be read just now.") from error
    return user if user.is_authenticated else None


def _nothing() -> None:
    """In place of what changes a session."""
