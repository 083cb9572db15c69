"""What may be asked of the audit log, and which index answers it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from django.db.models import Q

from perfguard.audit.entries import ABORTED, COMPLETED, FAILED, REFUSED, REQUEST

# An index that leads to fewer entries comes before one that leads to more.
IDS, MARKER, USER, KIND, OUTCOME, ADDRESS, STATUS = range(1, 8)
TIME = 0  # every index goes on by the time: a span of it narrows each of them
UNINDEXED = 99

OUTCOMES = {COMPLETED, REFUSED, ABORTED, FAILED}


class Condition(NamedTuple):
    q: Q
    rank: int = UNINDEXED  # of its index


class Question(NamedTuple):
    """The conditions of one list: all of them hold for what it shows."""

    leading: Q  # what an index answers
    rest: Q  # what has to be looked up, entry by entry; empty: nothing

    @classmethod
    def of(cls, conditions: Sequence[Condition]) -> Question:
        leading, rest = Q(), Q()
        best = min((each.rank for each in conditions if each.rank), default=0)
        for condition in sorted(conditions, key=lambda each: each.rank):
            if condition.rank == TIME:
                leading &= condition.q
            elif condition.rank == best != UNINDEXED:
                leading, best = leading & condition.q, UNINDEXED
            else:
                rest &= condition.q
        return cls(leading, rest)


def of_kind(kind: str) -> Condition:
    # The index of kinds leaves out requests, which are nearly all.
    rank = UNINDEXED if kind == REQUEST else KIND
    return Condition(Q(kind=kind), rank)


def of_outcome(outcome: str) -> Condition:
    """Raises ValueError."""
    if outcome not in OUTCOMES:
        raise ValueError(outcome)
    rank = UNINDEXED if outcome == COMPLETED else OUTCOME
    return Condition(Q(outcome=outcome), rank)


def of_status(status: str) -> Condition:
    """``"404"``, or a class of them: ``"4xx"``. Raises ValueError."""
    if re.fullmatch("[1-5]xx", status):
        first = int(status[0]) * 100
        return Condition(Q(status__gte=first, status__lt=first + 100))
    if not is_status(status):
        raise ValueError(status)
    return Condition(Q(status=int(status)), STATUS)


def is_status(text: str) -> bool:
    return re.fullmatch("[1-5][0-9]{2}", text) is not None
