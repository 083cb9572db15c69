"""Signing in and out, sessions and passwords: ``/api/v1/auths/...``."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth import authenticate
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError as InvalidPassword
from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import AuthenticationFailed, ValidationError
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework_simplejwt.exceptions import InvalidToken, TokenError

from perfguard.exceptions import InvalidCredential
from perfguard.signals import credential_refused, user_signed_in
from perfguard.throttling.throttles import ScopedRateThrottle, SignInThrottle
from perfguard.tokens import views
from perfguard.tokens.authentication import JWTAuthentication
from perfguard.tokens.serializers import check_user
from perfguard.tokens.tokens import AccessToken, RefreshToken
from perfguard.trusted_header.users import user_from_header
from project.demo.models import User
from project.demo.serializers import (
    PairSerializer,
    PasswordSerializer,
    RefreshSerializer,
    SignedInSerializer,
    SignInSerializer,
)

WRONG = "E-mail address or password is wrong."


class SignInView(views.NoStore):
    """E-mail and password, or the header of a trusted proxy, for a pair of tokens."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = (SignInThrottle,)

    @extend_schema(request=SignInSerializer, responses=SignedInSerializer)
    def post(self, request: Request) -> Response:
        user = user_of_header(request)
        if user is not None:
            return Response(sign_in(user, request, "trusted_header"))
        if not settings.PASSWORD_SIGN_IN:
            raise ValidationError("Your provider has not provided a trusted header.")
        user = user_of_password(request)
        SignInThrottle().signed_in(request)
        return Response(sign_in(user, request, "password"))

    def get_authenticate_header(self, request: Request) -> str:
        # Without it DRF would answer 403 for wrong credentials.
        return 'Bearer realm="api"'


def user_of_header(request: Request) -> Any:
    try:
        return user_from_header(request._request)
    except InvalidCredential as error:
        raise AuthenticationFailed(str(error), error.code) from error


def user_of_password(request: Request) -> User:
    form = SignInSerializer(data=request.data)
    form.is_valid(raise_exception=True)
    user = authenticate(
        request,
        username=form.validated_data["email"],
        password=form.validated_data["password"],
    )
    if not isinstance(user, User):
        credential_refused.send_robust(
            SignInView,
            request=request._request,
            kind="password",
            code="invalid",
            user_key="",
        )
        raise AuthenticationFailed(WRONG)
    return user


@views.own_transaction
class RefreshView(views.NoStore):
    """The next pair of a session; its last refresh token is used up."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = (ScopedRateThrottle,)
    throttle_scope = "refresh"

    @extend_schema(request=RefreshSerializer, responses=PairSerializer)
    def post(self, request: Request) -> Response:
        form = RefreshSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        try:
            refresh = RefreshToken(form.validated_data["refresh"])
            check_user(refresh)
            successor, access = refresh.rotated()
        except TokenError as error:
            raise InvalidToken(error.args[0]) from error
        return Response(PairSerializer(pair(successor, access)).data)

    def get_authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="api", error="invalid_token"'


class PasswordView(views.NoStore):
    """A new password: signs out everywhere, and in again here."""

    authentication_classes = (JWTAuthentication,)
    throttle_classes = (ScopedRateThrottle,)
    throttle_scope = "password"

    @extend_schema(request=PasswordSerializer, responses=SignedInSerializer)
    def post(self, request: Request) -> Response:
        form = PasswordSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        user: Any = request.user
        if not user.check_password(form.validated_data["password"]):
            raise ValidationError({"password": ["It is wrong."]})
        new = form.validated_data["new_password"]
        try:
            validate_password(new, user)
        except InvalidPassword as error:
            raise ValidationError({"new_password": error.messages}) from error
        with transaction.atomic():
            user.set_password(new)
            user.save(update_fields=["password"])
        return Response(sign_in(user, request, "password"))


def sign_in(user: User, request: Request, method: str) -> dict[str, Any]:
    try:
        refresh = RefreshToken.for_user(user, request._request)
    except TokenError as error:
        raise AuthenticationFailed(str(error)) from error
    user_signed_in.send_robust(
        User, user=user, request=request._request, method=method, sid=refresh["sid"]
    )
    body = pair(refresh, refresh.access_token) | {"user": user}
    return dict(SignedInSerializer(body).data)


def pair(refresh: RefreshToken, access: AccessToken) -> dict[str, Any]:
    return {
        "token": str(access),
        "token_type": "Bearer",
        "expires_at": access.get("exp"),
        "refresh": str(refresh),
    }
