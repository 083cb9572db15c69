"""Sessions and revoked tokens in the admin. Nothing here makes a revoked token good."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from perfguard.tokens.claims import Marks, user_key_of
from perfguard.tokens.filters import (
    EndReasonFilter,
    ReasonFilter,
    StateFilter,
    searched,
)
from perfguard.tokens.forms import RevokedTokenForm
from perfguard.tokens.journal import (
    Delivery,
    end_session,
    moment,
    revoke_token,
    revoke_user,
)
from perfguard.tokens.models import RevokedToken, TokenGeneration, TokenSession

PENDING = _("Redis is away: it is recorded, and in force as soon as Redis is back.")


class ByUser(admin.ModelAdmin):  # type: ignore[type-arg]
    """Found by the user, too, whatever the project's user model is called by."""

    show_full_result_count = False  # a COUNT(*) of all, for each page
    list_per_page = 50

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # what was revoked stays so, and "prune" removes what is over

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        return searched(queryset, self.search_fields, search_term.strip()), False


@admin.register(TokenSession)
class TokenSessionAdmin(ByUser):
    list_display = (
        "of_user",
        "state",
        "created",
        "last_used",
        "address",
        "agent",
        "sid",
    )
    list_filter = (StateFilter, "created", EndReasonFilter)
    list_select_related = ("user",)
    search_fields = ("sid", "current_jti", "previous_jti")
    search_help_text = _("User, user id, session id (sid), or a refresh token's jti")
    actions = ("end_selected", "sign_out_selected")
    fields = (
        "sid",
        "of_user",
        "state",
        "created",
        "last_used",
        "expires_at",
        "address",
        "user_agent",
        "ended_at",
        "end_reason",
        "current_jti",
        "pushed_at",
    )
    readonly_fields = fields

    @admin.display(description=_("user"), ordering="user_key")
    def of_user(self, session: TokenSession) -> str:
        if session.user is None:
            return f"{session.user_key} ({_('deleted')})"
        return str(session.user)

    @admin.display(description=_("state"))
    def state(self, session: TokenSession) -> Any:
        if session.ended_at is not None:
            return _("ended")
        over = session.expires_at is not None and session.expires_at <= timezone.now()
        return _("expired") if over else _("live")

    @admin.display(description=_("user agent"))
    def agent(self, session: TokenSession) -> str:
        return session.user_agent[:40]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # a session begins with a sign-in

    @admin.action(description=_("End the selected sessions"), permissions=["change"])
    def end_selected(
        self, request: HttpRequest, queryset: QuerySet[TokenSession]
    ) -> HttpResponse | None:
        return self._confirmed(
            request, queryset, "end_selected", _("End these sessions?"), _end
        )

    @admin.action(
        description=_("Sign out the users of the selected sessions everywhere"),
        permissions=["change"],
    )
    def sign_out_selected(
        self, request: HttpRequest, queryset: QuerySet[TokenSession]
    ) -> HttpResponse | None:
        question = _("Revoke every token of these users?")
        return self._confirmed(
            request, queryset, "sign_out_selected", question, _sign_out
        )

    def save_model(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: what was read a moment ago may have been ended since."""

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        nothing_to_save = {"show_save": False, "show_save_and_continue": False}
        context = {**(extra_context or {}), **nothing_to_save}
        return super().change_view(request, object_id, form_url, context)

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view
        own = [
            path("<path:sid>/end/", view(self.end_view), name="perfguard_end_session"),
            path(
                "<path:sid>/everywhere/",
                view(self.everywhere_view),
                name="perfguard_sign_out_everywhere",
            ),
        ]
        return own + super().get_urls()

    def end_view(self, request: HttpRequest, sid: str) -> HttpResponse:
        return self._one(request, sid, _("End this session?"), _end)

    def everywhere_view(self, request: HttpRequest, sid: str) -> HttpResponse:
        question = _("Revoke every token of this user?")
        return self._one(request, sid, question, _sign_out)

    def _one(
        self, request: HttpRequest, sid: str, question: Any, work: Work
    ) -> HttpResponse:
        found = self.get_queryset(request).filter(pk=unquote(sid))
        if not found:
            raise Http404
        answer = self._confirmed(request, found, "", question, work)
        page = reverse("admin:perfguard_tokensession_change", args=[sid])
        return answer or redirect(page)

    def _confirmed(
        self,
        request: HttpRequest,
        queryset: QuerySet[TokenSession],
        action: str,
        question: Any,
        work: Work,
    ) -> HttpResponse | None:
        """Ask first; None when it is done, or was asked for nothing."""
        chosen = list(queryset.select_related("user"))
        if not all(self.has_change_permission(request, each) for each in chosen):
            raise PermissionDenied
        if request.method != "POST" or "confirmed" not in request.POST:
            context = {
                **self.admin_site.each_context(request),
                "title": question,
                "opts": self.model._meta,
                "sessions": chosen,
                "action": action,
                "checkbox": ACTION_CHECKBOX_NAME,
                "across": request.POST.get("select_across") == "1",
            }
            return TemplateResponse(request, "perfguard/tokens/confirm.html", context)
        by = user_key_of(request.user)
        delivered = work(chosen, by)
        for each in chosen:
            self.log_change(request, each, str(question))
        self.message_user(request, _("Done."), messages.SUCCESS)
        if not delivered:
            self.message_user(request, PENDING, messages.WARNING)
        return None


Work = Callable[[list[TokenSession], str], bool]


def _end(sessions: list[TokenSession], by: str) -> bool:
    found = [end_session(each.sid, reason="admin", by=by) for each in sessions]
    return _are_on_their_way(found)


def _sign_out(sessions: list[TokenSession], by: str) -> bool:
    # However many sessions of one user were chosen.
    users = sorted({each.user_key for each in sessions})
    return _are_on_their_way([revoke_user(key, reason="admin", by=by) for key in users])


def _are_on_their_way(deliveries: Iterable[Delivery | None]) -> bool:
    # None within: the transaction is still open, and Redis is told at its end.
    return all(each is None or each.delivered is not False for each in deliveries)


@admin.register(RevokedToken)
class RevokedTokenAdmin(ByUser):
    """Adding one revokes the token with that id."""

    list_display = ("jti", "token_type", "user_key", "sid", "reason", "revoked_at")
    list_filter = (ReasonFilter, "revoked_at")
    search_fields = ("jti", "sid")
    search_help_text = _("User, user id, token id (jti) or session id (sid)")
    form = RevokedTokenForm
    fields = ("jti", "user_key", "expires_at")
    readonly_fields: ClassVar = []

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return self.fields
        return [each.name for each in RevokedToken._meta.fields]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(
        self, request: HttpRequest, obj: RevokedToken, form: Any, change: bool
    ) -> None:
        exp = obj.expires_at and round(obj.expires_at.timestamp())
        marks = Marks(obj.user_key, obj.jti, "", 0, exp or None)
        by = user_key_of(request.user)
        delivery = revoke_token(marks, "", reason="admin", by=by)
        if not _are_on_their_way([delivery]):
            self.message_user(request, PENDING, messages.WARNING)


@admin.register(TokenGeneration)
class TokenGenerationAdmin(ByUser):
    """When all tokens of a user were revoked, and why."""

    list_display = ("user_key", "raised", "reason", "pushed_at")
    list_filter = (ReasonFilter,)
    search_fields = ("user_key",)
    search_help_text = _("User or user id")
    fields = ("user_key", "generation", "raised", "reason", "pushed_at")

    @admin.display(description=_("tokens are good since"), ordering="generation")
    def raised(self, row: TokenGeneration) -> Any:
        return moment(row.generation / 1000)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.action(description=_("Sign out everywhere"), permissions=["change"])
def sign_out_everywhere(
    modeladmin: Any, request: HttpRequest, queryset: QuerySet[Any]
) -> None:
    """For the ``actions`` of the project's own user admin."""
    by = user_key_of(request.user)
    for user in queryset:
        if not modeladmin.has_change_permission(request, user):
            raise PermissionDenied
    deliveries = []
    for user in queryset:
        deliveries.append(revoke_user(user_key_of(user), reason="admin", by=by))
        modeladmin.log_change(request, user, "Signed out everywhere.")
    modeladmin.message_user(request, _("All their tokens are revoked."))
    if not _are_on_their_way(deliveries):
        modeladmin.message_user(request, PENDING, messages.WARNING)
