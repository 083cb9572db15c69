"""Server-sent events, as many and as often as is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from perfguard.streaming.events import Event
from perfguard.streaming.parameters import MOST_DELTAS
from perfguard.streaming.pauses import pause
from perfguard.streaming.renderers import EventStreamRenderer
from perfguard.streaming.responses import event_stream

LAST_EVENT_ID = OpenApiParameter(
    "Last-Event-ID",
    str,
    OpenApiParameter.HEADER,
    description="The number of the last event that was seen; the stream goes on there.",
)


class StreamQuery(serializers.Serializer):
    events = serializers.IntegerField(default=10, min_value=0, max_value=10_000)
    interval_ms = serializers.IntegerField(default=1000, min_value=0, max_value=60_000)
    deltas = serializers.IntegerField(
        required=False,
        min_value=1,
        max_value=MOST_DELTAS,
        help_text="Send strings in place of numbered events, so many in a message.",
    )


class StreamView(APIView):
    """So many events, at such an interval; of words, where ``deltas`` is given.

    Open to all, as a browser's EventSource sends no token."""

    permission_classes = (AllowAny,)
    renderer_classes = (JSONRenderer, EventStreamRenderer)

    @extend_schema(
        parameters=[StreamQuery, LAST_EVENT_ID],
        responses={(200, "text/event-stream"): OpenApiTypes.STR},
    )
    def get(self, request: Request) -> HttpResponseBase:
        query = StreamQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        count, seconds = asked["events"], asked["interval_ms"] / 1000
        if "deltas" in asked:
            return event_stream(
                words(count, seconds), request=request, deltas=asked["deltas"]
            )
        return event_stream(lambda seen: numbers(seen, count, seconds), request=request)


def numbers(seen: str, count: int, seconds: float) -> Iterator[Event]:
    # What is no number is nothing that was seen here.
    first = int(seen) + 1 if seen.isdecimal() and len(seen) < 6 else 1
    for number in range(first, count + 1):
        if number > first:
            pause(seconds)
        data: dict[str, Any] = {"number": number, "of": count}
        yield Event(data, id=str(number))


def words(count: int, seconds: float) -> Iterator[str]:
    for number in range(1, count + 1):
        if number > 1:
            pause(seconds)
        yield f"word {number} "
