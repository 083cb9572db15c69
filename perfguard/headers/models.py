"""What browsers reported, each kind of violation once."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class CspReport(models.Model):
    """Violations that differ in nothing but time. No query string, no fragment, and of
    the site's own pages the route alone: what was in their paths may be a secret."""

    fingerprint = models.CharField(max_length=64, unique=True, editable=False)
    directive = models.CharField(_("directive"), max_length=64, editable=False)
    disposition = models.CharField(_("disposition"), max_length=16, editable=False)
    document = models.CharField(_("page"), max_length=255, editable=False)
    blocked = models.CharField(_("blocked"), max_length=255, editable=False)
    source_file = models.CharField(_("source"), max_length=255, editable=False)
    line = models.PositiveIntegerField(_("line"), default=0, editable=False)
    sample = models.CharField(_("sample"), max_length=40, editable=False)
    count = models.PositiveBigIntegerField(_("reports"), default=1, editable=False)
    first_seen = models.DateTimeField(_("first seen"), editable=False)
    last_seen = models.DateTimeField(_("last seen"), editable=False)

    class Meta:
        app_label = "perfguard"
        verbose_name = _("CSP report")
        verbose_name_plural = _("CSP reports")
        ordering = ("-last_seen", "-pk")
        indexes = (
            models.Index(fields=("-last_seen", "-id"), name="perfguard_csp_last_seen"),
            models.Index(fields=("count", "last_seen"), name="perfguard_csp_least"),
        )

    def __str__(self) -> str:
        return f"{self.directive}: {self.blocked} ({self.document})"
