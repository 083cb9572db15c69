"""Windows in Redis: one call of one script for all limits of a hit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from perfguard.conf import conf
from perfguard.redis.client import Client
from perfguard.redis.scripts import Script, bulk
from perfguard.throttling.plans import Group, Plan

WINDOW = Script((Path(__file__).parent / "lua" / "window.lua").read_text())
RESET = Script("return redis.call('DEL', unpack(KEYS))")
CLOCK_OF_REDIS = bulk(b"")


class RedisWindowStore:
    """``clock`` gives seconds in place of Redis's own clock; for tests."""

    def __init__(
        self, client: Client, clock: Callable[[], float] | None = None
    ) -> None:
        self.client = client
        self._clock = clock
        self._prefix = conf.REDIS_KEY_PREFIX

    def hit(self, groups: Sequence[Group]) -> Sequence[int]:
        """Raises RedisUnavailable, or SlotsDiffer for groups of several slots."""
        if len(groups) == 1 and self._clock is None:
            command = self._packed(*groups[0])
        else:
            command = self._command(groups, b"1")
        return cast("Sequence[int]", self.client.call(groups[0][0], WINDOW, command))

    def peek(self, groups: Sequence[Group]) -> Sequence[int]:
        command = self._command(groups, b"0")
        return cast("Sequence[int]", self.client.call(groups[0][0], WINDOW, command))

    def reset(self, identity: str, plan: Plan) -> None:
        keys = [self.key(identity, scoped.suffix) for scoped, _ in plan.limits]
        if keys:
            self.client.call(identity, RESET, RESET.command(keys, []))

    def key(self, identity: str, suffix: str) -> bytes:
        text = f"{self._prefix}:{{{identity}}}:{suffix}"
        return text.encode(errors="surrogatepass")

    def _packed(self, identity: str, plan: Plan) -> bytes:
        """The usual command: all but the identity was packed when it was first used."""
        template = plan.templates.get(("command", self._prefix))
        if template is None:
            template = self._template(plan)
            plan.templates["command", self._prefix] = template
        form, overhead = template
        tag = identity.encode(errors="surrogatepass")
        size = len(tag)
        if len(overhead) == 1:
            return cast("bytes", form % (size + overhead[0], tag))
        values = [each for extra in overhead for each in (size + extra, tag)]
        return cast("bytes", form % tuple(values))

    def _template(self, plan: Plan) -> tuple[bytes, list[int]]:
        """A format with, for each key, its length and the identity left open, and
        the length of each key without its identity."""
        keys = [self.key("%b", scoped.suffix) for scoped, _ in plan.limits]
        overhead = [len(key) - len(b"%b") for key in keys]
        # Of the per cent signs only the identity's is a place to fill.
        prefix = self._prefix.encode(errors="surrogatepass")
        keys = [prefix.replace(b"%", b"%%") + key[len(prefix) :] for key in keys]
        fixed = [CLOCK_OF_REDIS, bulk(b"1"), *_arguments(plan)]
        head = WINDOW.head(1 + len(keys) + len(fixed)) + bulk(b"%d" % len(keys))
        form = b"".join(b"$%%d\r\n%b\r\n" % key for key in keys)
        return head + form + b"".join(fixed), overhead

    def _command(self, groups: Sequence[Group], counting: bytes) -> bytes:
        keys = [
            self.key(identity, scoped.suffix)
            for identity, plan in groups
            for scoped, _ in plan.limits
        ]
        now = b"" if self._clock is None else b"%d" % (self._clock() * 1000)
        fixed = [bulk(now), bulk(counting)]
        for _, plan in groups:
            fixed += _arguments(plan)
        head = WINDOW.head(1 + len(keys) + len(fixed)) + bulk(b"%d" % len(keys))
        return head + b"".join(map(bulk, keys)) + b"".join(fixed)


def _arguments(plan: Plan) -> list[bytes]:
    return [
        bulk(b"%d" % value)
        for scoped, cost in plan.limits
        for value in (
            scoped.rate.limit,
            scoped.rate.period * 1000,
            scoped.step_ms,
            cost,
            scoped.count_refused,
        )
    ]
