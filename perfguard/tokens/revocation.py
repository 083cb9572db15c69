"""The one question of every request: is this token revoked?"""

from __future__ import annotations

import logging
from functools import partial
from typing import NamedTuple

from django.db import Error, transaction
from django.db.models import Exists

from perfguard.conf import conf
from perfguard.exceptions import RedisUnavailable, TruthUnavailable
from perfguard.redis.client import Client, get_client
from perfguard.tokens import copy
from perfguard.tokens.arrears import arrears
from perfguard.tokens.claims import Marks
from perfguard.tokens.journal import (
    database,
    deliver_due,
    in_transaction,
    live_marks,
)
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
    if revoked and not in_transaction():
        known.add(marks.jti)
    return revoked


def _ask(marks: Marks) -> bool:
    client = get_client()
    if client is None or not _settled(client, marks.user_key):
        return _ask_journal(marks)
    try:
        look = copy.look(client, marks)
    except RedisUnavailable:
        return _without_redis(marks)
    if look.revoked:
        return True
    if look.generation is not None:
        return marks.generation < look.generation
    revoked = _ask_journal(marks)
    if look.era:
        # Not within a transaction: what is read there may be rolled back yet, or be as
        # old as its beginning.
        refill = partial(_refill, client, marks.user_key, look.era)
        transaction.on_commit(refill, using=database())
    return revoked


def _settled(client: Client, user_key: str) -> bool:
    """Have Redis told what is due; False when that has to wait for a commit."""
    if not arrears.due or client.is_away(f"user:{user_key}"):
        return True
    # A part of it: this is a request. Within a transaction: nothing that may be rolled
    # back yet.
    deliver = partial(deliver_due, whole=False)
    transaction.on_commit(partial(arrears.settle, deliver), using=database())
    return not in_transaction()


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


def _refill(client: Client, user_key: str, era: str) -> None:
    """Give Redis all that the journal has of a user, for the requests to come."""
    try:
        fence = copy.fence(client, user_key)
        if fence is None:
            return
        row = TokenGeneration.objects.using(database()).filter(pk=user_key).first()
        marks = live_marks(user_key, MOST_REFILLED)
        if row is not None and marks is not None:
            copy.refill(client, user_key, marks, row.generation, fence=fence, era=era)
    except (RedisUnavailable, Error):
        logger.warning("Redis was not refilled for a user.", exc_info=True)
