"""The pages that the stock admin lacks: a new secret, rotating, revoking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.contrib.admin.utils import unquote
from django.contrib.auth import get_user_model
from django.core.exceptions import FieldError, PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.debug import sensitive_variables

from perfguard.api_keys import services
from perfguard.api_keys.models import ApiKey
from perfguard.conf import conf
from perfguard.exceptions import InvalidLifetime
from perfguard.lifetimes import read_lifetime

if TYPE_CHECKING:
    Base = admin.ModelAdmin[ApiKey]
else:
    Base = object


class RotateForm(forms.Form):
    overlap = forms.CharField(
        label=gettext_lazy("The old key goes on for"),
        max_length=50,
        help_text=gettext_lazy("Such as “1d12h” or “30m”."),
    )

    def clean_overlap(self) -> Any:
        try:
            overlap = read_lifetime(self.cleaned_data["overlap"])
        except InvalidLifetime as error:
            raise forms.ValidationError(str(error)) from error
        if overlap is None:
            raise forms.ValidationError(_("The old key has to end."))
        return overlap


class Pages(Base):
    """For ``ApiKeyAdmin``. GET asks, POST does; both need the right to change that
    very key, and rotating the right to add one as well."""

    def url_name(self, page: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{page}"

    def rotate_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        api_key = self._changeable(request, object_id)
        if not self.has_add_permission(request) or not self._may_be(request, api_key):
            raise PermissionDenied
        initial = {"overlap": conf.API_KEYS_ROTATION_OVERLAP}
        form = RotateForm(request.POST or None, initial=initial)
        if request.method == "POST" and form.is_valid():
            overlap = form.cleaned_data["overlap"]
            try:
                issued = services.rotate(api_key, overlap, str(request.user.pk))
            except ValidationError as error:
                form.add_error(None, error)
            else:
                return self._rotated(request, api_key, issued)
        return self._confirm(request, [api_key], title=_("Rotate"), form=form)

    def revoke_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        api_key = self._changeable(request, object_id)
        if request.method != "POST":
            return self._confirm(request, [api_key], title=_("Revoke"))
        self._revoke(request, [api_key])
        name, here = f"admin:{self.url_name('change')}", self.admin_site.name
        return HttpResponseRedirect(reverse(name, args=[api_key.pk], current_app=here))

    def revoke_many(
        self, request: HttpRequest, api_keys: list[ApiKey]
    ) -> HttpResponse | None:
        """An action: None returns to the list."""
        if not all(self.has_change_permission(request, each) for each in api_keys):
            raise PermissionDenied
        if "confirmed" not in request.POST:
            return self._confirm(request, api_keys, title=_("Revoke"))
        self._revoke(request, api_keys)
        return None

    def possible_owners(self, request: HttpRequest) -> QuerySet[Any]:
        """Whoever makes a key can act as its owner: as a superuser only if they are
        one themselves."""
        users = get_user_model()._default_manager.all()
        if getattr(request.user, "is_superuser", False):
            return users
        try:
            return users.exclude(is_superuser=True)
        except FieldError:  # a user model without superusers
            return users

    def _may_be(self, request: HttpRequest, api_key: ApiKey) -> bool:
        return self.possible_owners(request).filter(pk=api_key.owner_id).exists()

    def _changeable(self, request: HttpRequest, object_id: str) -> ApiKey:
        api_key = self.get_object(request, unquote(object_id))
        if not self.has_change_permission(request, api_key):
            raise PermissionDenied
        if api_key is None:
            raise Http404
        return api_key

    def _rotated(
        self, request: HttpRequest, old: ApiKey, issued: services.Issued
    ) -> HttpResponse:
        new = issued.api_key
        self.log_change(request, old, f"Rotated; the new key is {new.key_id}.")
        self.log_addition(request, new, f"Made in place of {old.key_id}.")
        return secret_page(self, request, issued, old=old)

    def _revoke(self, request: HttpRequest, api_keys: list[ApiKey]) -> None:
        told = [services.revoke(each, str(request.user.pk)) for each in api_keys]
        for each in api_keys:
            self.log_change(request, each, "Revoked.")
        count = len(api_keys)
        text = ngettext("%d API key is revoked.", "%d API keys are revoked.", count)
        self.message_user(request, text % count, messages.SUCCESS)
        if not all(told):
            warning = _(
                "Redis could not be told: elsewhere a key may be accepted for %d "
                "seconds more."
            )
            seconds = conf.API_KEYS_CACHE_SECONDS
            self.message_user(request, warning % seconds, messages.WARNING)

    def _confirm(
        self,
        request: HttpRequest,
        api_keys: list[ApiKey],
        *,
        title: str,
        form: RotateForm | None = None,
    ) -> HttpResponse:
        context = _context(self, request) | {
            "title": title,
            "api_keys": api_keys,
            "form": form,
            "action": request.POST.get("action", ""),
            "action_checkbox_name": helpers.ACTION_CHECKBOX_NAME,
        }
        request.current_app = self.admin_site.name
        page = "perfguard/api_keys/confirm.html"
        return TemplateResponse(request, page, context)


@sensitive_variables("issued", "context")
def secret_page(
    model_admin: Any,
    request: HttpRequest,
    issued: services.Issued,
    old: ApiKey | None = None,
) -> HttpResponse:
    """The one page that shows a secret: not after a redirect, for which it would have
    to be kept somewhere, as in a cookie of the messages framework."""
    context = _context(model_admin, request) | {
        "title": _("The new API key"),
        "api_key": issued.api_key,
        "text": issued.text,
        "old": old,
    }
    request.current_app = model_admin.admin_site.name
    page = "perfguard/api_keys/secret.html"
    response = TemplateResponse(request, page, context)
    response.headers["Cache-Control"] = "no-store"
    return response


def _context(model_admin: Any, request: HttpRequest) -> dict[str, Any]:
    return {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "media": model_admin.media,
    }
