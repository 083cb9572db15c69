"""Views of servers that are killed, see tests/faults/audit_settings.py."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from perfguard.audit import log


@csrf_exempt
def write(request: HttpRequest) -> HttpResponse:
    return HttpResponse("written", status=201)


def state(request: HttpRequest) -> HttpResponse:
    """Of the process that answers."""
    return JsonResponse(
        {
            "pid": os.getpid(),
            "state": log.state(),
            "threads": [thread.name for thread in threading.enumerate()],
            "handlers": [_module(number) for number in signal.valid_signals()],
        }
    )


def _module(number: int) -> str:
    return getattr(signal.getsignal(number), "__module__", "") or ""


@csrf_exempt
def stream(request: HttpRequest) -> StreamingHttpResponse:
    is_asgi = hasattr(request, "scope")
    count = int(request.GET["chunks"])
    return StreamingHttpResponse(_achunks(count) if is_asgi else _chunks(count))


def _chunks(count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield b"x" * 1000
        time.sleep(0.01)


async def _achunks(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * 1000
        await asyncio.sleep(0.01)


urlpatterns: list[Any] = [path(each.__name__, each) for each in (write, state, stream)]
