"""simplejwt's serializers on perfguard's tokens; its views work with them unchanged.

``SIMPLE_JWT`` names them: see ``perfguard.tokens.simplejwt``.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth import get_user_model
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import Error
from django.utils.translation import gettext_lazy as _
from rest_framework import serializers as rest
from rest_framework_simplejwt import serializers
from rest_framework_simplejwt import settings as simplejwt
from rest_framework_simplejwt.exceptions import TokenError

from perfguard.signals import user_signed_in
from perfguard.tokens.claims import SID
from perfguard.tokens.errors import (
    RevocationFailed,
    RevocationPending,
    RevocationUnavailable,
)
from perfguard.tokens.journal import Delivery
from perfguard.tokens.models import TokenSession
from perfguard.tokens.sessions import sessions, signing_in
from perfguard.tokens.tokens import RefreshToken, Revocable, UntypedToken, signed_token


class TokenObtainPairSerializer(serializers.TokenObtainPairSerializer):
    token_class = RefreshToken

    @classmethod
    def get_token(cls, user: Any) -> RefreshToken:
        token = cls.token_class.for_user(user)
        request = signing_in.get()
        user_signed_in.send_robust(
            cls, user=user, request=request, method="password", sid=token[SID]
        )
        return token

    def validate(self, attrs: dict[str, Any]) -> dict[str, str]:
        request = self.context.get("request")
        before = signing_in.set(getattr(request, "_request", request))
        try:
            return super().validate(attrs)
        finally:
            signing_in.reset(before)


class TokenRefreshSerializer(serializers.TokenRefreshSerializer):
    """Always rotates: without it a stolen refresh token would never be noticed."""

    refresh = rest.CharField()
    token_class = RefreshToken

    def validate(self, attrs: dict[str, Any]) -> dict[str, str]:
        refresh = self.token_class(attrs["refresh"])
        check_user(refresh)
        successor, access = refresh.rotated()
        return {"access": str(access), "refresh": str(successor)}


class TokenVerifySerializer(serializers.TokenVerifySerializer):
    """Bad is also a token whose user may not sign in, and a rotated refresh token."""

    def validate(self, attrs: dict[str, Any]) -> dict[Any, Any]:
        token = UntypedToken(attrs["token"])
        check_user(token)
        kind = token.get(simplejwt.api_settings.TOKEN_TYPE_CLAIM)
        if kind == RefreshToken.token_type and not _is_current(token):
            raise TokenError(_("Token is revoked"))
        return {}


class TokenBlacklistSerializer(serializers.TokenBlacklistSerializer):
    """Signs out: the refresh token, and all others of its session."""

    token_class = RefreshToken

    def validate(self, attrs: dict[str, Any]) -> dict[Any, Any]:
        token = signed_token(attrs["refresh"])
        # One that is no token, or no longer one, needs no revoking: RFC 7009, 2.2.
        if token is not None:
            revoke(token, reason="sign_out")
        return {}


def _optional(help_text: Any) -> rest.CharField:
    # Empty as well: a client that holds no refresh token still signs out.
    return rest.CharField(
        required=False, allow_blank=True, allow_null=True, help_text=help_text
    )


class SignOutSerializer(rest.Serializer[Any]):
    refresh = _optional(_("The refresh token."))
    token = _optional(_("Any token: RFC 7009."))
    token_type_hint = _optional(_("Not needed."))


class SessionSerializer(rest.ModelSerializer[TokenSession]):
    current = rest.SerializerMethodField(help_text=_("The one that asks."))

    class Meta:
        model = TokenSession
        fields: ClassVar = [
            "sid",
            "created",
            "last_used",
            "expires_at",
            "address",
            "user_agent",
            "current",
        ]
        read_only_fields = fields

    def get_current(self, session: TokenSession) -> bool:
        return bool(session.sid == self.context.get(SID))


def revoke(token: Revocable, reason: str, by: str = "") -> None:
    """Raises RevocationFailed or RevocationPending: success is nothing less than a
    journal and a Redis that both know."""
    try:
        check_delivered(token.blacklist(reason, by))
    except Error as error:
        raise RevocationFailed from error


def check_delivered(delivery: Delivery) -> None:
    if delivery.delivered is False:
        raise RevocationPending


def check_user(token: Revocable) -> None:
    """Raises TokenError unless the token's user is there and may sign in."""
    given = simplejwt.api_settings
    users = get_user_model()._default_manager
    try:
        user = users.get(**{given.USER_ID_FIELD: token.marks.user_key})
    except (ObjectDoesNotExist, ValueError, TypeError, OverflowError, ValidationError):
        user = None
    except Error as error:
        raise RevocationUnavailable from error
    if user is None or not given.USER_AUTHENTICATION_RULE(user):
        raise TokenError(_("No active account found for the given token."))


def _is_current(token: Revocable) -> bool:
    try:
        return (
            sessions()
            .filter(sid=token.get(SID, ""), current_jti=token["jti"], ended_at=None)
            .exists()
        )
    except Error as error:
        raise RevocationUnavailable from error
