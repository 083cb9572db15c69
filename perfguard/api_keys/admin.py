"""API keys on the stock admin site."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from perfguard.api_keys import services
from perfguard.api_keys.admin_pages import Pages, secret_page
from perfguard.api_keys.models import ApiKey

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[ApiKey]
    ModelForm = forms.ModelForm[ApiKey]
else:
    ModelAdmin, ModelForm = admin.ModelAdmin, forms.ModelForm

ISSUED = "_perfguard_issued_api_key"


class StateFilter(admin.SimpleListFilter):
    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return [
            ("in_use", _("in use")),
            ("replaced", _("being replaced")),
            ("expired", _("expired")),
            ("revoked", _("revoked")),
            ("unused", _("never used")),
        ]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[ApiKey]
    ) -> QuerySet[ApiKey]:
        now = timezone.now()
        alive = Q(expires_at=None) | Q(expires_at__gt=now)
        wanted = {
            "in_use": Q(alive, revoked_at=None),
            "replaced": Q(alive, revoked_at=None, replaced_by__isnull=False),
            "expired": Q(expires_at__lte=now, revoked_at=None),
            "revoked": Q(revoked_at__isnull=False),
            "unused": Q(last_used_at=None),
        }
        return queryset.filter(wanted.get(self.value() or "", Q()))


class ApiKeyForm(ModelForm):
    def clean_expires_at(self) -> Any:
        """The site's maximum, said at the field."""
        given = self.cleaned_data["expires_at"]
        is_new = self.instance.pk is None
        if not is_new and "expires_at" not in self.changed_data:
            return given
        created = timezone.now() if is_new else self.instance.created
        try:
            return services.bounded(given, created)
        except forms.ValidationError as error:
            raise forms.ValidationError(error.messages) from error


@admin.register(ApiKey)
class ApiKeyAdmin(Pages, ModelAdmin):
    """The secret is shown in the answer to the POST that makes it, and nowhere else.

    Deleting needs no more than Django's permission, and is not forbidden: the admin
    asks here as well whether an owner may be deleted with all that is theirs.
    """

    form = ApiKeyForm
    change_form_template = "perfguard/api_keys/change_form.html"
    list_display = (
        "label",
        "key_id",
        "owner",
        "shown_state",
        "is_restricted",
        "rate",
        "last_used_at",
        "expires_at",
    )
    list_filter = (StateFilter, "is_restricted")
    list_select_related = ("owner",)
    raw_id_fields = ("owner",)
    show_full_result_count = False  # a second count of a large table
    actions = ("revoke_selected",)
    settable = services.CHANGEABLE
    facts = (
        "key_id",
        "owner",
        "shown_state",
        "created",
        "created_by",
        "last_used_at",
        "replaced_by",
        "revoked_at",
        "revoked_by",
    )

    @admin.display(description=gettext_lazy("state"))
    def shown_state(self, api_key: ApiKey) -> str:
        return _(api_key.state)

    def get_search_fields(self, request: HttpRequest) -> Any:
        user: Any = get_user_model()
        named = {user.USERNAME_FIELD, user.get_email_field_name()}
        columns = {each.name for each in user._meta.get_fields()}
        return ("key_id", "label", *(f"owner__{name}" for name in named & columns))

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        return (*self.facts, *self.settable) if obj else ("owner", *self.settable)

    def get_readonly_fields(
        self, request: HttpRequest, obj: ApiKey | None = None
    ) -> Any:
        if obj is None:
            return ()
        # A key that has ended stays as it ended: nothing brings it back.
        return self.facts if obj.is_in_use else (*self.facts, *self.settable)

    def formfield_for_foreignkey(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> Any:
        if db_field.name == "owner":
            kwargs["queryset"] = self.possible_owners(request)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path(
                "<path:object_id>/rotate/",
                wrap(self.rotate_view),
                name=self.url_name("rotate"),
            ),
            path(
                "<path:object_id>/revoke/",
                wrap(self.revoke_view),
                name=self.url_name("revoke"),
            ),
            *super().get_urls(),
        ]

    def save_model(
        self, request: HttpRequest, obj: ApiKey, form: Any, change: bool
    ) -> None:
        by = str(request.user.pk)
        if not change:
            # Not on this object, which all requests share.
            setattr(request, ISSUED, services.issue(obj, by))
            return
        try:
            services.amend(obj, form.changed_data, by)
        except forms.ValidationError as error:
            # It ended while the form was open.
            raise PermissionDenied(*error.messages) from error

    def response_add(
        self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        return secret_page(self, request, getattr(request, ISSUED))

    @admin.action(
        description=gettext_lazy("Revoke selected API keys"), permissions=["change"]
    )
    def revoke_selected(
        self, request: HttpRequest, queryset: QuerySet[ApiKey]
    ) -> HttpResponse | None:
        return self.revoke_many(request, list(queryset.select_related("owner")))
