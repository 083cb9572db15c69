"""Under ASGI no middleware takes a thread, unless it has to wait."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from asgiref.sync import SyncToAsync
from django.contrib import messages
from django.contrib.messages import get_messages
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpResponse
from django.test import AsyncClient, AsyncRequestFactory
from django.test.client import AsyncClientHandler
from django.urls import path

from perfguard.http.on_the_loop import HOOKS, LoopHandler, OnTheLoop
from project import settings as project

# Of Django's handler, whatever the middleware: signals, and closing what was opened.
DJANGO = {"HttpResponseBase.close", "Signal.asend.<locals>.sync_send"}


async def plain(request):
    return HttpResponse("plain")


async def remembers(request):
    await request.session.aset("seen", True)
    messages.info(request, "Hello.")
    return HttpResponse("remembers")


async def recalls(request):
    seen = await request.session.aget("seen")
    return HttpResponse(f"{seen} {[str(each) for each in get_messages(request)]}")


async def drops(request):
    del request.session
    return HttpResponse("dropped")


urlpatterns = [
    path("plain", plain),
    path("remembers", remembers),
    path("recalls", recalls),
    path("drops", drops),
]


class ClientHandler(OnTheLoop, AsyncClientHandler):
    """Django's client of tests, on the handler under test."""


@pytest.fixture
def client(settings):
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = project.MIDDLEWARE
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    }
    client = AsyncClient()
    client.handler = ClientHandler(enforce_csrf_checks=True)
    return client


@pytest.fixture
def hops(monkeypatch):
    """Functions that were run in a thread."""
    counted = Counter()
    run = SyncToAsync.__call__

    async def counting(self, *args, **kwargs):
        counted[getattr(self.func, "__qualname__", "")] += 1
        return await run(self, *args, **kwargs)

    monkeypatch.setattr(SyncToAsync, "__call__", counting)
    return counted


def test_the_whole_stack_of_the_project_takes_no_thread(client, hops):
    async def ask():
        await client.get("/plain")  # what is made once
        hops.clear()
        return await client.get("/plain")

    response = asyncio.run(ask())
    assert response.content == b"plain"
    assert response.headers["X-Frame-Options"] == "DENY"
    assert set(hops) <= DJANGO


def test_each_hook_of_django_takes_one_otherwise(client, hops):
    client.handler = AsyncClientHandler(enforce_csrf_checks=True)
    asyncio.run(client.get("/plain"))
    names = {hook.__qualname__ for hook in HOOKS}
    assert len(names) == 13
    assert names <= set(hops)


@pytest.mark.django_db(transaction=True)
def test_what_waits_is_done_in_a_thread_and_done(client, hops):
    async def ask():
        await client.get("/remembers")
        first = set(hops)
        hops.clear()
        return first, await client.get("/recalls")

    first, response = asyncio.run(ask())
    waiting = {
        "SessionMiddleware.process_response",
        "MessageMiddleware.process_response",
    }
    assert waiting <= first
    assert response.content == b"True ['Hello.']"
    assert "MessageMiddleware.process_response" in hops


def test_a_form_without_its_csrf_token_is_refused(client, hops):
    response = asyncio.run(client.post("/plain", {"a": "b"}))
    assert response.status_code == 403
    assert "CsrfViewMiddleware.process_view" in hops


class Own(SessionMiddleware):
    def process_request(self, request):
        super().process_request(request)
        request.session["own"] = True


class Elsewhere(SessionMiddleware):
    """No session for that path, and an async mode of its own."""

    def process_request(self, request):
        if request.path != "/plain":
            super().process_request(request)

    async def __acall__(self, request):
        response = await super().__acall__(request)
        response.headers["X-Own"] = "1"
        return response


@pytest.mark.django_db(transaction=True)
def test_what_inherits_from_djangos_takes_its_threads(client, settings, hops):
    settings.MIDDLEWARE = [f"{__name__}.Own"]
    asyncio.run(client.get("/plain"))
    assert {"Own.process_request", "SessionMiddleware.process_response"} <= set(hops)


def test_an_async_mode_of_the_projects_own_is_left_alone(client, settings):
    settings.MIDDLEWARE = [f"{__name__}.Elsewhere"]
    response = asyncio.run(client.get("/plain"))
    assert (response.status_code, response.headers["X-Own"]) == (200, "1")


def test_a_view_may_drop_its_session(client):
    assert asyncio.run(client.get("/drops")).status_code == 200


def test_the_handler_serves_as_an_asgi_application(settings):
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = project.MIDDLEWARE
    sent = []

    received = iter([{"type": "http.request", "body": b""}])

    async def receive():
        for message in received:
            return message
        await asyncio.Event().wait()  # the client stays

    async def send(message):
        sent.append(message)

    async def ask():
        scope = AsyncRequestFactory()._base_scope(path="/plain", method="GET")
        await LoopHandler()({**scope, "type": "http"}, receive, send)

    asyncio.run(ask())
    assert sent[0]["status"] == 200
