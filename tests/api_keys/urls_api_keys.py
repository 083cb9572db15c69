"""Views of every kind that an API key can meet."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest, JsonResponse
from django.urls import include, path, re_path
from django.views.decorators.http import require_safe
from rest_framework.decorators import (
    api_view,
    authentication_classes,
    permission_classes,
    throttle_classes,
)
from rest_framework.permissions import AllowAny
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

import perfguard.api_keys.admin  # noqa: F401 (registers itself)
from perfguard.api_keys.authentication import ApiKeyAuthentication
from perfguard.api_keys.decorators import api_key_required, no_api_keys
from perfguard.api_keys.permissions import HasApiKey, NoApiKey
from perfguard.api_keys.views import ApiKeysView, ApiKeyView, RotateApiKeyView
from perfguard.tokens.authentication import JWTAuthentication

EITHER = (ApiKeyAuthentication, JWTAuthentication)
OWN: Any = {"authentication_classes": EITHER, "throttle_classes": ()}


class Base(APIView):
    authentication_classes = EITHER
    throttle_classes = ()


class WhoView(Base):
    def get(self, request: Any) -> Response:
        key = request.auth
        return Response(
            {
                "user": request.user.pk,
                "key": getattr(key, "key_id", None),
                "rate": getattr(key, "rate", None),
            }
        )


class EchoView(Base):
    """Which view it was, and what it took for its parameters."""

    name = ""

    def get(self, request: Any, **parameters: Any) -> Response:
        return Response({"view": self.name} | parameters)

    post = put = delete = get


class OwnHeadView(EchoView):
    def head(self, request: Any) -> Response:
        return Response(headers={"X-Own-Head": "yes"})


class JwtFirstView(WhoView):
    authentication_classes = (JWTAuthentication, ApiKeyAuthentication)


class PublicView(Base):
    permission_classes = (AllowAny,)

    def get(self, request: Any) -> Response:
        return Response({"signed_in": request.user.is_authenticated})


class OpenView(APIView):
    """No door at all."""

    authentication_classes: ClassVar = ()
    permission_classes = (AllowAny,)
    throttle_classes = ()

    def get(self, request: Any) -> Response:
        return Response({})


class KeysOnlyView(WhoView):
    permission_classes = (HasApiKey,)


class PeopleOnlyView(WhoView):
    permission_classes = (NoApiKey,)


class ClosedView(WhoView):
    api_keys_allowed = False


class Notes(ViewSet):
    authentication_classes = EITHER
    throttle_classes = ()

    def list(self, request: Any) -> Response:
        return Response({"view": "notes:list"})

    create = list


@api_view(["GET"])
@authentication_classes([ApiKeyAuthentication])
@permission_classes([HasApiKey])
@throttle_classes([])
def function_of_drf(request: Any) -> Response:
    return Response({"view": "function"})


@require_safe
@api_key_required
def plain(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"user": request.user.pk, "key": request.auth.key_id})


@api_key_required
async def aplain(request: HttpRequest) -> JsonResponse:
    user = await request.auser()
    return JsonResponse({"user": user.pk, "key": request.auth.key_id})


@api_key_required
def takes_posts(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"method": request.method})


def unguarded(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"view": "unguarded"})


closed_class = no_api_keys(type("DecoratedView", (WhoView,), {}))


def echo(name: str, kind: type[EchoView] = EchoView) -> Any:
    return kind.as_view(name=name)


notes = (
    [
        path("notes", Notes.as_view({"get": "list", "post": "create"}), name="list"),
        path("notes/<int:pk>", echo("notes:detail"), name="detail"),
    ],
    "notes",
)

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/v1/keys", ApiKeysView.as_view(**OWN)),
    path("api/v1/keys/<str:key_id>", ApiKeyView.as_view(**OWN)),
    path(
        "api/v1/keys/<str:key_id>/rotate",
        RotateApiKeyView.as_view(**OWN),
    ),
    path("api/v1/who", WhoView.as_view(), name="who"),
    path("api/v1/jwt-first", JwtFirstView.as_view()),
    path("api/v1/public", PublicView.as_view(), name="public"),
    path("api/v1/open", OpenView.as_view(), name="open"),
    path("api/v1/keys-only", KeysOnlyView.as_view()),
    path("api/v1/people-only", PeopleOnlyView.as_view()),
    path("api/v1/closed", ClosedView.as_view(), name="closed"),
    path("api/v1/opened", ClosedView.as_view(api_keys_allowed=True)),
    path("api/v1/closed-by-decorator", closed_class.as_view()),
    path("api/v1/closed-function", no_api_keys(api_key_required(unguarded))),
    path("api/v1/function", function_of_drf, name="function"),
    path("api/v1/chats", echo("chats"), name="chats"),
    path("api/v1/chats/", echo("chats"), name="chats-slash"),
    path("api/v1/chats/<int:pk>", echo("chat"), name="chat"),
    path("api/v1/chats/<int:pk>/messages", echo("messages"), name="messages"),
    path("api/v1/chatsX", echo("chatsX"), name="chatsX"),
    path("api/v1/own-head", echo("own-head", OwnHeadView), name="own-head"),
    path("api/v1/", include(notes, namespace="notes")),
    path("api/models/<path:rest>", echo("models"), name="models"),
    path("api/models", echo("models"), name="models-list"),
    path("api/admin/", echo("secret"), name="secret"),
    re_path(r"^api/odd/(?P<number>\d+)$", echo("odd"), name="odd"),
    re_path(r"^any/[cC]ase$", echo("any-case"), name="any-case"),
    re_path(r"^api/wild/(?P<rest>[^/]+)$", echo("wild"), name="wild"),
    path("plain/sync", plain, name="plain"),
    path("plain/async", aplain, name="aplain"),
    path("plain/posts", takes_posts, name="posts"),
    path("plain/unguarded", unguarded, name="unguarded"),
]
