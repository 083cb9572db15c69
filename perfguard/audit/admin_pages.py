"""What leads to the audit log, and out of it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from perfguard.audit.models import AuditEntry
from perfguard.audit.pages.paging import NEWER, OLDER, Position
from perfguard.audit.pages.search import word
from perfguard.audit.pages.streams import FORMS, exported

if TYPE_CHECKING:
    Base = admin.ModelAdmin[AuditEntry]
    AnyAdmin = admin.ModelAdmin[Any]
else:
    Base = AnyAdmin = object

TOLD = timedelta(days=7)  # so long a notice of dropped entries is shown
MOST_NOTICES = 500


def list_url(site: str, search: str) -> str:
    page = reverse("admin:perfguard_auditentry_changelist", current_app=site)
    return f"{page}?{urlencode({'q': search})}"


def leads_to_entries(request: HttpRequest, site: str) -> bool:
    """Whether the link does, for who has sent this."""
    if not request.user.has_perm("perfguard.view_auditentry"):
        return False
    try:
        return bool(list_url(site, ""))
    except NoReverseMatch:  # another site, which has no audit log
        return False


def beside(entry: AuditEntry, entries: QuerySet[AuditEntry]) -> dict[str, Any]:
    """The ids of its neighbours in the list, as text: no locale writes them its way."""
    found = {}
    for name, way in (("newer", NEWER), ("older", OLDER)):
        there = entries.filter(way.past(Position.of(entry))).order_by(*way.order)
        key = there.values_list("pk", flat=True).first()
        found[name] = "" if key is None else str(key)
    return found


def told_drops(model_admin: Any, request: HttpRequest) -> None:
    """A log that has lost entries says so itself."""
    since = timezone.now() - TOLD
    drops = model_admin.get_queryset(request).filter(
        kind="entries_dropped", at__gte=since
    )
    details = drops.order_by("-at").values_list("details", flat=True)
    lost = sum(_dropped(each) for each in details[:MOST_NOTICES])
    if not lost:
        return
    text = ngettext(
        "%d entry was dropped within the past 7 days.",
        "%d entries were dropped within the past 7 days.",
        lost,
    )
    site = model_admin.admin_site.name
    notice = format_html(
        '{} <a href="{}">{}</a>',
        text % lost,
        list_url(site, word("kind", "entries_dropped")),
        _("When, and why"),
    )
    messages.warning(request, notice)


def _dropped(details: str) -> int:
    try:
        return max(1, int(json.loads(details)["count"]))
    except (ValueError, TypeError, KeyError):
        return 1  # and that is sure


class ExportPages(Base):
    """For ``AuditEntryAdmin``. GET asks, POST sends."""

    def has_export_permission(self, request: HttpRequest) -> bool:
        may = request.user.has_perm(f"{self.opts.app_label}.export_auditentry")
        return may and self.has_view_permission(request)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.export_view)
        own = path("export/", view, name="perfguard_auditentry_export")
        return [own, *super().get_urls()]

    @admin.action(
        description=gettext_lazy("Export selected entries as CSV"),
        permissions=["export"],
    )
    def export_csv(
        self, request: HttpRequest, queryset: QuerySet[AuditEntry]
    ) -> HttpResponseBase:
        return exported(request, queryset, "csv")

    @admin.action(
        description=gettext_lazy("Export selected entries as JSON lines"),
        permissions=["export"],
    )
    def export_json_lines(
        self, request: HttpRequest, queryset: QuerySet[AuditEntry]
    ) -> HttpResponseBase:
        return exported(request, queryset, "jsonl")

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """All that the list has with the same parameters, not only one page of it."""
        if not self.has_export_permission(request):
            raise PermissionDenied
        changelist: Any = self.get_changelist_instance(request)
        if changelist.problems:
            name = "admin:perfguard_auditentry_changelist"
            here = reverse(name, current_app=self.admin_site.name)
            return HttpResponseRedirect(f"{here}?{request.GET.urlencode()}")
        for form in FORMS:
            if form in request.POST:
                return exported(request, changelist.queryset, form)
        return self._asked(request, changelist)

    def _asked(self, request: HttpRequest, changelist: Any) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": _("Export the audit log"),
            "opts": self.opts,
            "cl": changelist,
            "media": self.media,
        }
        request.current_app = self.admin_site.name
        page = "admin/perfguard/auditentry/export.html"
        return TemplateResponse(request, page, context)


class AuditLinkMixin(AnyAdmin):
    """For the project's own user admin: on the page of a user, a link to the entries
    about them, for those who may read these."""

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None or not leads_to_entries(request, self.admin_site.name):
            return fieldsets
        return [*fieldsets, (gettext_lazy("Audit log"), {"fields": ["audit_log"]})]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [*super().get_readonly_fields(request, obj), "audit_log"]

    @admin.display(description=gettext_lazy("entries"))
    def audit_log(self, user: Any) -> Any:
        url = list_url(self.admin_site.name, word("user", str(user.pk)))
        return format_html('<a href="{}">{}</a>', url, _("All entries of this user"))
