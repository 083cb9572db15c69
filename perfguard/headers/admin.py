"""Reports of violations in the admin: read, and deleted when they are dealt with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest

from perfguard.headers.models import CspReport

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[CspReport]
else:
    ModelAdmin = admin.ModelAdmin


@admin.register(CspReport)
class CspReportAdmin(ModelAdmin):
    list_display = (
        "directive",
        "blocked",
        "document",
        "disposition",
        "count",
        "last_seen",
    )
    list_filter = ("disposition", "directive")
    search_fields = ("blocked", "document", "source_file", "sample")
    date_hierarchy = "last_seen"
    fields = (
        "directive",
        "disposition",
        "blocked",
        "document",
        "source_file",
        "line",
        "sample",
        "count",
        "first_seen",
        "last_seen",
    )
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
