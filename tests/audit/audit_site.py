"""A small site, whose requests are put into the audit log."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from django.contrib.auth import login, logout
from django.core.exceptions import BadRequest
from django.db import transaction
from django.http import (
    FileResponse,
    HttpRequest,
    HttpResponse,
    JsonResponse,
    StreamingHttpResponse,
)
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from rest_framework.response import Response
from rest_framework.views import APIView

from project.demo.models import Note, User


def echo(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.body, content_type=request.content_type)


def form(request: HttpRequest) -> HttpResponse:
    files = {name: file.size for name, file in request.FILES.items()}
    return JsonResponse({**request.POST.dict(), **files})


def unread(request: HttpRequest, number: int = 0) -> HttpResponse:
    return HttpResponse("done")


def invite(request: HttpRequest, token: str, number: int) -> HttpResponse:
    return HttpResponse(token)


def by_parts(request: HttpRequest) -> HttpResponse:
    size = 0
    while chunk := request.read(10_000):
        size += len(chunk)
    return JsonResponse({"size": size})


def who(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(request.user))


def secret(request: HttpRequest) -> HttpResponse:
    response = JsonResponse({"token": "tok-12345678", "name": "ada"})
    response.set_cookie("sid", "cookie-12345678")
    return response


def fails(request: HttpRequest) -> HttpResponse:
    password = json.loads(request.body)["password"]
    raise RuntimeError(f"no such password: {password}")


@transaction.atomic
def rolls_back(request: HttpRequest) -> HttpResponse:
    User.objects.create_user("rolled@back.example", "x")
    raise RuntimeError


def bad(request: HttpRequest) -> HttpResponse:
    raise BadRequest


def sign_in(request: HttpRequest) -> HttpResponse:
    login(request, User.objects.get(email="ada@example.com"))
    return HttpResponse("in")


def sign_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return HttpResponse("out")


def stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(chunks(int(request.GET.get("n", 3))))


def chunks(count: int) -> Any:
    for _ in range(count):
        yield b"one two three four. " * 50
        if count == 13:
            raise RuntimeError


async def astream(request: HttpRequest) -> StreamingHttpResponse:
    async def parts() -> Any:
        for _ in range(int(request.GET.get("n", 3))):
            yield b"one two three four. " * 50
            await asyncio.sleep(0)

    return StreamingHttpResponse(parts())


async def asleep(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(60)
    return HttpResponse("late")


def file(request: HttpRequest) -> FileResponse:
    return FileResponse(open(__file__, "rb"))


class Notes(APIView):
    def post(self, request: Any) -> Response:
        note = Note.objects.create(owner=request.user, text=request.data["text"])
        return Response({"id": note.pk}, status=201)


urlpatterns = [
    path(f"{view.__name__.strip('_')}", csrf_exempt(view))
    for view in (echo, form, unread, by_parts, who, secret, fails, rolls_back, bad)
] + [
    path(view.__name__, csrf_exempt(view))
    for view in (sign_in, sign_out, stream, astream, asleep, file)
]
urlpatterns += [
    path("guarded", who),
    path("invite/<token>/<int:number>/", csrf_exempt(invite)),
    path("api/v1/notes", Notes.as_view()),
    path("api/v1/chat", csrf_exempt(unread)),
    path("api/v1/chat/<int:number>", csrf_exempt(unread)),
    path("api/v1/chat-x", csrf_exempt(unread)),
]
