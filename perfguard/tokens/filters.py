"""How the admin's lists are narrowed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from perfguard.tokens.claims import user_key_of
from perfguard.tokens.models import TokenSession

MOST_USERS = 10  # of one name or e-mail address
# Those of perfguard: to list what the table has is to read all of it, for each page.
REASONS = {
    "sign_out": _("signed out"),
    "sign_out_all": _("signed out everywhere"),
    "admin": _("by an administrator"),
    "command": _("by a command"),
    "password": _("new password"),
    "deactivated": _("user deactivated"),
    "deleted": _("user deleted"),
    "reuse": _("refresh token used twice"),
}


def searched(rows: QuerySet[Any], columns: Iterable[str], term: str) -> QuerySet[Any]:
    """The rows of the user, or with the id, that ``term`` is: as a whole, so that an
    index finds it, and one column after the other, so that the first has its chance."""
    if not term:
        return rows
    found = rows.filter(user_key__in=[term, *keys_of_users_named(term)])
    for column in columns:
        if found.exists():
            break
        found = rows.filter(**{column: term})
    return found


def keys_of_users_named(name: str) -> list[str]:
    """Ids, as text, of users whose name or e-mail address that is."""
    model = get_user_model()
    wanted = Q()
    for field in {model.USERNAME_FIELD, model.get_email_field_name()}:
        if _has(model, field):
            wanted |= Q(**{f"{field}__iexact": name})
    users = model._default_manager.filter(wanted)[:MOST_USERS]
    return [user_key_of(user) for user in users]


def _has(model: Any, name: str) -> bool:
    # Django names the field of e-mail addresses of a model that has none, too.
    try:
        return bool(model._meta.get_field(name))
    except FieldDoesNotExist:
        return False


class StateFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("live", _("live")), ("ended", _("ended")), ("expired", _("expired"))]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[TokenSession]
    ) -> QuerySet[TokenSession]:
        over = Q(expires_at__lte=timezone.now())
        wanted = {
            "live": Q(ended_at=None) & ~over,
            "ended": Q(ended_at__isnull=False),
            "expired": over & Q(ended_at=None),
        }
        return queryset.filter(wanted.get(self.value() or "", Q()))


class ReasonFilter(admin.SimpleListFilter):
    title = _("reason")
    parameter_name = "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(REASONS.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = {self.parameter_name: self.value()}
        return queryset.filter(**wanted) if self.value() else queryset


class EndReasonFilter(ReasonFilter):
    title = _("why it ended")
    parameter_name = "end_reason"
