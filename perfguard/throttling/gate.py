"""The gate: the one place that decides whether a hit is allowed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache, cached_property
from hashlib import blake2b
from typing import Any

from asgiref.sync import sync_to_async
from django.core.signals import setting_changed

from perfguard.conf import conf
from perfguard.exceptions import RedisUnavailable, SlotsDiffer
from perfguard.redis.client import get_client
from perfguard.signals import throttle_decided
from perfguard.throttling.memory_store import MemoryWindowStore
from perfguard.throttling.plans import Group, Scope, plan_for, valid_cost
from perfguard.throttling.redis_store import RedisWindowStore
from perfguard.throttling.refusals import Groups, Refusals
from perfguard.throttling.windows import MEMORY, NOWHERE, REDIS, REFUSALS, Verdict

LONGEST_IDENTITY = 200  # characters; a longer one is hashed
UNAVAILABLE_MS = 1000  # when to come back after a refusal for want of a store


class Gate:
    """Counts hits for identities, and says whether they are allowed.

    Scopes are names of ``THROTTLE_RATES`` or :class:`~perfguard.throttling.plans.Scope`
    objects. All raise UnknownScope for a name without a rate and ValueError for a
    cost below 1 or an empty identity; none raises when Redis is away.
    """

    def __init__(self) -> None:
        self._redis: RedisWindowStore | None = None

    @cached_property
    def memory(self) -> MemoryWindowStore:
        _reload_after_fork()
        return MemoryWindowStore()

    @cached_property
    def refusals(self) -> Refusals:
        _reload_after_fork()
        return Refusals()

    def reload(self) -> None:
        """Forget what was derived from the settings, and all windows in memory."""
        self._redis = None
        vars(self).pop("memory", None)
        vars(self).pop("refusals", None)

    def hit(self, identity: str, *scopes: str | Scope, cost: int = 1) -> Verdict:
        """Count a hit of ``cost`` in all the scopes' windows, or in none."""
        return self.decide((group(identity, *scopes, cost=cost),))

    async def ahit(self, identity: str, *scopes: str | Scope, cost: int = 1) -> Verdict:
        return await self.adecide((group(identity, *scopes, cost=cost),))

    def peek(self, identity: str, *scopes: str | Scope, cost: int = 1) -> Verdict:
        """What a hit of ``cost`` would be told just now; nothing is counted."""
        groups = limited((group(identity, *scopes, cost=cost),))
        store = self._reachable(groups)
        if store is not None:
            try:
                return Verdict(groups, store.peek(groups), REDIS)
            except RedisUnavailable:
                pass
        return self._without_redis(groups, counting=False)

    def remaining(self, identity: str, *scopes: str | Scope) -> int | None:
        """Hits left before a refusal; None when the scopes set no limit."""
        return self.peek(identity, *scopes).remaining

    def reset(self, identity: str, *scopes: str | Scope) -> bool:
        """Empty the scopes' windows. False: Redis is away, and its own stay.

        Other processes may repeat a refusal for up to
        ``THROTTLE_REFUSAL_CACHE_SECONDS``.
        """
        identity, plan = group(identity, *scopes)
        self.memory.reset(identity, plan)
        store = self._store()
        try:
            if store is not None and store.client.is_away(identity):
                return False
            if store is not None:
                store.reset(identity, plan)
        except RedisUnavailable:
            return False
        finally:
            # Last, or a hit that was refused meanwhile would leave its own there.
            self.refusals.forget(identity)
        return True

    def decide(self, groups: Groups) -> Verdict:
        """As ``hit``, for several identities at once: all allow it, or none counts."""
        groups = limited(groups)
        reply = self.refusals.get(groups)
        if reply is not None:
            verdict = Verdict(groups, reply, REFUSALS)
        elif (store := self._reachable(groups)) is not None:
            verdict = self._ask(store, groups)
        else:
            verdict = self._without_redis(groups)
        if throttle_decided.receivers:
            self._tell(verdict)
        return verdict

    async def adecide(self, groups: Groups) -> Verdict:
        """The same; it takes a thread only where an answer of Redis is waited for."""
        groups = limited(groups)
        waits = (
            self.refusals.get(groups) is None and self._reachable(groups) is not None
        )
        if waits or throttle_decided.receivers:  # a receiver may wait as well
            return await sync_to_async(self.decide, thread_sensitive=False)(groups)
        return self.decide(groups)

    def _ask(self, store: RedisWindowStore, groups: Groups) -> Verdict:
        asked_at = self.refusals.clock()
        try:
            reply = self._ask_redis(store, groups)
        except RedisUnavailable:
            return self._without_redis(groups)
        verdict = Verdict(groups, reply, REDIS)
        if not verdict.allowed:
            self.refusals.put(groups, reply, asked_at, verdict.reset_after)
        return verdict

    def _ask_redis(self, store: RedisWindowStore, groups: Groups) -> Sequence[int]:
        if len(groups) == 1:
            return store.hit(groups)
        if not store.client.one_slot:
            try:
                return store.hit(groups)
            except SlotsDiffer:
                # A proxy in front of a cluster looks like a single server.
                store.client.one_slot = True
        return _look_then_count(store, groups)

    def _without_redis(self, groups: Groups, *, counting: bool = True) -> Verdict:
        """Redis is not configured, away, or not wanted."""
        if not groups or not conf.THROTTLE_ENABLED:
            return Verdict(groups, _untouched(groups), NOWHERE)
        if self._store() is not None:
            if any(plan.part("refuse").limits for _, plan in groups):
                return Verdict(groups, _closed(groups), NOWHERE, unavailable=True)
            kept = tuple((identity, plan.part("memory")) for identity, plan in groups)
            groups = limited(kept)
        decide = self.memory.hit if counting else self.memory.peek
        return Verdict(groups, decide(groups), MEMORY)

    def _store(self) -> RedisWindowStore | None:
        client = get_client()
        if client is None:
            return None
        store = self._redis
        if store is None or store.client is not client:
            store = self._redis = RedisWindowStore(client)
        return store

    def _reachable(self, groups: Groups) -> RedisWindowStore | None:
        """The store in Redis, unless this hit is decided without it."""
        store = self._store()
        if store is None or not groups or not conf.THROTTLE_ENABLED:
            return None
        for identity, _ in groups:
            if store.client.is_away(identity):
                return None
        return store

    def _tell(self, verdict: Verdict) -> None:
        throttle_decided.send_robust(
            type(self),
            identities=tuple(identity for identity, _ in verdict.groups),
            verdict=verdict,
        )


