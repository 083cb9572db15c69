"""Writing the journal, and telling Redis what it says.

Each function commits first and tells Redis after the commit: a transaction that rolls
back revokes nothing, and one that commits is not forgotten. They may be called inside a
transaction of the caller's; Redis is then told when that one commits.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.db import Error, models, router, transaction
from django.db.models import F, Q
from django.db.models.functions import Greatest
from django.utils import timezone

from perfguard.exceptions import RedisUnavailable
from perfguard.redis.client import get_client
from perfguard.signals import token_revoked
from perfguard.tokens import copy
from perfguard.tokens.arrears import arrears
from perfguard.tokens.claims import Marks, leeway
from perfguard.tokens.copy import MARGIN_MS, Mark
from perfguard.tokens.models import RevokedToken, TokenGeneration, TokenSession

logger = logging.getLogger("perfguard.tokens")

BATCH = 500  # rows that are read at once when Redis is told what is due


@dataclass
class Delivery:
    """Whether Redis was told. None: not yet, the caller's transaction is still open."""

    delivered: bool | None = None


def database() -> str:
    """The alias that the journal is written to, and read from: never a replica."""
    return router.db_for_write(TokenSession)


def in_transaction() -> bool:
    """Whether what the journal says now may be rolled back yet."""
    return bool(transaction.get_connection(database()).in_atomic_block)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def until_ms(expires_at: datetime | None) -> int:
    """When a mark may be forgotten; 0 is never."""
    if expires_at is None:
        return 0
    return round((expires_at + leeway()).timestamp() * 1000) + MARGIN_MS


def generation_of(user_key: str) -> int:
    """The generation that new tokens of a user carry."""
    row, _ = TokenGeneration.objects.using(database()).get_or_create(
        user_key=user_key,
        defaults={"generation": now_ms(), "pushed_at": timezone.now()},
    )
    return row.generation


def revoke_token(
    marks: Marks, token_type: str, *, reason: str = "", by: str = ""
) -> Delivery:
    """Revoke one token, and nothing else of its session. Twice is as good as once."""
    expires_at = moment(marks.exp)
    if expires_at is not None and expires_at + leeway() <= timezone.now():
        return Delivery(delivered=True)  # it is as bad as it will ever be
    row = {
        "token_type": token_type[:16],
        "user_key": marks.user_key,
        "sid": marks.sid,
        "expires_at": expires_at,
        "revoked_at": timezone.now(),
        "revoked_by": by,
        "reason": reason,
    }
    with transaction.atomic(using=database()):
        found, created = RevokedToken.objects.using(database()).get_or_create(
            jti=marks.jti, defaults=row
        )
        if not created and found.expires_at != expires_at:
            # Somebody typed it in: the token itself knows better.
            found.user_key, found.expires_at = marks.user_key, expires_at
            found.save(using=database(), update_fields=["user_key", "expires_at"])
        mark = Mark.of_token(marks.jti, until_ms(expires_at))
        told = partial(_tell, "token", marks.user_key, marks.jti, reason, by)
        return _after_commit(marks.user_key, [mark], 0, told)


def end_session(sid: str, *, reason: str = "", by: str = "") -> Delivery | None:
    """Revoke all tokens of a session; None when there is no such session."""
    with transaction.atomic(using=database()):
        sessions = TokenSession.objects.using(database()).filter(sid=sid)
        ended = sessions.filter(ended_at=None).update(
            ended_at=timezone.now(), end_reason=reason, pushed_at=None
        )
        session = sessions.first()
        if session is None:
            return None
        told = partial(_tell, "session", session.user_key, sid, reason, by)
        mark = Mark.of_session(sid, until_ms(session.expires_at))
        return _after_commit(session.user_key, [mark], 0, told if ended else None)


def revoke_user(user_key: str, *, reason: str = "", by: str = "") -> Delivery:
    """Revoke every token that the user has, by raising the generation."""
    with transaction.atomic(using=database()):
        generation = _raise(user_key, reason)
        # The generation is what revokes them; Redis need not be told of each.
        TokenSession.objects.using(database()).filter(
            user_key=user_key, ended_at=None
        ).update(ended_at=timezone.now(), end_reason=reason, pushed_at=timezone.now())
        told = partial(_tell, "user", user_key, str(generation), reason, by)
        return _after_commit(user_key, [], generation, told)


def revoke_everybody(*, reason: str = "", by: str = "") -> Delivery:
    """Revoke every token there is. Redis is told user by user, after the commit."""
    with transaction.atomic(using=database()):
        TokenGeneration.objects.using(database()).update(
            generation=Greatest(F("generation") + 1, now_ms()),
            reason=reason,
            pushed_at=None,
        )
        TokenSession.objects.using(database()).filter(ended_at=None).update(
            ended_at=timezone.now(), end_reason=reason, pushed_at=timezone.now()
        )
        delivery = Delivery()

        def deliver() -> None:
            try:
                delivery.delivered = deliver_due()
            except Error:  # it is committed: told by the next process that can
                arrears.due, delivery.delivered = True, False
            _tell("user", "", "everybody", reason, by)

        transaction.on_commit(deliver, using=database())
    return delivery


