"""The audit log and its seals in the admin: to be read, by nobody to be changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin import ShowFacets
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from perfguard.audit.admin_pages import (
    ExportPages,
    beside,
    leads_to_entries,
    list_url,
    told_drops,
)
from perfguard.audit.entries import REQUEST
from perfguard.audit.models import AuditEntry, AuditSeal
from perfguard.audit.pages import columns, filters, shown
from perfguard.audit.pages.changelist import AuditChangeList
from perfguard.audit.pages.columns import having
from perfguard.audit.pages.search import HELP, word
from perfguard.conf import conf

if TYPE_CHECKING:
    EntryBase = admin.ModelAdmin[AuditEntry]
    SealBase = admin.ModelAdmin[AuditSeal]
    AnyAdmin = admin.ModelAdmin[Any]
else:
    AnyAdmin = object
    EntryBase = SealBase = admin.ModelAdmin


class ReadOnly(AnyAdmin):
    """For superusers as well: entries go by retention alone, whole seals at a time."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).using(conf.AUDIT_DATABASE)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponse:
        """There is none, and no page to say so."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_change"
        here = reverse(name, args=[object_id], current_app=self.admin_site.name)
        return HttpResponseRedirect(here)


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnly, ExportPages, columns.Columns, EntryBase):
    list_display = columns.LIST
    list_filter = (
        filters.TimeFilter,
        filters.KindFilter,
        filters.OutcomeFilter,
        filters.StatusFilter,
        filters.MethodFilter,
        filters.ActorFilter,
    )
    list_per_page = 100
    sortable_by = ()
    search_fields = ("actor_label",)  # there is a box; AuditChangeList reads it
    search_help_text = HELP
    show_full_result_count = False
    show_facets = ShowFacets.NEVER  # each of them is a COUNT(*)
    actions = ("export_csv", "export_json_lines")
    fieldsets = (
        (None, {"fields": columns.ABOUT}),
        (_("Request"), {"fields": columns.REQUESTED}),
        (_("Response"), {"fields": columns.ANSWERED}),
        (_("Event"), {"fields": columns.EVENT}),
        (_("Where it came from"), {"fields": columns.ORIGIN}),
        (_("Integrity"), {"fields": columns.INTEGRITY}),
    )

    class Media:
        css: ClassVar = {"all": ("perfguard/audit.css",)}

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        return AuditChangeList

    def lookup_allowed(
        self, lookup: str, value: str, request: HttpRequest | None = None
    ) -> bool:
        # Any column otherwise, without an index and with regular expressions.
        return lookup in {each.parameter_name for each in self.list_filter}

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        return queryset, False  # see AuditChangeList

    def get_fieldsets(self, request: HttpRequest, obj: AuditEntry | None = None) -> Any:
        """Without what the entry cannot have."""
        if obj is None:
            return self.fieldsets
        if obj.kind == REQUEST:
            return [each for each in self.fieldsets if each[0] != _("Event")]
        return [
            (title, {"fields": fields})
            for title, part in self.fieldsets
            if (fields := having(obj, part["fields"]))
        ]

    def get_readonly_fields(
        self, request: HttpRequest, obj: AuditEntry | None = None
    ) -> Any:
        return [name for _title, part in self.fieldsets for name in part["fields"]]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method == "GET" and self.has_view_permission(request):
            told_drops(self, request)
        title = {"title": capfirst(str(self.opts.verbose_name_plural))}
        exports = {"may_export": self.has_export_permission(request)}
        context = {**title, **exports, **(extra_context or {})}
        return super().changelist_view(request, context)

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        entry = context["original"]
        context.update(beside(entry, self.get_queryset(request)))
        context["subtitle"] = shown.heading(entry)
        return super().render_change_form(request, context, *args, **kwargs)


class SealPaginator(Paginator):  # type: ignore[type-arg]
    """Seals are numbered without a gap, and never deleted: nobody has to count them."""

    @cached_property
    def count(self) -> int:
        seals: Any = self.object_list
        numbers = seals.values_list("number", flat=True)
        newest = numbers.order_by("-number").first()
        oldest = numbers.order_by("number").first()
        return 0 if newest is None else newest - oldest + 1


@admin.register(AuditSeal)
class AuditSealAdmin(ReadOnly, SealBase):
    list_display = (
        "number",
        "first_id",
        "last_id",
        "count",
        "first_at",
        "last_at",
        "sealed_at",
        "pruned_at",
    )
    list_per_page = 100
    sortable_by = ()
    paginator = SealPaginator
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    actions = None
    fields = (*list_display, "previous", "digest", "key_id", "tombstone")

    def lookup_allowed(
        self, lookup: str, value: str, request: HttpRequest | None = None
    ) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditSeal]:
        # Of thousands of entries each.
        return super().get_queryset(request).defer("ids", "marks")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        try:
            return super().changelist_view(request, extra_context)
        except DisallowedModelAdminLookup:
            text = gettext("Seals cannot be narrowed; here are all of them.")
            messages.error(request, text)
            return HttpResponseRedirect(request.path)

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        seal, site = context["original"], self.admin_site.name
        if leads_to_entries(request, site):
            ids = f"{seal.first_id}-{seal.last_id}"
            context["entries_url"] = list_url(site, word("entry", ids))
        return super().render_change_form(request, context, *args, **kwargs)
