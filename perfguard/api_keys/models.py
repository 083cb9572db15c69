from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from perfguard.api_keys.keys import ID_LENGTH
from perfguard.api_keys.validators import (
    validate_label,
    validate_rate,
    validate_rules,
)


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def in_use(self, now: datetime | None = None) -> ApiKeyQuerySet:
        """Neither revoked nor expired."""
        alive = Q(expires_at=None) | Q(expires_at__gt=now or timezone.now())
        return self.filter(alive, revoked_at=None)


class ApiKey(models.Model):
    """One key of one owner. The secret is not here: only a hash of it."""

    key_id = models.CharField(
        _("public id"), max_length=ID_LENGTH, unique=True, editable=False
    )
    hashed_secret = models.CharField(max_length=128, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        related_name="+",
        verbose_name=_("owner"),
        help_text=_("Whoever holds the key acts as this user."),
    )
    label = models.CharField(
        _("label"),
        max_length=100,
        validators=[validate_label],
        help_text=_("What the key is for."),
    )
    created = models.DateTimeField(_("created"), editable=False)
    created_by = models.CharField(
        _("created by"), max_length=64, blank=True, editable=False
    )
    expires_at = models.DateTimeField(
        _("expires"),
        null=True,
        blank=True,
        help_text=_("Empty: never, or as late as the site allows."),
    )
    revoked_at = models.DateTimeField(
        _("revoked"), null=True, blank=True, editable=False
    )
    revoked_by = models.CharField(
        _("revoked by"), max_length=64, blank=True, editable=False
    )
    is_restricted = models.BooleanField(
        _("restricted"),
        default=False,
        help_text=_("Only the endpoints below are allowed."),
    )
    allowed_endpoints = models.TextField(
        _("allowed endpoints"),
        blank=True,
        max_length=10_000,
        validators=[validate_rules],
        help_text=_(
            "One rule a line: methods, or * for all, and the name of a URL, a route, "
            "or a path that begins with a slash. Examples: “GET notes:list”, “* "
            "/api/v1/notes”."
        ),
    )
    rate = models.CharField(
        _("rate"),
        max_length=64,
        blank=True,
        validators=[validate_rate],
        help_text=_("A limit of the key's own, such as “100/minute”."),
    )
    last_used_at = models.DateTimeField(_("last used"), null=True, editable=False)
    replaced_by = models.ForeignKey(
        "self",
        models.SET_NULL,
        null=True,
        editable=False,
        related_name="+",
        verbose_name=_("replaced by"),
    )

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        ordering: ClassVar = ["-created", "-pk"]
        indexes: ClassVar = [
            models.Index(fields=["owner", "-created"], name="perfguard_api_key_owner"),
            models.Index(fields=["-created", "-id"], name="perfguard_api_key_created"),
        ]

    def __str__(self) -> str:
        return f"{self.label} ({self.key_id})"

    @property
    def endpoints(self) -> list[str] | None:
        """The rules, None for a key that is not restricted."""
        return self.allowed_endpoints.splitlines() if self.is_restricted else None

    @property
    def is_in_use(self) -> bool:
        """Neither revoked nor expired. The owner may be inactive all the same."""
        return self.revoked_at is None and not self._has_expired

    @property
    def state(self) -> str:
        if self.revoked_at is not None:
            return "revoked"
        if self.replaced_by_id is not None:
            return "replaced" if self._has_expired else "being replaced"
        return "expired" if self._has_expired else "active"

    @property
    def _has_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()

    def clean(self) -> None:
        rules = self.allowed_endpoints.strip()
        if self.is_restricted and not rules:
            raise ValidationError(
                {"allowed_endpoints": _("Without a rule the key could do nothing.")}
            )
        if rules and not self.is_restricted:
            raise ValidationError(
                {"is_restricted": _("Without this the rules have no effect.")}
            )
