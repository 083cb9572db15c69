"""The one question of every request: is this token revoked?"""

from __future__ import annotations

import logging
from typing import NamedTuple

from django.db import Error
from django.db.models import Exists

from perfguard.conf import conf
from perfguard.exceptions import RedisUnavailable, TruthUnavailable
from perfguard.redis.client import Client, get_client
from perfguard.tokens import copy
from perfguard.tokens.arrears import arrears
from perfguard.tokens.claims import Marks
from perfguard.tokens.journal import database, deliver_due, live_marks
from perfguard.tokens.models import RevokedToken, TokenGeneration, TokenSession

logger = logging.getLogger("perfguard.tokens")

MOST_KNOWN = 10_000  # tokens that a process remembers as revoked
# Revoked tokens and sessions of one user that Redis is given at once: it serves nobody
# else meanwhile. For a user with more, the journal is asked each time.
MOST_REFILLED = 5_000


class Known:
    """Tokens that were found to be revoked: final, so that nobody need be asked again.

    Only such answers are kept: that a token was good a moment ago says nothing.
    """

    def __init__(self) -> None:
        self._known: dict[str, None] = {}

    def __contains__(self, jti: str) -> bool:
        return jti in self._known

    def add(self, jti: str) -> None:
        while len(self._known) >= MOST_KNOWN:
            try:
                del self._known[next(iter(self._known))]  # the oldest
            except (StopIteration, KeyError, RuntimeError):
                break  # another thread was faster
        self._known[jti] = None


known = Known()


def is_revoked(marks: Marks) -> bool:
    """Whether the token, its session, or all of its user's tokens were revoked.

    One round trip to Redis and no query; one query where Redis cannot tell (it is not
    configured, away, or has lost what it held); none of both for a token that this
    process has refused before. Raises TruthUnavailable when nobody can tell.
    """
    if marks.jti in known:
        return True
    revoked = _ask(marks)
    if revoked:
        known.add(marks.jti)
    return revoked


def _ask(marks: Marks) -> bool:
    client = get_client()
    if client is None:
        return _ask_journal(marks)
    if arrears.due and not client.is_away(f"user:{marks.user_key}"):
        arrears.settle(deliver_due)
    try:
        look = copy.look(client, marks)
    except RedisUnavailable:
        return _without_redis(marks)
    if look.revoked:
        return True
    if look.generation is not None:
        return marks.generation < look.generation
    # Before the first look into the database: within a transaction, what is read later
    # may be as old as that.
    fence = _fence(client, marks.user_key) if look.era else None
    revoked = _ask_journal(marks)
    if fence is not None:
        _refill(client, marks.user_key, fence, look.era)
    return revoked


def _without_redis(marks: Marks) -> bool:
    mode = conf.REVOCATION_ON_REDIS_FAILURE
    if mode == "database":
        return _ask_journal(marks)
    if mode == "allow":
        return False
    raise TruthUnavailable("Redis is away, and REVOCATION_ON_REDIS_FAILURE is 'deny'.")


class Verdict(NamedTuple):
    generation: int
    token: bool
    session: bool


def _ask_journal(marks: Marks) -> bool:
    using = database()
    token = RevokedToken.objects.filter(pk=marks.jti)
    session = TokenSession.objects.filter(pk=marks.sid, ended_at__isnull=False)
    rows = TokenGeneration.objects.using(using).filter(pk=marks.user_key)
    try:
        found = (
            rows.annotate(token=Exists(token), session=Exists(session))
            .values_list("generation", "token", "session")
            .first()
        )
    except Error as error:
        raise TruthUnavailable("Neither Redis nor the database can tell.") from error
    # No row: no token was ever issued to such a user by whoever keeps this journal.
    verdict = Verdict(*(found or (2**63, True, True)))
    return verdict.token or verdict.session or marks.generation < verdict.generation


def _fence(client: Client, user_key: str) -> bytes | None:
    try:
        return copy.fence(client, user_key)
    except RedisUnavailable:
        return None


def _refill(client: Client, user_key: str, fence: bytes, era: str) -> None:
    """Give Redis all that the journal has of a user, for the requests to come."""
    try:
        row = TokenGeneration.objects.using(database()).filter(pk=user_key).first()
        marks = live_marks(user_key, MOST_REFILLED)
        if row is not None and marks is not None:
            copy.refill(client, user_key, marks, row.generation, fence=fence, era=era)
    except (RedisUnavailable, Error):
        logger.warning("Redis was not refilled for a user.", exc_info=True)
