"""From the two parts of an API key to what is known of it: Redis, then the database."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from django.db import Error, connections, router

from perfguard.api_keys import copy
from perfguard.api_keys.copy import Kept
from perfguard.api_keys.delivery import delivery
from perfguard.api_keys.keys import Credential, dummy, hashed, is_good, is_outdated
from perfguard.api_keys.models import ApiKey
from perfguard.api_keys.records import Record, load
from perfguard.api_keys.upkeep import note_use, upgrade
from perfguard.exceptions import RedisUnavailable, TruthUnavailable
from perfguard.redis.client import Client, get_client


class Found(NamedTuple):
    record: Record | None
    code: str  # why the key is refused; empty when it is good


class Keyring:
    """``clock`` gives Unix time, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock

    def find(self, credential: Credential) -> Found:
        """Raises TruthUnavailable when neither Redis nor the database can answer."""
        key_id = credential.key_id
        client = _reachable(key_id)
        kept = _look(client, key_id)
        if kept is not None and kept.is_believed:
            record = kept.record
        else:
            record = _load(key_id, client, kept)
        code = self._judge(credential, record)
        if not code and record is not None:
            self._keep_up(credential, record, kept)
        return Found(record, code)

    def _judge(self, credential: Credential, record: Record | None) -> str:
        stored = dummy() if record is None else record.hashed_secret
        # First of all, and always: whether an id exists, or is revoked, must show
        # neither in the answer nor in the time it takes.
        good = is_good(credential, stored)
        if record is None:
            return "unknown"
        return record.refusal(self.clock()) if good else "wrong_secret"

    def _keep_up(
        self, credential: Credential, record: Record, kept: Kept | None
    ) -> None:
        key_id, old = credential.key_id, record.hashed_secret
        if kept is None or not kept.was_used:
            note_use(key_id, self.clock())
        if is_outdated(old) and upgrade(key_id, old=old, new=hashed(credential)):
            delivery.tell(key_id)


keyring = Keyring()


def _reachable(key_id: str) -> Client | None:
    client = get_client()
    if client is None or client.is_away(copy.identity(key_id)):
        return None
    return client


def _look(client: Client | None, key_id: str) -> Kept | None:
    """None when Redis cannot be asked."""
    if client is None:
        return None
    # Before the look: what Redis had then may be older than a change that it could not
    # be told of, though it was told in between.
    is_due = delivery.is_due(key_id)
    try:
        kept = copy.look(client, key_id)
    except RedisUnavailable:
        return None
    return kept._replace(is_believed=False, era="") if is_due else kept


def _load(key_id: str, client: Client | None, kept: Kept | None) -> Record | None:
    fence = b""
    if client is not None and kept is not None and _may_fill():
        with suppress(RedisUnavailable):
            fence = copy.fence(client, key_id, kept)
    record = _from_database(key_id)
    if client is not None and kept is not None and fence:
        with suppress(RedisUnavailable):
            copy.fill(client, key_id, record, fence=fence, era=kept.era)
    return record


def _may_fill() -> bool:
    # Within a transaction the database may show what was true when that began, or what
    # will be rolled back.
    return not connections[router.db_for_write(ApiKey)].in_atomic_block


def _from_database(key_id: str) -> Record | None:
    try:
        return load(key_id)
    except Error as error:
        raise TruthUnavailable(
            "API keys cannot be checked just now. Try again in a moment."
        ) from error
