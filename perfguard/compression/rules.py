"""Which responses may be compressed, and with what."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from perfguard.compression.codecs import CODECS, DEFAULT_LEVELS, LONG_LEVELS
from perfguard.compression.negotiation import best_coding
from perfguard.conf import conf

# Without a body, or with a part of one (RFC 9110, section 15).
UNTOUCHED = frozenset({204, 205, 206, 304})
# A range (section 14), and digests of the very bytes (RFC 9530 and its elders).
NEVER_WITH = frozenset(
    {"content-range", "content-digest", "repr-digest", "digest", "content-md5"}
)


def accepted_coding(request: HttpRequest) -> str | None:
    codings = tuple(each for each in conf.COMPRESSION_CODINGS if each in CODECS)
    return best_coding(request.META.get("HTTP_ACCEPT_ENCODING", ""), codings)


def level_for(response: HttpResponseBase, coding: str) -> int:
    """That of the view, else of the settings, else the usual one."""
    is_long = isinstance(response, StreamingHttpResponse) and not is_live(response)
    usual = LONG_LEVELS if is_long else DEFAULT_LEVELS
    of_the_view: Mapping[str, int] = getattr(response, "compression_levels", {})
    level: int = {**usual, **conf.COMPRESSION_LEVELS, **of_the_view}[coding]
    return level


def is_live(response: StreamingHttpResponse) -> bool:
    """Whether each chunk is to be sent when it is made: events are, and what has
    ``flush_each_chunk = True``."""
    is_events = content_type(response) == "text/event-stream"
    return bool(getattr(response, "flush_each_chunk", is_events))


def may_be_compressed(request: HttpRequest, response: HttpResponseBase) -> bool:
    """Whether there are clients to whom this response would go compressed."""
    return (
        response.status_code >= 200
        and response.status_code not in UNTOUCHED
        and not getattr(response, "no_compression", False)
        and is_compressible(content_type(response), tuple(conf.COMPRESSION_TYPES))
        and _has_a_size_for_it(request, response)
        and _is_plain(response)
    )


def content_type(response: HttpResponseBase) -> str:
    """In lower case, without parameters."""
    found: str = response.headers.get("Content-Type", "")
    return found.partition(";")[0].strip().lower()


@lru_cache(maxsize=256)
def is_compressible(name: str, types: tuple[str, ...]) -> bool:
    """Whether ``types`` has it, or its ``text/*``, or its ``+json``."""
    main = name.partition("/")[0]
    _, plus, suffix = name.rpartition("+")
    return not {name, f"{main}/*", plus and plus + suffix}.isdisjoint(
        each.lower() for each in types
    )


def _has_a_size_for_it(request: HttpRequest, response: HttpResponseBase) -> bool:
    size = _size(request, response)
    return (
        size is None or conf.COMPRESSION_MIN_BYTES <= size <= conf.COMPRESSION_MAX_BYTES
    )


def _size(request: HttpRequest, response: HttpResponseBase) -> int | None:
    """``None`` when it will be known at the end."""
    if isinstance(response, HttpResponse) and request.method != "HEAD":
        return len(response.content)
    declared = str(response.headers.get("Content-Length", ""))
    return int(declared) if declared.isdecimal() else None


def _is_plain(response: HttpResponseBase) -> bool:
    headers = response.headers
    return (
        # An empty one is how some views keep a response out of any compression.
        headers.get("Content-Encoding", "identity").lower() == "identity"
        and "no-transform" not in headers.get("Cache-Control", "").lower()
        and NEVER_WITH.isdisjoint([name.lower() for name in headers])
    )
