"""Every way in for a token, on one URL configuration, and tokens to try them with."""

from __future__ import annotations

import base64
import hmac
import json
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlencode

import jwt
from django.conf import settings
from django.http import JsonResponse
from django.test import Client
from django.urls import path
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt import views as stock

from perfguard.exceptions import InvalidCredential, TruthUnavailable
from perfguard.tokens import views
from perfguard.tokens.authentication import verify_token
from perfguard.tokens.decorators import token_required
from perfguard.tokens.models import RevokedToken, TokenSession
from perfguard.tokens.tokens import RefreshToken
from project.demo.auths import RefreshView


class Drf(APIView):
    def get(self, request):
        return Response({"user": request.user.pk})


@token_required
def plain(request):
    return JsonResponse({"user": request.user.pk})


@token_required
async def aplain(request):
    return JsonResponse({"user": request.user.pk})


urlpatterns = [
    path("drf", Drf.as_view()),
    path("sync", plain),
    path("async", aplain),
    path("demo-refresh", RefreshView.as_view()),
    path("refresh", views.TokenRefreshView.as_view()),
    path("stock-refresh", stock.TokenRefreshView.as_view()),
    path("verify", views.TokenVerifyView.as_view()),
    path("stock-verify", stock.TokenVerifyView.as_view()),
    path("signout", views.SignOutView.as_view()),
    path("blacklist", views.TokenBlacklistView.as_view()),
    path("stock-blacklist", stock.TokenBlacklistView.as_view()),
    path("stock-obtain", stock.TokenObtainPairView.as_view()),
    path("obtain", views.TokenObtainPairView.as_view()),
]

BY_HEADER = ("drf", "sync", "async")
BY_REFRESH = ("demo-refresh", "refresh", "stock-refresh")
BY_TOKEN = ("verify", "stock-verify")
# They answer 200 to what is no token, since there is nothing to revoke.
SIGNING_OUT = ("signout", "blacklist", "stock-blacklist")

REFUSED = {
    **dict.fromkeys((*BY_HEADER, *BY_REFRESH, *BY_TOKEN, "verify_token"), 401),
    **dict.fromkeys((*SIGNING_OUT, "signout-header", "signout-form"), 200),
}


class Pair(NamedTuple):
    access: Any
    refresh: Any

    @classmethod
    def of(cls, text: str) -> Pair:
        return cls(text, text)


# -- asking ----------------------------------------------------------------------------


def present(pair: Pair) -> dict[str, int]:
    """The answer of every door to an access token, or to a refresh token where that is
    what it takes. An exception of a view is one of the test."""
    return {
        **{name: get(name, pair.access).status_code for name in BY_HEADER},
        **{name: post(name, refresh=pair.refresh) for name in BY_REFRESH},
        **{name: post(name, token=pair.access) for name in BY_TOKEN},
        "verify_token": called(pair.access),
        **{name: post(name, refresh=pair.refresh) for name in SIGNING_OUT},
        "signout-header": post("signout", authorization=f"Bearer {pair.access}"),
        "signout-form": form("signout", token=pair.access),
    }


def get(name: str, token: str) -> Any:
    return Client().get(f"/{name}", headers={"Authorization": f"Bearer {token}"})


def post(name: str, authorization: str = "", **body: Any) -> int:
    return send(name, body, authorization).status_code


def send(name: str, body: Any, authorization: str = "") -> Any:
    headers = {"Authorization": authorization} if authorization else {}
    return Client().post(
        f"/{name}", json.dumps(body), content_type="application/json", headers=headers
    )


def form(name: str, **body: str) -> int:
    kind = "application/x-www-form-urlencoded"
    return Client().post(f"/{name}", urlencode(body), content_type=kind).status_code


def called(token: Any) -> int:
    try:
        verify_token(token)
    except InvalidCredential:
        return 401
    except TruthUnavailable:
        return 503
    return 200


def written() -> int:
    """How many revocations the journal holds."""
    return (
        RevokedToken.objects.count()
        + TokenSession.objects.filter(ended_at__isnull=False).count()
    )


@contextmanager
def counted(server):
    """The commands that Redis was sent meanwhile, as it counts them itself."""
    client = server.client()
    client.ping()
    seen = []
    before = client.info("stats")["total_commands_processed"]
    yield seen
    after = client.info("stats")["total_commands_processed"]
    seen.extend(["command"] * (after - before - 1))  # the INFO before


# -- minting ---------------------------------------------------------------------------

DIGESTS = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}
HEADER = {"alg": "HS256", "typ": "JWT"}


def site_key() -> str:
    return settings.SIMPLE_JWT["SIGNING_KEY"]


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def segment(part: Any) -> str:
    """Bytes and text as they are, anything else as JSON."""
    if isinstance(part, str):
        part = part.encode()
    return base64url(part if isinstance(part, bytes) else json.dumps(part).encode())


def signature(signed: str, key: str | bytes, algorithm: str = "HS256") -> str:
    key = key.encode() if isinstance(key, str) else key
    return base64url(hmac.digest(key, signed.encode(), DIGESTS[algorithm]))


def sign(
    claims: Any, header: Any = None, key: str | bytes = "", algorithm: str = "HS256"
) -> str:
    signed = f"{segment(HEADER if header is None else header)}.{segment(claims)}"
    return f"{signed}.{signature(signed, key or site_key(), algorithm)}"


def claims_of(token: Any) -> dict[str, Any]:
    return jwt.decode(str(token), options={"verify_signature": False})


class Mint:
    """Tokens of a user's one session, changed before they are signed."""

    def __init__(self, user: Any) -> None:
        refresh = RefreshToken.for_user(user)
        self.refresh = claims_of(refresh)
        self.access = claims_of(refresh.access_token)

    def __call__(self, header: Any = None, key: str = "", **changes: Any) -> Pair:
        """``...`` leaves a claim out."""
        return Pair(
            sign(changed(self.access, changes), header, key),
            sign(changed(self.refresh, changes), header, key),
        )

    def of(self, write: Any) -> Pair:
        """The pair that a function makes of each token's claims."""
        return Pair(write(self.access), write(self.refresh))


def changed(claims: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = claims | changes
    return {name: value for name, value in merged.items() if value is not ...}
