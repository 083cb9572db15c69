"""The list of entries: as Django's, without counting and without page numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib import messages
from django.contrib.admin.views.main import ChangeList
from django.core.signing import BadSignature
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _

from perfguard.audit.models import AuditEntry
from perfguard.audit.pages import days, search
from perfguard.audit.pages.conditions import Condition, Question
from perfguard.audit.pages.days import Span, toplinks
from perfguard.audit.pages.filters import ConditionFilter
from perfguard.audit.pages.paging import Page, Pager, Position

BEFORE, AFTER = "before", "after"  # parameters, each with a position
# Nothing else is read for a row of the list: bodies may be large.
COLUMNS = (
    "at",
    "kind",
    "method",
    "url",
    "status",
    "outcome",
    "refused_by",
    "duration_us",
    "actor_kind",
    "actor_id",
    "actor_label",
    "address",
    "request_id",
    "details",  # of an event; a request has none
)


class AuditChangeList(ChangeList):
    """``conditions`` are those of the search, the day and the filters together;
    ``problems`` what of them could not be understood: then nothing is found."""

    page: Page
    span: Span | None
    unknown: list[str]  # names of parameters

    def get_filters(self, request: HttpRequest) -> Any:
        # No filters: a link that narrows the list leads to its newest page.
        for name in (BEFORE, AFTER):
            self.params.pop(name, None)
            self.filter_params.pop(name, None)
        filters: Any = self.list_filter
        known = {each.parameter_name for each in filters}
        self.unknown = sorted(self.get_filters_params().keys() - known)
        for name in self.unknown:
            self.filter_params.pop(name)
        return super().get_filters(request)

    def get_filters_params(self, params: Any = None) -> Any:
        found = super().get_filters_params(params)
        found.pop(days.PARAMETER, None)
        return found

    def get_ordering(self, request: HttpRequest, queryset: Any) -> list[Any]:
        return ["-at", "-id"]  # the only one that has an index

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: Any = None
    ) -> QuerySet[AuditEntry]:
        queryset = super().get_queryset(request, exclude_parameters)
        found = search.read(self.query, self.root_queryset)
        unknown = [_("“%s” is no filter of this list.") % each for each in self.unknown]
        self.problems = [*found.problems, *unknown]
        own = [*found.conditions, *self._day()]
        self.conditions = [*own, *self._filters()]
        if self.problems:
            return queryset.none()
        for condition in own:  # the filters have had their turn
            queryset = queryset.filter(condition.q)
        return queryset

    def get_results(self, request: HttpRequest) -> None:
        for problem in self.problems:
            messages.error(request, problem)
        self.page = self._page(request)
        self.result_list = self.page.entries
        # All that is known, and all that is shown: the rest nobody has counted.
        self.result_count = self.full_result_count = len(self.page.entries)
        self.show_full_result_count = False
        self.show_admin_actions = bool(self.page.entries)
        self.can_show_all = self.multi_page = False
        shown: Any = self.page.entries
        self.paginator = self.model_admin.get_paginator(
            request, shown, self.list_per_page
        )

    def toplinks(self) -> dict[str, Any]:
        def link(span: Span | None) -> str:
            return self.get_query_string({days.PARAMETER: span and span.text})

        return toplinks(self.root_queryset, self.span, link)

    def asked(self) -> list[tuple[str, str]]:
        """What narrows the list, in words."""
        found = [(str(spec.title), spec.chosen()) for spec in self._used()]
        if self.span:
            found.insert(0, (_("time"), self.span.text))
        return [(_("search"), self.query), *found] if self.query else found

    def newest_url(self) -> str:
        return self.get_query_string()

    def asked_query(self) -> str:
        """What narrows the list, for a link to another page."""
        query = self.get_query_string()
        return "" if query == "?" else query

    def newer_url(self) -> str:
        return self._url(AFTER, self.page.newer)

    def older_url(self) -> str:
        return self._url(BEFORE, self.page.older)

    def _url(self, name: str, place: Position | None) -> str:
        return self.get_query_string({name: place.token()}) if place else ""

    def _page(self, request: HttpRequest) -> Page:
        if self.problems:
            return Page([])
        entries = self.root_queryset.only(*COLUMNS)
        pager = Pager(entries, Question.of(self.conditions), self.list_per_page)
        newer, older = (self._position(request, name) for name in (AFTER, BEFORE))
        return pager.after(newer) if newer else pager.before(older)

    def _position(self, request: HttpRequest, name: str) -> Position | None:
        token = request.GET.get(name)
        if token is None:
            return None
        try:
            return Position.read(token)
        except (BadSignature, ValueError, TypeError):
            messages.warning(
                request, _("This is no page of the list; here is the newest.")
            )
            return None

    def _day(self) -> list[Condition]:
        self.span = None
        text = self.params.get(days.PARAMETER)
        if text is None:
            return []
        try:
            self.span = Span.read(text)
        except ValueError:
            self.problems.append(_("“%s” is no year, month or day.") % text)
            return []
        return [self.span.condition()]

    def _filters(self) -> list[Condition]:
        found = [self._condition(spec) for spec in self._used()]
        return [each for each in found if each is not None]

    def _used(self) -> Iterator[ConditionFilter]:
        for spec in self.filter_specs:
            if isinstance(spec, ConditionFilter) and spec.value() is not None:
                yield spec

    def _condition(self, spec: ConditionFilter) -> Condition | None:
        try:
            return spec.condition()
        except ValueError as error:
            values = {"value": str(error), "name": spec.title}
            text = _("“%(value)s” is no choice of “%(name)s”.") % values
            self.problems.append(text)
            return None
