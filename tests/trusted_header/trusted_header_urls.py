"""A plain view, an async one, and one of DRF, that tell whom they see."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.decorators import login_required
from django.http import JsonResponse
from django.urls import path
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from perfguard.trusted_header.authentication import TrustedHeaderAuthentication


def seen(user):
    return {"email": getattr(user, "email", None)}


def plain(request):
    return JsonResponse(seen(request.user))


@login_required
async def waiting(request):
    return JsonResponse(seen(await request.auser()))


class Api(APIView):
    authentication_classes = (TrustedHeaderAuthentication,)
    permission_classes = (IsAuthenticated,)
    throttle_classes = ()

    def get(self, request):
        return Response(seen(request.user))

    post = get


class OpenApi(Api):
    permission_classes = (AllowAny,)


urlpatterns = [
    path("plain", plain),
    path("waiting", waiting),
    path("api", Api.as_view()),
    path("open", OpenApi.as_view()),
    path("admin/", admin.site.urls),
]
