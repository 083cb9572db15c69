"""Telling Redis that API keys changed; and remembering what it could not be told."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

from perfguard.api_keys import copy
from perfguard.conf import conf
from perfguard.exceptions import RedisUnavailable
from perfguard.redis.client import get_client


class Delivery:
    """What is due is kept in this process's memory, until the records that other
    processes may still believe have expired."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due: dict[str, float] = {}  # public id to the end of its old record

    def tell(self, key_id: str) -> None:
        client = get_client()
        if client is None:
            return
        try:
            if client.is_away(copy.identity(key_id)):
                raise RedisUnavailable("The circuit is open.")
            copy.forget(client, key_id)
        except RedisUnavailable:
            self._due.setdefault(key_id, self._clock() + _longest())
        else:
            self._due.pop(key_id, None)

    def tell_due(self) -> None:
        for key_id in list(self._due):
            if self.is_due(key_id):
                self.tell(key_id)

    def is_due(self, key_id: str) -> bool:
        """Whether Redis may still hold what was true before a change."""
        end = self._due.get(key_id)
        if end is None:
            return False
        if end > self._clock():
            return True
        self._due.pop(key_id, None)
        return False

    def is_over(self, since: timedelta) -> bool:
        """Whether a change that is so old needs no telling any more."""
        return since.total_seconds() > _longest()


def _longest() -> float:
    """Seconds. A reader that set its fence before a change may fill in until the fence
    falls."""
    return conf.API_KEYS_CACHE_SECONDS + copy.FENCE_MS / 1000


delivery = Delivery()
