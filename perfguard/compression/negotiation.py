"""Which coding a client gets: Accept-Encoding, as RFC 9110 section 12.5.3 has it."""

from __future__ import annotations

import re
from functools import lru_cache

LONGEST = 1024  # characters; a browser sends about 25
WEIGHT = re.compile(r"[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*")
ALIASES = {"x-gzip": "gzip"}  # section 8.4.1.3


def best_coding(header: str, offered: tuple[str, ...]) -> str | None:
    """The one of ``offered`` that the client likes best, or ``None`` for no coding.

    Among equals the first that is offered wins. A header that is longer than any
    client's is not read.
    """
    return _best(header, offered) if len(header) <= LONGEST else None


@lru_cache(maxsize=256)  # clients send a handful; each is at most LONGEST
def _best(header: str, offered: tuple[str, ...]) -> str | None:
    weights = _weights(header)
    others = weights.get("*", 0.0)
    ranked = {coding: weights.get(coding, others) for coding in offered}
    best = max(ranked, key=ranked.__getitem__, default="")  # the first of equals
    # Who gives identity no weight of its own would rather have any coding.
    if ranked.get(best, 0.0) > 0 and ranked[best] >= weights.get("identity", 0.0):
        return best
    return None


def _weights(header: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for item in header.lower().split(","):
        coding, has_weight, text = item.partition(";")
        name = coding.strip(" \t")
        name = ALIASES.get(name, name)
        weight = _weight(text) if has_weight else 1.0
        # What is refused once is refused, whatever else is said of it.
        found[name] = min(weight, found.get(name, 1.0))
    return found


def _weight(text: str) -> float:
    """0, which is "not accepted", for what is no weight."""
    match = WEIGHT.fullmatch(text)
    return float(match[1]) if match else 0.0
