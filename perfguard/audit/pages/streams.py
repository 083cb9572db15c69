"""Entries on their way to an administrator, as a stream that tells how it ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.handlers.asgi import ASGIRequest
from django.db.models import QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.utils import timezone
from django.utils.http import content_disposition_header

from perfguard.audit import events
from perfguard.audit.exports import Counted, export_lines
from perfguard.audit.models import AuditEntry

FORMS = {"csv": "text/csv", "jsonl": "application/x-ndjson"}
PART = 65_536  # bytes of an export that are sent at a time


def exported(
    request: HttpRequest, entries: QuerySet[AuditEntry], form: str
) -> StreamingHttpResponse:
    kind = LoopStream if isinstance(request, ASGIRequest) else Stream
    name = f"audit-{timezone.now():%Y%m%d-%H%M%S}.{form}"
    headers = {
        "Content-Disposition": content_disposition_header(True, name) or "",
        "Cache-Control": "no-store",
    }
    stream: Any = kind(request, entries, form)
    return StreamingHttpResponse(stream, content_type=FORMS[form], headers=headers)


class Export:
    """On record once it is closed, which Django does however the answer ended."""

    def __init__(
        self, request: HttpRequest, entries: QuerySet[AuditEntry], form: str
    ) -> None:
        self._request = request
        self._form = form
        self._lines = export_lines(entries, form)
        self._counted = Counted(self._lines, form)
        self._sent = 0
        self._failed = {"failed": "broken off"}
        self._is_closed = False

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._lines.close()  # and with it its cursor
        told: Any = self._failed
        events.record_known(
            "entries_exported",
            request=self._request,
            entries=self._sent,
            form=self._form,
            asked=self._request.META.get("QUERY_STRING", ""),
            selected=",".join(self._request.POST.getlist(ACTION_CHECKBOX_NAME)),
            **told,
        )

    def _parts(self) -> Iterator[bytes]:
        for part in parts_of(self._counted):
            self._sent = self._counted.count
            yield part
        self._failed = {}


class Stream(Export):
    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._parts()
        finally:
            self.close()


class LoopStream(Export):
    """Django would collect all of a common iterator before it sends any of it."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts = self._parts()
        try:
            while (part := await sync_to_async(_next)(parts)) is not None:
                yield part
        finally:
            # In the thread that has read: it may be at it still.
            await sync_to_async(self.close)()


def _next(parts: Iterator[bytes]) -> bytes | None:
    return next(parts, None)


def parts_of(lines: Iterable[str]) -> Iterator[bytes]:
    part = bytearray()
    for line in lines:
        part += line.encode(errors="replace")
        if len(part) >= PART:
            yield bytes(part)
            part.clear()
    yield bytes(part)