def group(identity: str, *scopes: str | Scope, cost: int = 1) -> Group:
    """An identity, made fit for a key, with the plan of the scopes."""
    valid_cost(cost)
    return fit(identity), plan_for(*[(scope, cost) for scope in scopes])


def limited(groups: Groups) -> Groups:
    """Without the identities whose scopes are all disabled."""
    for _, plan in groups:
        if not plan.limits:
            return tuple(each for each in groups if each[1].limits)
    return groups


def fit(identity: str) -> str:
    """The identity, or a digest of one that is long or would end the hash tag of its
    keys, so that they lay in other slots than its own. ValueError for an empty one."""
    if not identity:
        raise ValueError("An identity must not be empty.")
    if len(identity) <= LONGEST_IDENTITY and "}" not in identity:
        return identity
    digest = blake2b(identity.encode(errors="surrogatepass"), digest_size=16)
    return f"digest:{digest.hexdigest()}"


def _look_then_count(store: RedisWindowStore, groups: Groups) -> list[int]:
    """Several slots of a cluster: no script sees them all, so look first. A hit that
    races another may be counted for one identity and refused for the next; more
    than the limit is never admitted."""
    replies = [store.peek((each,)) for each in groups]
    looked = all(reply[0] for reply in replies)
    if looked:
        replies = [store.hit((each,)) for each in groups]
    else:
        # Those that refuse by themselves count what counts refused hits.
        replies = [
            reply if reply[0] or each[1].cached else store.hit((each,))
            for each, reply in zip(groups, replies, strict=True)
        ]
    together = [int(looked and all(reply[0] for reply in replies))]
    for reply in replies:
        together += reply[1:]
    return together


def _untouched(groups: Groups) -> list[int]:
    reply = [1]
    for _, plan in groups:
        for scoped, _ in plan.limits:
            reply += [scoped.rate.limit, 0]
    return reply


def _closed(groups: Groups) -> list[int]:
    reply = [0]
    for _, plan in groups:
        for scoped, _ in plan.limits:
            closed = scoped.on_redis_failure == "refuse"
            reply += [0, UNAVAILABLE_MS] if closed else [scoped.rate.limit, 0]
    return reply


gate = Gate()


def _reload(*, setting: str, **kwargs: Any) -> None:
    if setting in {"PERFGUARD", "CACHES"}:
        gate.reload()


@cache
def _reload_after_fork() -> None:
    # A lock that another thread held at the fork would never be released.
    os.register_at_fork(after_in_child=gate.reload)


setting_changed.connect(_reload, dispatch_uid="perfguard.throttling.gate")
