"""Rates: how many hits in how long, and how they are written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

from perfguard.conf import conf
from perfguard.exceptions import InvalidRate

PERIODS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}
ALIASES = {"s": "second", "sec": "second", "m": "minute", "min": "minute"} | {
    "h": "hour",
    "hr": "hour",
    "d": "day",
    "w": "week",
}
# [0-9] and not \d, which is every digit of Unicode.
GRAMMAR = re.compile(
    r"\s*([0-9]{1,10})\s*/\s*([0-9]{0,9})\s*([a-z]+)\s*", re.ASCII | re.IGNORECASE
)
LARGEST_LIMIT = 1_000_000_000  # hits
LONGEST_PERIOD = 366 * 86400  # seconds
BUCKETS = 100  # at least, in a period of a limit above THROTTLE_EXACT_LIMIT


@dataclass(frozen=True, slots=True)
class Rate:
    """``limit`` hits in any ``period`` seconds, written ``"15/3 minutes"``."""

    limit: int
    period: int

    @classmethod
    def parse(cls, text: object) -> Rate:
        """Raises InvalidRate, whose message lists what is allowed."""
        rate = _parse(text) if isinstance(text, str) else None
        if rate is None:
            raise InvalidRate(_explain(text))
        return rate

    @property
    def step_ms(self) -> int:
        """1 when each hit is remembered exactly, else the size of a bucket."""
        if self.limit <= conf.THROTTLE_EXACT_LIMIT:
            return 1
        return ceil(self.period * 1000 / BUCKETS)

    def __str__(self) -> str:
        name = next(
            each
            for each, seconds in reversed(PERIODS.items())
            if self.period % seconds == 0
        )
        count = self.period // PERIODS[name]
        return f"{self.limit}/{name}" if count == 1 else f"{self.limit}/{count} {name}s"


@lru_cache(maxsize=256)
def _parse(text: str) -> Rate | None:
    match = GRAMMAR.fullmatch(text) if len(text) < 80 else None
    if match is None:
        return None
    limit, count, word = match.group(1), match.group(2), match.group(3).lower()
    if len(word) > 2:
        word = word.removesuffix("s")
    unit = ALIASES.get(word, word)
    if unit not in PERIODS:
        return None
    rate = Rate(int(limit), int(count or 1) * PERIODS[unit])
    fits = 1 <= rate.limit <= LARGEST_LIMIT and 1 <= rate.period <= LONGEST_PERIOD
    return rate if fits else None


def _explain(text: object) -> str:
    shown = repr(text)
    if len(shown) > 60:
        shown = f"{shown[:57]}..."
    return (
        f"{shown} is not a rate. Write it as '<limit>/<period>', such as '100/minute' "
        f"or '15/3 minutes': the limit a whole number from 1 to {LARGEST_LIMIT}, the "
        f"unit one of {', '.join([*PERIODS, *ALIASES])}, and the period at most "
        f"{LONGEST_PERIOD // 86400} days."
    )
