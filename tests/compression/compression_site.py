"""A site for real servers, whose streams go on when a file tells them to."""

from __future__ import annotations

from django.conf import settings

settings.configure(
    SECRET_KEY="of-the-tests-" * 5,
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "perfguard"],
    MIDDLEWARE=[
        "perfguard.compression.middleware.CompressionMiddleware",
        "django.middleware.common.CommonMiddleware",
    ],
    ROOT_URLCONF=__name__,
)

import django  # noqa: E402

django.setup()

import asyncio  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402

from django.core.asgi import get_asgi_application  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import (  # noqa: E402
    FileResponse,
    HttpResponse,
    StreamingHttpResponse,
)
from django.urls import path  # noqa: E402

LIMIT = 3000  # looks at a file, 10 ms apart
EVENTS = 5


def event(number):
    return f"data: event {number}\n\n".encode()


class Source:
    """Events; before each but the first it waits for the file of the one before."""

    def __init__(self, place):
        self.place = Path(place)
        self.number = 0

    def told_to_go_on(self):
        if (self.place / "raise").exists():
            raise RuntimeError("the source failed")
        return self.number == 0 or (self.place / str(self.number - 1)).exists()

    def take(self):
        self.number += 1
        return event(self.number - 1)

    def closed(self):
        with (self.place / "closed").open("a") as log:
            log.write("closed\n")


class SyncSource(Source):
    def __iter__(self):
        return self

    def __next__(self):
        for _ in range(LIMIT):
            if self.number == EVENTS:
                raise StopIteration
            if self.told_to_go_on():
                return self.take()
            time.sleep(0.01)
        raise TimeoutError

    def close(self):
        self.closed()


class AsyncSource(Source):
    def __aiter__(self):
        return self

    async def __anext__(self):
        for _ in range(LIMIT):
            if self.number == EVENTS:
                raise StopAsyncIteration
            if self.told_to_go_on():
                return self.take()
            await asyncio.sleep(0.01)
        raise TimeoutError

    async def aclose(self):
        self.closed()


def events(request):
    source = SyncSource(request.GET["place"])
    return StreamingHttpResponse(source, content_type="text/event-stream")


async def aevents(request):
    source = AsyncSource(request.GET["place"])
    return StreamingHttpResponse(source, content_type="text/event-stream")


def page(request):
    return HttpResponse("a page " * 1000, content_type="text/plain")


def file(request):
    return FileResponse(Path(request.GET["place"]).open("rb"), filename="it.csv")


urlpatterns = [
    path("sync", events),
    path("async", aevents),
    path("page", page),
    path("file", file),
]
wsgi = get_wsgi_application()
asgi = get_asgi_application()
