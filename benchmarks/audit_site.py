"""One view, under one subject's middleware: for gunicorn, or asked by lines of stdin.

A line is the name of a job and a number of requests; its answer is a line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.audit_settings"

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()

from django.apps import apps
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db.backends.signals import connection_created
from django.http import HttpRequest
from django.urls import path
from rest_framework.authentication import BaseAuthentication
from rest_framework.parsers import JSONParser
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from benchmarks.audit import BODY
from benchmarks.audit_settings import SUBJECT
from perfguard.audit import log

ADA = User(pk=1, username="ada")
TABLES = {
    "django-easy-audit": ("easyaudit", "RequestEvent"),
    "drf-api-logger": ("drf_api_logger", "APILogsModel"),
    "bare": None,
    "NONE": None,
}
OURS = ("perfguard", "AuditEntry")
FLUSH = 60  # seconds


class Known(BaseAuthentication):
    """As cheap as it can be: no query, no cryptography."""

    def authenticate(self, request: HttpRequest) -> tuple[User, None]:
        return ADA, None


class Reports(APIView):
    authentication_classes = (Known,)
    permission_classes = (IsAuthenticated,)
    parser_classes = (JSONParser,)
    renderer_classes = (JSONRenderer,)

    def post(self, request: Request) -> Response:
        return Response({"id": 7, "state": "stored", **request.data}, status=201)


urlpatterns = [path("api/reports", Reports.as_view())]


def rows() -> int | None:
    """What is on record; None for a subject that records nothing."""
    table = TABLES.get(SUBJECT, OURS)
    return apps.get_model(*table).objects.count() if table else None


def request() -> None:
    environ = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/api/reports",
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "127.0.0.1",
        "HTTP_USER_AGENT": "bench/1.0",
        "HTTP_AUTHORIZATION": "Bearer none",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(BODY)),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(BODY),
        "wsgi.multithread": True,
    }
    statuses: list[str] = []
    response = application(environ, lambda status, *rest: statuses.append(status))
    b"".join(response)
    response.close()
    if not statuses[0].startswith("201"):
        raise RuntimeError(f"It was answered {statuses[0]}.")


def flush() -> None:
    """Until all that was recorded is in the database."""
    if SUBJECT != "drf-api-logger":
        if not log.flush(FLUSH):
            raise RuntimeError("The entries were not written.")
        return
    thread = apps.get_app_config("drf_api_logger").module.apps.LOGGER_THREAD
    end = time.monotonic() + FLUSH
    while _unwritten(thread):
        thread._flush_event.set()
        if time.monotonic() > end:
            raise RuntimeError(f"The entries were not written: {thread.get_status()}.")
        time.sleep(0.005)


_requests = 0


def _unwritten(thread: Any) -> int:
    return _requests - int(thread.get_status()["inserted_count"])


def measure(count: int) -> dict[str, float]:
    """Microseconds for each request: until it was answered; until all were stored; and
    of the processor, in all threads."""
    global _requests
    start, busy = time.perf_counter(), time.process_time()
    for _ in range(count):
        request()
    answered = time.perf_counter() - start
    _requests += count
    flush()
    stored, busy = time.perf_counter() - start, time.process_time() - busy
    share = 1_000_000 / count
    return {"answered": answered * share, "stored": stored * share, "cpu": busy * share}


class Queries:
    """How many there are, in the request and behind it."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.request_thread = threading.get_ident()
        connection_created.connect(self.watch, weak=False)

    def watch(self, connection: Any, **kwargs: Any) -> None:
        connection.execute_wrappers.append(self)

    def __call__(self, execute: Callable[..., Any], *args: Any) -> Any:
        is_mine = threading.get_ident() == self.request_thread
        self.counts["in" if is_mine else "behind"] += 1
        return execute(*args)


def counted(queries: Queries, count: int) -> dict[str, float]:
    queries.counts.clear()
    measure(count)
    return {name: queries.counts[name] / count for name in ("in", "behind")}


def serve() -> None:
    queries = Queries()
    call_command("migrate", verbosity=0)
    jobs: dict[str, Callable[[int], Any]] = {
        "measure": measure,
        "counted": lambda count: counted(queries, count),
        "rows": lambda _: rows(),
        "requests": lambda _: _requests,
    }
    for line in sys.stdin:
        word, _, count = line.strip().partition(" ")
        print(json.dumps(jobs[word](int(count or 0))), flush=True)


if __name__ == "__main__":
    serve()
