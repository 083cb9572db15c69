from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from perfguard.tokens.journal import database
from perfguard.tokens.models import RevokedToken, TokenGeneration

if TYPE_CHECKING:
    Base = forms.ModelForm[RevokedToken]
else:
    Base = forms.ModelForm


class RevokedTokenForm(Base):
    """A token to revoke, by its claims. What would revoke nothing is refused."""

    class Meta:
        model = RevokedToken
        fields: ClassVar = ["jti", "user_key", "expires_at"]

    def clean_user_key(self) -> str:
        user_key: str = self.cleaned_data["user_key"]
        # Redis keeps it beside what else the user has revoked, and nowhere else.
        if not TokenGeneration.objects.using(database()).filter(pk=user_key).exists():
            raise ValidationError(_("No token was ever issued to a user of this id."))
        return user_key

    def clean_expires_at(self) -> datetime | None:
        expires_at: datetime | None = self.cleaned_data["expires_at"]
        if expires_at is not None and expires_at <= timezone.now():
            raise ValidationError(_("A token that has expired needs no revoking."))
        return expires_at
