"""The journal: what was issued, and what of it was revoked. It is the truth.

Users are named by the text of their id, so that what was revoked stays so when they
are deleted. ``pushed_at`` is when Redis was told; null is still to be told.
"""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

LONGEST_ID = 64  # characters of a jti or a sid
LONGEST_USER_KEY = 255  # characters of a user's id as text; it may be an address


class TokenGeneration(models.Model):
    """A number that only grows: tokens that carry a lower one are revoked."""

    user_key = models.CharField(
        _("user id"), max_length=LONGEST_USER_KEY, primary_key=True
    )
    generation = models.BigIntegerField(
        _("generation"),
        help_text=_("Unix time, in milliseconds, of the last raise, or a little more."),
    )
    reason = models.CharField(_("reason"), max_length=32, blank=True)
    pushed_at = models.DateTimeField(_("told to Redis"), null=True, editable=False)

    class Meta:
        verbose_name = _("token generation")
        verbose_name_plural = _("token generations")
        indexes: ClassVar = [
            models.Index(
                fields=["user_key"],
                name="perfguard_generation_due",
                condition=models.Q(pushed_at=None),
            )
        ]

    def __str__(self) -> str:
        return f"{self.user_key}: {self.generation}"


class TokenSession(models.Model):
    """One sign-in, and all tokens that come of it: the family of a refresh token."""

    sid = models.CharField(_("session id"), max_length=LONGEST_ID, primary_key=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("user"),
    )
    user_key = models.CharField(
        _("user id"), max_length=LONGEST_USER_KEY, editable=False
    )
    created = models.DateTimeField(_("signed in"))
    last_used = models.DateTimeField(_("last refreshed"))
    expires_at = models.DateTimeField(
        _("expires"),
        null=True,
        blank=True,
        help_text=_("Empty: never. Refreshing leads no further."),
    )
    address = models.GenericIPAddressField(_("address"), null=True, blank=True)
    user_agent = models.CharField(_("user agent"), max_length=200, blank=True)
    # The refresh token that is good, and the one that was rotated last.
    current_jti = models.CharField(
        _("refresh token (jti)"), max_length=LONGEST_ID, editable=False
    )
    previous_jti = models.CharField(max_length=LONGEST_ID, blank=True, editable=False)
    rotated_at = models.DateTimeField(null=True, editable=False)
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)
    end_reason = models.CharField(_("why it ended"), max_length=32, blank=True)
    pushed_at = models.DateTimeField(_("told to Redis"), null=True, editable=False)

    class Meta:
        verbose_name = _("session")
        verbose_name_plural = _("sessions")
        ordering: ClassVar = ["-created", "sid"]
        indexes: ClassVar = [
            models.Index(
                fields=["user_key", "-created"], name="perfguard_session_user"
            ),
            models.Index(fields=["-created", "sid"], name="perfguard_session_created"),
            models.Index(fields=["expires_at"], name="perfguard_session_expires"),
            models.Index(
                fields=["sid"],
                name="perfguard_session_due",
                condition=models.Q(pushed_at=None, ended_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.sid


class RevokedToken(models.Model):
    jti = models.CharField(_("token id (jti)"), max_length=LONGEST_ID, primary_key=True)
    token_type = models.CharField(_("type"), max_length=16)
    user_key = models.CharField(_("user id"), max_length=LONGEST_USER_KEY)
    sid = models.CharField(_("session id"), max_length=LONGEST_ID, blank=True)
    expires_at = models.DateTimeField(
        _("expires"),
        null=True,
        blank=True,
        help_text=_("Empty: the token never expires."),
    )
    revoked_at = models.DateTimeField(_("revoked"))
    revoked_by = models.CharField(_("by"), max_length=LONGEST_USER_KEY, blank=True)
    reason = models.CharField(_("reason"), max_length=32, blank=True)
    pushed_at = models.DateTimeField(_("told to Redis"), null=True, editable=False)

    class Meta:
        verbose_name = _("revoked token")
        verbose_name_plural = _("revoked tokens")
        ordering: ClassVar = ["-revoked_at", "jti"]
        indexes: ClassVar = [
            models.Index(fields=["user_key"], name="perfguard_revoked_user"),
            models.Index(fields=["-revoked_at", "jti"], name="perfguard_revoked_at"),
            models.Index(fields=["expires_at"], name="perfguard_revoked_expires"),
            models.Index(
                fields=["jti"],
                name="perfguard_revoked_due",
                condition=models.Q(pushed_at=None),
            ),
        ]

    def __str__(self) -> str:
        return self.jti
