"""What has been decided for one request, kept on the request.

``request.perfguard_throttle`` is a :class:`Record`, or missing while nothing was
asked. A scope that was counted for an identity is not counted again for the same
request, by whichever door it is asked next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from django.http import HttpRequest

from perfguard.throttling.gate import fit, gate
from perfguard.throttling.plans import Scope, plan_for, valid_cost
from perfguard.throttling.refusals import Groups
from perfguard.throttling.windows import Verdict, Window

ATTRIBUTE = "perfguard_throttle"


class Ask(NamedTuple):
    """One question to the gate: may this identity pass under this scope?

    Made by ``ask``, which makes the identity fit for a key.
    """

    identity: str
    scope: Scope
    cost: int


def ask(identity: str, scope: Scope, cost: int = 1) -> Ask:
    return Ask(fit(identity), scope, valid_cost(cost))


class Record:
    """``verdicts`` in the order in which they were made; ``refused`` is the first of
    them that refused."""

    __slots__ = ("_answered", "refused", "verdicts")

    def __init__(self) -> None:
        self.verdicts: list[Verdict] = []
        self.refused: Verdict | None = None
        self._answered: set[tuple[str, str]] = set()

    def decide(self, asks: Sequence[Ask]) -> Verdict | None:
        """One verdict for what was not asked before; None when nothing is new."""
        new = self._new(asks)
        return self._add(gate.decide(grouped(new)), new) if new else None

    async def adecide(self, asks: Sequence[Ask]) -> Verdict | None:
        new = self._new(asks)
        return self._add(await gate.adecide(grouped(new)), new) if new else None

    def answers(self, asks: Sequence[Ask]) -> bool:
        """Whether all of them were asked before."""
        return bool(self._answered) and not self._new(asks)

    @property
    def unavailable(self) -> Verdict | None:
        """The first verdict that refused for want of a store."""
        return next((each for each in self.verdicts if each.unavailable), None)

    def refusing(self, asks: Sequence[Ask]) -> list[Window]:
        """The windows of the asks that have no room."""
        if self.refused is None:
            return []
        mine = {(each.identity, each.scope.name) for each in asks}
        return [
            window
            for verdict in self.verdicts
            for window in verdict.refusing
            if (window.identity, window.scope) in mine
        ]

    def _new(self, asks: Sequence[Ask]) -> Sequence[Ask]:
        if not self._answered:
            return asks
        return [
            each
            for each in asks
            if (each.identity, each.scope.name) not in self._answered
        ]

    def _add(self, verdict: Verdict, asks: Sequence[Ask]) -> Verdict:
        self.verdicts.append(verdict)
        if not verdict.allowed and self.refused is None:
            self.refused = verdict
        for identity, scope, _ in asks:
            self._answered.add((identity, scope.name))
        return verdict


def record_of(request: HttpRequest) -> Record:
    """The request's record, made when it is missing."""
    attributes = vars(request)
    record = attributes.get(ATTRIBUTE)
    if record is None:
        record = attributes[ATTRIBUTE] = Record()
    return record


def recorded(request: HttpRequest) -> Record | None:
    return vars(request).get(ATTRIBUTE)


def grouped(asks: Sequence[Ask]) -> Groups:
    """The asks of each identity together, in the order in which they came."""
    if len(asks) == 1:
        identity, scope, cost = asks[0]
        return ((identity, plan_for((scope, cost))),)
    priced: dict[str, list[tuple[Scope, int]]] = {}
    for identity, scope, cost in asks:
        priced.setdefault(identity, []).append((scope, cost))
    return tuple((identity, plan_for(*each)) for identity, each in priced.items())
