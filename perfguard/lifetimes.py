"""Lifetimes as text: ``30m``, ``1d12h``, ``1.5h``; ``-1`` for one without end."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from functools import lru_cache
from math import ceil

from perfguard.exceptions import InvalidLifetime

UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
UNITS |= {"d": 86_400_000, "w": 604_800_000}  # milliseconds
LONGEST = timedelta(days=3653)  # ten years
# ASCII digits: \d takes those of every script.
PART = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|d|w)")
WHOLE = re.compile(rf"(?:{PART.pattern})+")


@lru_cache(maxsize=64)
def read_lifetime(text: str) -> timedelta | None:
    """Whole seconds, rounded up, as ``exp`` counts them; None is without end.

    Raises InvalidLifetime for anything but ``-1`` or a sum of numbers, each with a
    unit of its own, that is above nothing and at most ten years.
    """
    if text == "-1":
        return None
    parts = PART.findall(text) if WHOLE.fullmatch(text) else []
    units = [unit for _, unit in parts]
    total = sum(Decimal(number) * UNITS[unit] for number, unit in parts)
    if total <= 0 or len(units) != len(set(units)):
        raise InvalidLifetime(
            f"{text[:50]!r} is not a lifetime. Write numbers with units, as in '30m', "
            "'1d12h' or '4w' (ms, s, m, h, d, w; each once), or '-1' for one without "
            "end."
        )
    seconds = ceil(total / 1000)
    if seconds > LONGEST.total_seconds():
        raise InvalidLifetime(f"{text[:50]!r} is longer than ten years.")
    return timedelta(seconds=seconds)
