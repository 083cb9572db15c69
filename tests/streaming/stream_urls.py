"""Views whose sources do what a test tells them by files, also in other processes."""

from __future__ import annotations

import asyncio
import time

from django.conf import settings
from django.http import HttpResponse
from django.urls import include, path
from rest_framework.exceptions import PermissionDenied
from rest_framework.views import APIView

from perfguard.streaming.events import Event
from perfguard.streaming.pauses import apause, pause
from perfguard.streaming.renderers import EventStreamRenderer
from perfguard.streaming.responses import aevent_stream, event_stream
from project.demo.models import User


def note(run, line):
    with (settings.MEETING / f"{run}.log").open("a") as log:
        log.write(f"{line}\n")


def is_told(run, number):
    return (settings.MEETING / f"{run}.{number}").exists()


def gated(run, events):
    """Makes an event when the test says that it has the one before."""
    try:
        for number in range(events):
            while number and not is_told(run, number):
                pause(0.01)
            note(run, f"made {number}")
            yield {"number": number}
    finally:
        note(run, "closed")


async def agated(run, events):
    try:
        for number in range(events):
            while number and not is_told(run, number):
                await asyncio.sleep(0.01)
            note(run, f"made {number}")
            yield {"number": number}
    finally:
        await asyncio.sleep(0.05)  # as closing a connection would be
        note(run, "closed")


def endless(run, events):
    try:
        number = 0
        while True:
            number += 1
            yield {"number": number}
    finally:
        note(run, "closed")


async def aendless(run, events):
    try:
        number = 0
        while True:
            number += 1
            await asyncio.sleep(0)
            yield {"number": number}
    finally:
        note(run, "closed")


def broken(run, events):
    yield from ({"number": number} for number in range(events))
    raise RuntimeError("a secret of the inside")


async def abroken(run, events):
    for number in range(events):
        yield {"number": number}
    raise RuntimeError("a secret of the inside")


def querying(run, events):
    number = 0
    while True:
        number += 1
        yield {"number": number, "users": User.objects.count()}
        pause(60)


async def aquerying(run, events):
    number = 0
    while True:
        number += 1
        yield {"number": number, "users": await User.objects.acount()}
        await apause(60)


SOURCES = {
    "gated": (gated, agated),
    "endless": (endless, aendless),
    "broken": (broken, abroken),
    "querying": (querying, aquerying),
}


def source_of(request):
    sync, asynchronous = SOURCES[request.GET["source"]]
    make = asynchronous if request.GET.get("kind") == "async" else sync
    return make(request.GET.get("run", "none"), int(request.GET.get("events", 3)))


def sync_view(request):
    return event_stream(
        source_of(request), request=request, deltas=request.GET.get("deltas")
    )


async def async_view(request):
    return await aevent_stream(
        source_of(request), request=request, deltas=request.GET.get("deltas")
    )


class GuardedView(APIView):
    renderer_classes = (EventStreamRenderer,)
    throttle_classes = ()

    def get(self, request):
        User.objects.count()  # as any view has asked the database
        return event_stream(source_of(request), request=request)


class ForbiddenView(APIView):
    renderer_classes = (EventStreamRenderer,)
    authentication_classes = permission_classes = throttle_classes = ()

    def get(self, request):
        return event_stream(refusing(), request=request)


def by_session(request):
    if not request.user.is_authenticated:
        return HttpResponse(status=403)
    return event_stream(source_of(request), request=request)


def refusing():
    raise PermissionDenied("Not for you.")
    yield Event()


def slow(request):
    run = request.GET["run"]
    note(run, "began")
    while not is_told(run, "go"):
        time.sleep(0.01)
    return HttpResponse("done")


urlpatterns = [
    path("sync", sync_view),
    path("async", async_view),
    path("guarded", GuardedView.as_view()),
    path("forbidden", ForbiddenView.as_view()),
    path("by-session", by_session),
    path("slow", slow),
    path("", include("project.urls")),
]
