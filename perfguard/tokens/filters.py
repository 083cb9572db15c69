"""How the admin's lists are narrowed."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from perfguard.tokens.models import TokenSession
from perfguard.tokens.receivers import user_key_of

MOST_USERS = 10  # of one name or e-mail address


def keys_of_users_named(name: str) -> list[str]:
    """Ids, as text, of users whose name or e-mail address that is."""
    model = get_user_model()
    wanted = Q()
    for field in {model.USERNAME_FIELD, model.get_email_field_name()}:
        wanted |= Q(**{f"{field}__iexact": name})
    users = model._default_manager.filter(wanted)[:MOST_USERS]
    return [user_key_of(user) for user in users]


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
