"""How the audit log is narrowed at its side, without a query for the choices."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from perfguard.audit.entries import ABORTED, COMPLETED, FAILED, REFUSED, REQUEST
from perfguard.audit.models import AuditEntry
from perfguard.audit.pages.conditions import (
    TIME,
    Condition,
    of_kind,
    of_outcome,
    of_status,
)
from perfguard.audit.pages.days import midnight
from perfguard.schema import EVENTS

OF_THE_LOG = ("entries_dropped", "entries_exported", "entries_pruned")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
SPANS = {
    "hour": (_("Past hour"), timedelta(hours=1)),
    "today": (_("Today"), None),
    "day": (_("Past 24 hours"), timedelta(days=1)),
    "week": (_("Past 7 days"), timedelta(days=7)),
    "month": (_("Past 30 days"), timedelta(days=30)),
}
OUTCOMES = {
    COMPLETED: _("completed"),
    REFUSED: _("refused"),
    ABORTED: _("aborted"),
    FAILED: _("error"),
}
ACTORS = {
    "session": _("Session"),
    "token": _("Token"),
    "api_key": _("API key"),
    "trusted_header": _("Trusted header"),
    "sign_in": _("Signing in or out"),
    "other": _("Other"),
    "anonymous": _("Nobody"),
}


class ConditionFilter(admin.SimpleListFilter):
    """One of a few choices. What is no choice is told, and finds nothing."""

    choices_of: ClassVar[dict[str, Any]]

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return list(self.choices_of.items())

    def condition(self) -> Condition | None:
        """None: it is not used. Raises ValueError."""
        value = self.value()
        if value is None:
            return None
        if value not in self.choices_of:
            raise ValueError(value)
        return self.of(value)

    def of(self, value: str) -> Condition:
        raise NotImplementedError

    def chosen(self) -> str:
        return str(self.choices_of.get(self.value() or "", self.value()))

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[AuditEntry]
    ) -> QuerySet[AuditEntry]:
        try:
            condition = self.condition()
        except ValueError:
            return queryset.none()
        return queryset.filter(condition.q) if condition else queryset


class KindFilter(ConditionFilter):
    title = _("event")
    parameter_name = "kind"
    choices_of: ClassVar = {
        REQUEST: _("Requests"),
        "events": _("All events"),
        **{kind: kind.replace("_", " ") for kind in (*EVENTS, *OF_THE_LOG)},
    }

    def of(self, value: str) -> Condition:
        return Condition(~Q(kind=REQUEST)) if value == "events" else of_kind(value)


class OutcomeFilter(ConditionFilter):
    title = _("outcome")
    parameter_name = "outcome"
    choices_of: ClassVar = OUTCOMES

    def of(self, value: str) -> Condition:
        return of_outcome(value)


class StatusFilter(ConditionFilter):
    title = _("status")
    parameter_name = "status"
    choices_of: ClassVar = {f"{first}xx": f"{first}xx" for first in range(2, 6)}

    def of(self, value: str) -> Condition:
        return of_status(value)


class MethodFilter(ConditionFilter):
    title = _("method")
    parameter_name = "method"
    choices_of: ClassVar = {method: method for method in METHODS}

    def of(self, value: str) -> Condition:
        return Condition(Q(method=value))


class ActorFilter(ConditionFilter):
    title = _("kind of sign-in")
    parameter_name = "by"
    choices_of: ClassVar = ACTORS

    def of(self, value: str) -> Condition:
        return Condition(Q(actor_kind=value))


class TimeFilter(ConditionFilter):
    title = _("time")
    parameter_name = "time"
    choices_of: ClassVar = {name: title for name, (title, _span) in SPANS.items()}

    def of(self, value: str) -> Condition:
        _title, span = SPANS[value]
        now = timezone.now()
        since = now - span if span else midnight(_today(now))
        return Condition(Q(at__gte=since), TIME)


def _today(now: Any) -> Any:
    return (timezone.localtime(now) if timezone.is_aware(now) else now).date()
