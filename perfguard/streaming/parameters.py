"""What a request may say of the stream that it wants."""

from __future__ import annotations

import re

from django.http import HttpRequest

from perfguard.conf import conf
from perfguard.exceptions import InvalidParameter

MOST_DELTAS = 1000
LONGEST_ID = 256  # bytes


def chunk_deltas(wanted: int | str | None) -> int:
    """How many deltas make a message: the larger of what is wanted and
    ``STREAM_CHUNK_DELTAS``. Raises InvalidParameter."""
    if wanted is None or wanted == "":
        return conf.STREAM_CHUNK_DELTAS
    # Not int() alone, which takes "1_0" and digits of all scripts.
    text = str(wanted)
    if not re.fullmatch("[0-9]{1,4}", text) or not 1 <= int(text) <= MOST_DELTAS:
        raise InvalidParameter(
            f"{text[:20]!r} is no number of deltas: use 1 to {MOST_DELTAS}."
        )
    return max(int(text), conf.STREAM_CHUNK_DELTAS)


def last_event_id(request: HttpRequest) -> str:
    """What the client saw last, empty for a new one. Raises InvalidParameter."""
    # Servers decode headers as Latin-1 (PEP 3333); a client sends the id as UTF-8.
    raw = request.META.get("HTTP_LAST_EVENT_ID", "").encode("latin-1", "replace")
    if len(raw) > LONGEST_ID or b"\0" in raw:
        raise InvalidParameter(
            f"Last-Event-ID is longer than {LONGEST_ID} bytes, or has NUL."
        )
    try:
        return str(raw.decode())
    except UnicodeError as error:
        raise InvalidParameter("Last-Event-ID is no UTF-8.") from error
