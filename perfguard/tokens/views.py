"""Signing out, and the sessions of a user. simplejwt's views do the rest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import Error, transaction
from django.utils.decorators import method_decorator
from rest_framework import generics
from rest_framework.exceptions import APIException, NotFound, ValidationError
from rest_framework.parsers import FormParser
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt import views

from perfguard.exceptions import InvalidCredential
from perfguard.http.actor import Actor, actor_for, name_actor
from perfguard.tokens.authentication import JWTAuthentication, presented_token
from perfguard.tokens.claims import ID, SID, user_key_of
from perfguard.tokens.errors import RevocationFailed
from perfguard.tokens.journal import end_session, revoke_user
from perfguard.tokens.models import TokenSession
from perfguard.tokens.serializers import (
    SessionSerializer,
    SignOutSerializer,
    check_delivered,
    revoke,
)
from perfguard.tokens.sessions import endable_sessions, live_sessions
from perfguard.tokens.tokens import UntypedToken, signed_token

# With ATOMIC_REQUESTS the commit would come after the answer that reports it.
own_transaction = method_decorator(transaction.non_atomic_requests, name="dispatch")


class NoStore(APIView):
    """Answers that hold tokens, or tell of them, are kept by nobody."""

    def finalize_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().finalize_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-store"  # RFC 6749, section 5.1
        return response


class TokenObtainPairView(NoStore, views.TokenObtainPairView):
    pass


@own_transaction
class TokenRefreshView(NoStore, views.TokenRefreshView):
    pass


class TokenVerifyView(NoStore, views.TokenVerifyView):
    pass


@own_transaction
class TokenBlacklistView(NoStore, views.TokenBlacklistView):
    pass


@own_transaction
class SignOutView(NoStore):
    """Ends the sessions of the tokens that the request presents: in the Authorization
    header, as ``refresh``, or as ``token`` (RFC 7009), which may have expired.

    200 when both journal and Redis know, or when there is nothing to revoke; 503, with
    ``Retry-After``, when they do not; 400 for a token of somebody else.
    """

    authentication_classes = ()
    permission_classes = (AllowAny,)
    # RFC 7009 posts a form.
    parser_classes = (*APIView.parser_classes, FormParser)
    serializer_class = SignOutSerializer

    def post(self, request: Request) -> Response:
        bearer = signed_token(_presented(request))
        if bearer is not None:
            marks = bearer.marks
            name = Actor("token", marks.user_key, marker=marks.sid or marks.jti)
            name_actor(request, name)
        form = SignOutSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        texts = [form.validated_data.get(name) for name in ("refresh", "token")]
        others = [token for token in map(signed_token, texts) if token is not None]
        mine = [token for token in others if bearer is None or _same(token, bearer)]
        for token in ([bearer] if bearer else []) + mine:
            revoke(token, "sign_out", token.marks.user_key)
        if bearer is not None:
            _name_user(request, bearer)
        if len(mine) < len(others):
            raise ValidationError({"refresh": ["This token is not yours."]})
        return Response({"detail": "Signed out.", "code": "signed_out"})


@own_transaction
class SignOutEverywhereView(NoStore):
    """Revokes every token that the user has, this one included."""

    authentication_classes = (JWTAuthentication,)
    permission_classes = (IsAuthenticated,)

    def post(self, request: Request) -> Response:
        user_key = user_key_of(request.user)
        try:
            delivery = revoke_user(user_key, reason="sign_out_all", by=user_key)
        except Error as error:
            raise RevocationFailed from error
        check_delivered(delivery)
        return Response({"detail": "Signed out everywhere.", "code": "signed_out"})


@own_transaction
class SessionsView(NoStore, generics.ListAPIView[TokenSession]):
    """Where the user is signed in; DELETE ends all sessions but the one that asks."""

    authentication_classes = (JWTAuthentication,)
    permission_classes = (IsAuthenticated,)
    serializer_class = SessionSerializer
    queryset = TokenSession.objects.none()

    def get_queryset(self) -> Any:
        return live_sessions(user_key_of(self.request.user))

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), SID: _sid(self.request)}

    def delete(self, request: Request) -> Response:
        user_key = user_key_of(request.user)
        others = endable_sessions(user_key).exclude(sid=_sid(request))
        _end(others.values_list("sid", flat=True), user_key)
        return Response(status=204)


@own_transaction
class SessionView(NoStore):
    """DELETE ends one of the user's own sessions."""

    authentication_classes = (JWTAuthentication,)
    permission_classes = (IsAuthenticated,)

    def delete(self, request: Request, sid: str) -> Response:
        user_key = user_key_of(request.user)
        # No other text is the id of a session, and PostgreSQL takes no NUL at all.
        if (
            not ID.fullmatch(sid)
            or not endable_sessions(user_key).filter(sid=sid).exists()
        ):
            raise NotFound
        _end([sid], user_key)
        return Response(status=204)


def _name_user(request: Request, token: UntypedToken) -> None:
    """After the revocation, which must wait for nothing else."""
    try:
        user = JWTAuthentication().get_user(token)
    except (APIException, Error):
        return  # the id is told already
    name_actor(request, actor_for("token", user, token.marks.sid or token.marks.jti))


def _end(sids: Iterable[str], by: str) -> None:
    try:
        ended = [end_session(sid, reason="sign_out", by=by) for sid in sids]
    except Error as error:
        raise RevocationFailed from error
    for delivery in ended:
        if delivery is not None:
            check_delivered(delivery)


def _sid(request: Request) -> str:
    return str(getattr(request.auth, "payload", {}).get(SID, ""))


def _presented(request: Request) -> str:
    try:
        return presented_token(request) or ""
    except InvalidCredential:
        return ""  # nothing that could be revoked


def _same(token: UntypedToken, other: UntypedToken) -> bool:
    return token.marks.user_key == other.marks.user_key
