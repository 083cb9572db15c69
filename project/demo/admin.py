from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin

from perfguard.audit.admin_pages import AuditLinkMixin
from perfguard.tokens.admin import sign_out_everywhere
from project.demo.models import Note, User


@admin.register(User)
class EmailUserAdmin(AuditLinkMixin, UserAdmin):
    ordering = ("email",)
    list_display = ("email", "name", "is_staff", "is_active")
    search_fields = ("email", "name")
    actions = (sign_out_everywhere,)
    fieldsets = (
        (None, {"fields": ("email", "password", "name")}),
        ("Permissions", {"fields": ("is_active", "is_staff", "is_superuser")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "password1", "password2")}),)


@admin.register(Note)
class NoteAdmin(admin.ModelAdmin):
    list_display = ("__str__", "owner", "created")
    search_fields = ("text", "owner__email")
    autocomplete_fields = ("owner",)
