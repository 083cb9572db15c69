"""The years, months and days above the list.

Django's own asks for all dates there are, which reads the whole table; this one asks
for the oldest entry, and knows a calendar.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable, Iterable, Iterator
from datetime import MAXYEAR, MINYEAR, date, datetime, timedelta
from datetime import time as clock_time
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.utils.formats import date_format
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from perfguard.audit.models import AuditEntry
from perfguard.audit.pages.conditions import TIME, Condition

PARAMETER = "on"
FORMATS = {1: "Y", 2: "YEAR_MONTH_FORMAT", 3: "MONTH_DAY_FORMAT"}


class Span(NamedTuple):
    """A year, a month or a day: ``2026``, ``2026-11``, ``2026-11-23``."""

    first: date
    last: date
    depth: int  # 1 year, 2 month, 3 day

    @classmethod
    def read(cls, text: str) -> Span:
        """Raises ValueError."""
        depth = text.count("-") + 1
        first = parse_date(text + "-01" * (3 - depth))
        if first is None or not MINYEAR < first.year < MAXYEAR:
            raise ValueError(text)
        return cls.around(first, depth)

    @classmethod
    def around(cls, day: date, depth: int) -> Span:
        if depth == 1:
            return cls(date(day.year, 1, 1), date(day.year, 12, 31), depth)
        if depth == 2:
            length = monthrange(day.year, day.month)[1]
            return cls(day.replace(day=1), day.replace(day=length), depth)
        return cls(day, day, depth)

    @property
    def text(self) -> str:
        return self.first.isoformat()[: (4, 7, 10)[self.depth - 1]]

    @property
    def title(self) -> str:
        return capfirst(date_format(self.first, FORMATS[self.depth]))

    def condition(self) -> Condition:
        after = self.last + timedelta(days=1)
        return Condition(Q(at__gte=midnight(self.first), at__lt=midnight(after)), TIME)

    def parts(self) -> Iterator[Span]:
        part = Span.around(self.first, self.depth + 1)
        while part.first <= self.last:
            yield part
            part = Span.around(part.last + timedelta(days=1), self.depth + 1)


Link = Callable[[Span | None], str]


def midnight(day: date) -> datetime:
    moment = datetime.combine(day, clock_time.min)
    return timezone.make_aware(moment) if settings.USE_TZ else moment


def toplinks(
    entries: QuerySet[AuditEntry], chosen: Span | None, link: Link
) -> dict[str, Any]:
    """The context of ``admin/date_hierarchy.html``. ``link`` gives the address of the
    list for a span, or for none."""
    oldest = entries.order_by("at").values_list("at", flat=True).first()
    if oldest is None:
        return {"show": False}
    first, last = _day(oldest), max(_day(oldest), _day(timezone.now()))
    parts = _parts(chosen, first, last)
    choices = [each for each in parts if each.first <= last and each.last >= first]
    return {
        "show": True,
        "field_name": _("time"),
        "back": _back(chosen, link),
        "choices": [
            {"title": each.title, "link": each != chosen and link(each)}
            for each in choices
        ],
    }


def _parts(chosen: Span | None, first: date, last: date) -> Iterable[Span]:
    if chosen is not None and chosen.depth == 3:
        one = timedelta(days=1)
        days = (chosen.first - one, chosen.first, chosen.first + one)
        return [Span.around(day, 3) for day in days]
    if chosen is not None:
        return chosen.parts()
    if first.year != last.year:
        years = range(first.year, last.year + 1)
        return [Span.around(date(year, 1, 1), 1) for year in years]
    depth = 2 if first.month == last.month else 1
    return Span.around(first, depth).parts()


def _back(chosen: Span | None, link: Link) -> dict[str, Any] | None:
    if chosen is None:
        return None
    if chosen.depth == 1:
        return {"title": _("All dates"), "link": link(None)}
    whole = Span.around(chosen.first, chosen.depth - 1)
    return {"title": whole.title, "link": link(whole)}


def _day(moment: datetime) -> date:
    return (timezone.localtime(moment) if settings.USE_TZ else moment).date()