def _raise(user_key: str, reason: str) -> int:
    rows = TokenGeneration.objects.using(database())
    row, created = rows.get_or_create(
        user_key=user_key, defaults={"generation": now_ms(), "reason": reason}
    )
    if not created:
        rows.filter(pk=user_key).update(
            generation=Greatest(F("generation") + 1, now_ms()),
            reason=reason,
            pushed_at=None,
        )
        row.refresh_from_db(using=database())
    return row.generation


def _tell(kind: str, user_key: str, marker: str, reason: str, by: str) -> None:
    token_revoked.send_robust(
        Delivery, kind=kind, user_key=user_key, marker=marker, reason=reason, by=by
    )


def _after_commit(
    user_key: str,
    marks: list[Mark],
    generation: int,
    told: Callable[[], None] | None,
) -> Delivery:
    delivery = Delivery()

    def deliver() -> None:
        # First: a receiver takes as long as it takes.
        delivery.delivered = push(user_key, marks, generation)
        if told is not None:
            told()

    transaction.on_commit(deliver, using=database())
    return delivery


def push(user_key: str, marks: list[Mark], generation: int) -> bool:
    """Tell Redis, and note in the journal that it knows; False when it is away."""
    client = get_client()
    if client is not None:
        try:
            copy.push(client, user_key, marks, generation)
        except RedisUnavailable:
            arrears.due = arrears.in_use = True
            return False
    try:
        _note(user_key, marks, generation)
    except Error:  # Redis is told again some time, which does no harm
        logger.warning("What Redis was told could not be noted.", exc_info=True)
    return True


def _note(user_key: str, marks: Iterable[Mark], generation: int) -> None:
    now, using = timezone.now(), database()
    ids: dict[str, list[str]] = {"revoked": [], "ended": []}
    for mark in marks:
        kind, _, name = mark.name.partition(":")
        ids[kind].append(name)
    if ids["revoked"]:
        revoked = RevokedToken.objects.using(using).filter(pk__in=ids["revoked"])
        revoked.update(pushed_at=now)
    if ids["ended"]:
        ended = TokenSession.objects.using(using).filter(pk__in=ids["ended"])
        ended.update(pushed_at=now)
    if generation:
        # Not one that was raised again meanwhile.
        TokenGeneration.objects.using(using).filter(
            pk=user_key, generation=generation
        ).update(pushed_at=now)


def live_marks(user_key: str, most: int) -> list[Mark] | None:
    """All that is revoked of a user, beside the generation, and still matters; None
    when that is more than ``most``."""
    using = database()
    still = Q(expires_at=None) | Q(expires_at__gt=timezone.now() - leeway())
    tokens = RevokedToken.objects.using(using).filter(still, user_key=user_key)
    sessions = TokenSession.objects.using(using).filter(
        still, user_key=user_key, ended_at__isnull=False
    )
    marks = [
        Mark.of_token(jti, until_ms(expires_at))
        for jti, expires_at in tokens.values_list("jti", "expires_at")[: most + 1]
    ]
    marks += [
        Mark.of_session(sid, until_ms(expires_at))
        for sid, expires_at in sessions.values_list("sid", "expires_at")[: most + 1]
    ]
    return marks if len(marks) <= most else None


def deliver_due(*, whole: bool = True) -> bool:
    """Tell Redis all that it was not told, or, not ``whole``, a batch of each kind.
    False while something may be left: Redis is away, or there was more than that."""
    using = database()
    tokens = RevokedToken.objects.using(using).filter(pushed_at=None)
    sessions = TokenSession.objects.using(using).filter(
        pushed_at=None, ended_at__isnull=False
    )
    generations = TokenGeneration.objects.using(using).filter(pushed_at=None)
    told = [
        _drain(rows, mark, whole)
        for rows, mark in (
            (
                tokens,
                lambda row: ([Mark.of_token(row.pk, until_ms(row.expires_at))], 0),
            ),
            (
                sessions,
                lambda row: ([Mark.of_session(row.pk, until_ms(row.expires_at))], 0),
            ),
            (generations, lambda row: ([], row.generation)),
        )
    ]
    return all(told)


def _drain(
    due: models.QuerySet[Any],
    marks_of: Callable[[Any], tuple[list[Mark], int]],
    whole: bool,
) -> bool:
    last, done = "", True
    while rows := list(due.filter(pk__gt=last).order_by("pk")[:BATCH]):
        # Of a Cluster one master may be away, and the others wait for what is theirs.
        told = [push(row.user_key, *marks_of(row)) for row in rows]
        if not any(told) or (len(rows) == BATCH and not whole):
            return False
        last, done = rows[-1].pk, done and all(told)
    return done
