"""What using an API key writes: when it was last used, and a newer form of its hash.

Neither may cost a request its answer: a write that fails is tried again with a later
use.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

from django.db import Error, connections, router, transaction
from django.db.models import Q

from perfguard.api_keys import copy
from perfguard.api_keys.models import ApiKey, ApiKeyQuerySet
from perfguard.exceptions import RedisUnavailable
from perfguard.redis.client import get_client

logger = logging.getLogger("perfguard.api_keys")

MINUTE = timedelta(milliseconds=copy.USED_MS)
REMEMBERED = 10_000  # keys


class Uses:
    """Which keys were used within the last minute, as far as this process knows: for
    the time that Redis is away."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def claim(self, key_id: str) -> bool:
        now = self._clock()
        with self._lock:
            before = self._since.get(key_id)
            if before is not None and now - before < MINUTE.total_seconds():
                return False
            self._since[key_id] = now
            self._since.move_to_end(key_id)
            if len(self._since) > REMEMBERED:
                self._since.popitem(last=False)
            return True


uses = Uses()


def note_use(key_id: str, now: float) -> None:
    """At most once a minute for each key, however many processes use it."""
    if not _claim(key_id):
        return
    moment = datetime.fromtimestamp(now, UTC)
    is_late = Q(last_used_at=None) | Q(last_used_at__lte=moment - MINUTE)
    _update(_rows().filter(is_late, key_id=key_id), last_used_at=moment)


def upgrade(key_id: str, *, old: str, new: str) -> bool:
    """Replace one form of a hash by another; not a hash that somebody has replaced.
    Whether the database has the new form now, by this request or another."""
    rows = _rows().filter(key_id=key_id, hashed_secret=old)
    return _update(rows, hashed_secret=new)


def _claim(key_id: str) -> bool:
    client = get_client()
    if client is not None and not client.is_away(copy.identity(key_id)):
        try:
            return copy.claim_use(client, key_id)
        except RedisUnavailable:
            pass
    return uses.claim(key_id)


def _rows() -> ApiKeyQuerySet:
    return ApiKey.objects.using(router.db_for_write(ApiKey))


def _update(rows: ApiKeyQuerySet, **values: object) -> bool:
    in_atomic_block = connections[rows.db].in_atomic_block
    try:
        # Within a transaction of the request, a failure must not end that one.
        with transaction.atomic(rows.db) if in_atomic_block else nullcontext():
            rows.update(**values)
    except Error as error:
        logger.warning("The use of an API key could not be recorded: %s", error)
        return False
    return True
