"""Pages of the audit log by position, not by number: the thousandth costs no more than
the first, and nothing is counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.conf import settings
from django.core import signing
from django.db.models import Q, QuerySet
from django.utils import timezone

from perfguard.audit.models import AuditEntry
from perfguard.audit.pages.conditions import Question

SALT = "perfguard.audit.position"
FIRST_ID, LAST_ID = 0, 2**63 - 1
STRIDE = 50_000  # entries that are looked at by one query, where no index answers
SECONDS = 2.0  # that one page may take for it


class Position(NamedTuple):
    """The place of an entry in the order of the list."""

    at: datetime
    id: int

    @classmethod
    def of(cls, entry: AuditEntry) -> Position:
        return cls(entry.at, entry.pk)

    def token(self) -> str:
        return signing.dumps([self.at.isoformat(), self.id], salt=SALT)

    @classmethod
    def read(cls, token: str) -> Position:
        """Raises signing.BadSignature or ValueError."""
        at, id_ = signing.loads(token, salt=SALT)
        moment = datetime.fromisoformat(at)
        if timezone.is_naive(moment) is settings.USE_TZ:
            raise ValueError(token)  # of the time before the setting was changed
        return cls(moment, id_)


@dataclass(frozen=True)
class Page:
    entries: list[AuditEntry]
    newer: Position | None = None  # entries above it are on another page
    older: Position | None = None
    looked_until: datetime | None = None  # there the time was over


class Way(NamedTuple):
    """Towards the older entries, or towards the newer ones."""

    order: tuple[str, str]
    past: Callable[[Position], Q]
    up_to: str  # the lookup of what lies before an edge, and the edge itself
    beyond: str
    outermost: int  # the id that is after all of one moment


def _older_than(place: Position) -> Q:
    # Written so that an index on the time is used from just there.
    return Q(at__lte=place.at) & (Q(at__lt=place.at) | Q(id__lt=place.id))


def _newer_than(place: Position) -> Q:
    return Q(at__gte=place.at) & (Q(at__gt=place.at) | Q(id__gt=place.id))


OLDER = Way(("-at", "-id"), _older_than, "at__gte", "at__lt", FIRST_ID)
NEWER = Way(("at", "id"), _newer_than, "at__lte", "at__gt", LAST_ID)


class Pager:
    """``entries``: without order, and narrowed by nothing yet."""

    def __init__(
        self, entries: QuerySet[AuditEntry], question: Question, size: int
    ) -> None:
        self.entries = entries
        self.question = question
        self.size = size

    def before(self, place: Position | None) -> Page:
        """The newest page, or that of what is older than a place."""
        found, stopped = self._found(OLDER, place)
        shown = found[: self.size]
        older = Position.of(shown[-1]) if len(found) > self.size else stopped
        newer = (Position.of(shown[0]) if shown else place) if place else None
        return Page(shown, newer, older, stopped.at if stopped else None)

    def after(self, place: Position) -> Page:
        found, stopped = self._found(NEWER, place)
        if len(found) <= self.size and stopped is None:
            return self.before(None)  # the newest page, and a full one
        shown = found[: self.size][::-1]
        newer = Position.of(shown[0]) if len(found) > self.size else stopped
        older = Position.of(shown[-1]) if shown else place
        return Page(shown, newer, older, stopped.at if stopped else None)

    def _found(
        self, way: Way, place: Position | None
    ) -> tuple[list[AuditEntry], Position | None]:
        """One entry more than a page has, if there are so many; and where the time was
        over, if it was."""
        base = self.entries.filter(self.question.leading).order_by(*way.order)
        if place:
            base = base.filter(way.past(place))
        if not self.question.rest:
            return list(base[: self.size + 1]), None
        return self._looked_up(base, way)

    def _looked_up(
        self, base: QuerySet[AuditEntry], way: Way
    ) -> tuple[list[AuditEntry], Position | None]:
        """Stride by stride, so that no query runs longer than one of them takes: no
        entry that matches may be found in the whole table."""
        found: list[AuditEntry] = []
        end = time.monotonic() + SECONDS
        while True:
            edge = self._edge(base, way)
            stride = base if edge is None else base.filter(**{way.up_to: edge})
            missing = self.size + 1 - len(found)
            found += stride.filter(self.question.rest)[:missing]
            if edge is None or len(found) > self.size:
                return found, None
            if time.monotonic() > end:
                return found, Position(edge, way.outermost)
            base = base.filter(**{way.beyond: edge})

    def _edge(self, base: QuerySet[AuditEntry], way: Way) -> datetime | None:
        """The time of the entry at the end of a stride; None: there are fewer."""
        times = base.order_by(way.order[0]).values_list("at", flat=True)
        return next(iter(times[STRIDE : STRIDE + 1]), None)
