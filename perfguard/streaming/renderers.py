"""Event streams for DRF's content negotiation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_framework.renderers import JSONRenderer


class EventStreamRenderer(JSONRenderer):
    """Lets a view be asked with ``Accept: text/event-stream``, as a browser's
    EventSource does.

    The stream itself is a response of its own. What DRF renders is a refusal or an
    error; that is JSON, and says so.
    """

    media_type = "text/event-stream"
    format = "event-stream"

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        response = (renderer_context or {}).get("response")
        if response is not None:
            response["Content-Type"] = JSONRenderer.media_type
        body: bytes = super().render(data, JSONRenderer.media_type, renderer_context)
        return body
