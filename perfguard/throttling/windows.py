"""The answer about rolling windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from perfguard.throttling.plans import Group
from perfguard.throttling.rates import Rate

# Where a verdict comes from.
REDIS = "redis"
MEMORY = "memory"
REFUSALS = "refusals"  # the local refusal cache
NOWHERE = "nowhere"  # throttling is off, or no store could be asked


@dataclass(frozen=True, slots=True)
class Window:
    """How one rate stands for one identity, just after a hit."""

    identity: str
    scope: str
    policy: str  # its name in the RateLimit fields
    rate: Rate
    allowed: bool
    remaining: int
    reset_after: float  # seconds until more room; when refused, until enough room

    @property
    def retry_after(self) -> int:
        # Whole seconds, rounded up: RFC 9110 Section 10.2.3 has no fractions,
        # and rounding down would invite a request that is refused again.
        return ceil(self.reset_after)


class Verdict:
    """What was decided about one hit, by all the windows it falls under.

    ``reply`` is what a store answers: 1 or 0 for allowed, then for each window the
    hits remaining and the milliseconds of ``reset_after``. Windows are made from it
    when they are asked for, as few requests ask.
    """

    __slots__ = (
        "_windows",
        "allowed",
        "groups",
        "reply",
        "source",
        "told",
        "unavailable",
    )

    def __init__(
        self,
        groups: Sequence[Group],
        reply: Sequence[int],
        source: str,
        *,
        unavailable: bool = False,
    ) -> None:
        self.groups = groups
        self.reply = reply
        self.source = source
        self.unavailable = unavailable  # refused because no store could answer
        self.allowed = reply[0] == 1
        # Whether it says anything about a client's limits.
        self.told = bool(groups) and (source is not NOWHERE or unavailable)
        self._windows: tuple[Window, ...] | None = None

    @property
    def windows(self) -> tuple[Window, ...]:
        if self._windows is None:
            self._windows = tuple(self._read())
        return self._windows

    @property
    def refusing(self) -> tuple[Window, ...]:
        return tuple(window for window in self.windows if not window.allowed)

    @property
    def remaining(self) -> int | None:
        """Hits left before the first window refuses; None without any window."""
        return min((window.remaining for window in self.windows), default=None)

    @property
    def reset_after(self) -> float:
        """Seconds until the hit would be allowed; 0 when it was."""
        return max((window.reset_after for window in self.refusing), default=0.0)

    @property
    def retry_after(self) -> int:
        """The same in whole seconds, rounded up; 0 when the hit was allowed."""
        return ceil(self.reset_after)

    def _read(self) -> list[Window]:
        windows = []
        at = 1
        for identity, plan in self.groups:
            for scoped, cost in plan.limits:
                remaining, reset_ms = self.reply[at : at + 2]
                at += 2
                fits = self.allowed or remaining >= cost
                windows.append(
                    Window(
                        identity,
                        scoped.scope,
                        scoped.policy,
                        scoped.rate,
                        fits,
                        remaining,
                        reset_ms / 1000,
                    )
                )
        return windows
