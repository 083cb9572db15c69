"""Sessions: one sign-in, its refresh tokens one after the other, and their reuse."""

from __future__ import annotations

import secrets
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from perfguard.conf import conf
from perfguard.exceptions import InvalidCredential
from perfguard.http.client_ip import client_ip
from perfguard.lifetimes import read_lifetime
from perfguard.signals import token_reused
from perfguard.tokens.journal import database, end_session
from perfguard.tokens.models import TokenSession

LONGEST_AGENT = 200  # characters kept of a User-Agent
# The request of a sign-in, where simplejwt's signatures have no place for it.
signing_in: ContextVar[HttpRequest | None] = ContextVar("signing_in", default=None)


def sessions() -> QuerySet[TokenSession]:
    return TokenSession.objects.using(database())


def live_sessions(user_key: str) -> QuerySet[TokenSession]:
    """A user's sessions that are neither ended nor over, the newest first."""
    now = timezone.now()
    return (
        sessions().filter(user_key=user_key, ended_at=None).exclude(expires_at__lte=now)
    )


def endable_sessions(user_key: str) -> QuerySet[TokenSession]:
    """A user's live sessions, and ended ones that Redis was not told of yet."""
    now = timezone.now()
    rows = sessions().filter(user_key=user_key, pushed_at=None)
    return rows.exclude(expires_at__lte=now)


def session_end(now: datetime) -> datetime | None:
    """When a session that begins now is over; None is never."""
    lives = [
        read_lifetime(text)
        for text in (conf.TOKEN_ACCESS_LIFETIME, conf.TOKEN_REFRESH_LIFETIME)
    ]
    longest = read_lifetime(conf.TOKEN_SESSION_LIFETIME)
    if longest is None or None in lives:
        return None
    return now + longest


def open_session(
    user: Any, user_key: str, jti: str, now: datetime, request: HttpRequest | None
) -> TokenSession:
    """A session whose first refresh token has that ``jti``."""
    request = signing_in.get() if request is None else request
    address = client_ip(request) if request is not None else None
    agent = request.META.get("HTTP_USER_AGENT", "") if request is not None else ""
    return sessions().create(
        sid=secrets.token_urlsafe(16),
        user=user if getattr(user, "_meta", None) else None,
        user_key=user_key,
        created=now,
        last_used=now,
        expires_at=session_end(now),
        address=str(address) if address else None,
        # PostgreSQL takes no NUL, and a page of the admin no control characters.
        user_agent="".join(filter(str.isprintable, agent))[:LONGEST_AGENT],
        current_jti=jti,
    )


def rotate(sid: str, presented: str, successor: str) -> TokenSession:
    """Put ``successor`` in place of the ``presented`` refresh token, by their jti.

    The session that is returned names the token that is good now: another than
    ``successor`` when the presented one was rotated a moment ago, by a request that ran
    beside this one or whose answer was lost (``TOKEN_REUSE_GRACE``). Any other token of
    the family that comes back was stolen, or its successor was: the session is ended.
    Raises InvalidCredential (RFC 9700, section 4.14.2).
    """
    now = timezone.now()
    with transaction.atomic(using=database()):
        # One statement decides which of many requests wins.
        won = (
            sessions()
            .filter(sid=sid, current_jti=presented, ended_at=None)
            .update(
                current_jti=successor,
                previous_jti=presented,
                rotated_at=now,
                last_used=now,
            )
        )
        session = sessions().filter(sid=sid).first()
    if session is None or session.ended_at is not None:
        raise InvalidCredential("Token is revoked", code="token_revoked")
    if not won and not _in_grace(session, presented, now):
        end_session(sid, reason="reuse")
        token_reused.send_robust(TokenSession, user_key=session.user_key, sid=sid)
        raise InvalidCredential("Token was used before", code="token_reused")
    return session


def _in_grace(session: TokenSession, presented: str, now: datetime) -> bool:
    if presented != session.previous_jti or session.rotated_at is None:
        return False
    # Below nothing for one that began before the winner's: without a grace, that is
    # no excuse.
    grace = timedelta(seconds=conf.TOKEN_REUSE_GRACE)
    return bool(grace) and now - session.rotated_at <= grace
