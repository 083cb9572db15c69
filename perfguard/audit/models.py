"""The audit log in the database, and the seals that make tampering evident."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

LONGEST: dict[str, int] = {  # characters that are kept of what has no bound
    "url": 2048,
    "route": 255,
    "actor_id": 64,
    "actor_label": 150,
    "user_agent": 256,
    "request_id": 128,
    "marker": 64,
}


def _text(name: Any, length: int, **options: Any) -> models.CharField[str, str]:
    return models.CharField(
        name, max_length=length, blank=True, default="", editable=False, **options
    )


class AuditEntry(models.Model):
    """One request, or one event; written once and never changed.

    ``mac`` is over all that was written, see :mod:`perfguard.audit.lines`. No foreign
    keys: an entry outlives the user whom it names.
    """

    entry_id = models.UUIDField(_("entry"), unique=True, editable=False)
    at = models.DateTimeField(_("time"), editable=False)
    kind = _text(_("kind"), 32)
    level = _text(_("level"), 16)
    method = _text(_("method"), 16)
    url = _text(_("URL"), LONGEST["url"])
    route = _text(_("route"), LONGEST["route"])
    status = models.PositiveSmallIntegerField(_("status"), null=True, editable=False)
    outcome = _text(_("outcome"), 16)
    refused_by = _text(_("refused by"), 32)
    error = _text(_("error"), 255)
    duration_us = models.PositiveBigIntegerField(_("duration in µs"), null=True)
    bytes_in = models.PositiveBigIntegerField(_("bytes in"), null=True)
    bytes_out = models.PositiveBigIntegerField(_("bytes out"), null=True)
    actor_kind = _text(_("signed in by"), 16)
    actor_id = _text(_("user id"), LONGEST["actor_id"])
    actor_label = _text(_("user"), LONGEST["actor_label"])
    address = _text(_("address"), 45)
    user_agent = _text(_("user agent"), LONGEST["user_agent"])
    request_id = _text(_("request id"), LONGEST["request_id"])
    trace_id = _text(_("trace id"), 32)
    marker = _text(_("session or key"), LONGEST["marker"])
    request_headers = models.TextField(_("request headers"), editable=False)
    request_body = models.TextField(_("request body"), editable=False)
    request_truncated = models.BooleanField(_("request was cut"), editable=False)
    response_headers = models.TextField(_("response headers"), editable=False)
    response_body = models.TextField(_("response body"), editable=False)
    response_truncated = models.BooleanField(_("response was cut"), editable=False)
    details = models.TextField(_("details"), editable=False)
    key_id = _text(_("signing key"), 16)
    mac = _text(_("MAC"), 64)

    class Meta:
        app_label = "perfguard"
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit log")
        ordering = ("-at", "-id")
        # Nobody adds, changes or deletes entries by hand: there is nothing to permit.
        default_permissions = ("view",)
        permissions = (("export_auditentry", "Can export the audit log"),)
        indexes = (
            models.Index(fields=("at", "id"), name="perfguard_audit_at"),
            models.Index(fields=("actor_id", "at"), name="perfguard_audit_actor"),
            models.Index(fields=("actor_label", "at"), name="perfguard_audit_label"),
            models.Index(fields=("address", "at"), name="perfguard_audit_address"),
            models.Index(fields=("status", "at"), name="perfguard_audit_status"),
            models.Index(fields=("request_id",), name="perfguard_audit_request"),
            # Of the rest a few rows alone are looked for.
            models.Index(
                fields=("kind", "at"),
                condition=~Q(kind="request"),
                name="perfguard_audit_kind",
            ),
            models.Index(
                fields=("outcome", "at"),
                condition=~Q(outcome="completed"),
                name="perfguard_audit_outcome",
            ),
            models.Index(
                fields=("trace_id",),
                condition=~Q(trace_id=""),
                name="perfguard_audit_trace",
            ),
            models.Index(
                fields=("marker", "at"),
                condition=~Q(marker=""),
                name="perfguard_audit_marker",
            ),
        )

    def __str__(self) -> str:
        what = (
            f"{self.method} {self.url[:100]}" if self.kind == "request" else self.kind
        )
        return f"{self.at:%Y-%m-%d %H:%M:%S} {what}"


class AuditSeal(models.Model):
    """Closes the entries with ids from ``first_id`` to ``last_id``, after the seal
    before it. Once they are pruned the seal stays, so that the chain can be verified.
    """

    number = models.PositiveBigIntegerField(_("number"), primary_key=True)
    first_id = models.PositiveBigIntegerField(_("first entry"), editable=False)
    last_id = models.PositiveBigIntegerField(_("last entry"), editable=False)
    count = models.PositiveIntegerField(_("entries"), editable=False)
    first_at = models.DateTimeField(_("from"), editable=False)
    last_at = models.DateTimeField(_("until"), editable=False)
    # The listing: the ids, as ranges, and a mark of eight bytes for each one's MAC, in
    # that order, so that what is missing, added or exchanged can be named; at the end
    # a SHA-256 over all MACs. Pruning empties it; the SHA-256 of it, content, stays.
    ids = models.TextField(editable=False)
    marks = models.BinaryField(editable=False)
    content = _text(_("content"), 64)
    previous = _text(_("digest before"), 64)
    digest = _text(_("digest"), 64)
    key_id = _text(_("signing key"), 16)
    sealed_at = models.DateTimeField(_("sealed"), editable=False)
    pruned_at = models.DateTimeField(_("pruned"), null=True, editable=False)
    tombstone = _text(_("tombstone"), 81)  # the id of its key, and its MAC

    class Meta:
        app_label = "perfguard"
        verbose_name = _("audit seal")
        verbose_name_plural = _("audit seals")
        ordering = ("-number",)
        default_permissions = ("view",)
        indexes = (
            models.Index(fields=("pruned_at", "number"), name="perfguard_seal_pruned"),
        )

    def __str__(self) -> str:
        return f"Seal {self.number}: entries {self.first_id} to {self.last_id}"
