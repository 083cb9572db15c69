"""Compression of responses: zstd, Brotli or gzip, by what the client likes best."""

from __future__ import annotations

import asyncio
import secrets

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

from perfguard.compression.codecs import (
    EVENT_WINDOW,
    STREAM_WINDOW,
    Compressor,
    new_compressor,
)
from perfguard.compression.rules import (
    accepted_coding,
    is_live,
    level_for,
    may_be_compressed,
)
from perfguard.compression.streams import compress_stream
from perfguard.conf import conf
from perfguard.http.middleware import Middleware


class CompressionMiddleware(Middleware):
    """Compresses what is worth it; outside all that reads or changes bodies.

    Under ASGI a large body is compressed in a thread, so that others are not kept
    waiting, and everything else on the loop.
    """

    def after(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        coding = _coding_for(request, response)
        if coding and isinstance(response, HttpResponse):
            _replace(response, coding, _compressed_body(response, coding))
        elif coding and isinstance(response, StreamingHttpResponse):
            _wrap(response, coding)
        return response

    async def aafter(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        if not _is_long(response):
            return self.after(request, response)
        assert isinstance(response, HttpResponse)
        coding = _coding_for(request, response)
        if coding:
            body = await asyncio.to_thread(_compressed_body, response, coding)
            _replace(response, coding, body)
        return response


def _is_long(response: HttpResponseBase) -> bool:
    return (
        isinstance(response, HttpResponse)
        and len(response.content) > conf.COMPRESSION_THREAD_BYTES
    )


def _coding_for(request: HttpRequest, response: HttpResponseBase) -> str | None:
    """The coding to apply, if any. Sets what depends on it without being applied."""
    if not conf.COMPRESSION_ENABLED:
        return None
    if response.status_code == 304:
        _match_the_stored(request, response)
    if not may_be_compressed(request, response):
        return None
    patch_vary_headers(response, ("Accept-Encoding",))
    coding = accepted_coding(request)
    if coding and request.method == "HEAD":
        _answer_head(response)
        return None
    return coding


def _match_the_stored(request: HttpRequest, response: HttpResponseBase) -> None:
    """A 304 made further in has the strong ETag. To a client that stored the compressed
    response, it is about another one (RFC 9111, section 4.3.4)."""
    etag = response.headers.get("ETag", "")
    if etag:
        # As the 200 would say (RFC 9110, section 15.4.5).
        patch_vary_headers(response, ("Accept-Encoding",))
    if etag.startswith('"') and f"W/{etag}" in request.headers.get("If-None-Match", ""):
        _weaken(response)


def _answer_head(response: HttpResponseBase) -> None:
    # The length of what GET would send is known to who compresses it, and a wrong one
    # must not be sent (RFC 9110, section 8.6).
    del response.headers["Content-Length"]
    _weaken(response)


def _weaken(response: HttpResponseBase) -> None:
    # Two codings of one thing are not the same bytes (RFC 9110, section 8.8.1).
    etag = response.headers.get("ETag", "")
    if etag.startswith('"'):
        response.headers["ETag"] = f"W/{etag}"


def _compressor(response: HttpResponseBase, coding: str, **sizes: int) -> Compressor:
    noise = secrets.randbelow(conf.COMPRESSION_NOISE_BYTES + 1)
    return new_compressor(coding, level_for(response, coding), noise=noise, **sizes)


def _compressed_body(response: HttpResponse, coding: str) -> bytes:
    body = response.content
    compressor = _compressor(response, coding, size=len(body))
    return compressor.compress(body) + compressor.finish()


def _replace(response: HttpResponse, coding: str, body: bytes) -> None:
    if len(body) >= len(response.content):
        return
    response.content = body
    _announce(response, coding)
    response.headers["Content-Length"] = str(len(body))


def _wrap(response: StreamingHttpResponse, coding: str) -> None:
    flush_each = is_live(response)
    window = EVENT_WINDOW if flush_each else STREAM_WINDOW
    compressor = _compressor(response, coding, window=window)
    compress_stream(response, compressor, flush_each=flush_each)
    _announce(response, coding)
    del response.headers["Content-Length"]


def _announce(response: HttpResponseBase, coding: str) -> None:
    response.headers["Content-Encoding"] = coding
    # Ranges of it would be ranges of the identity.
    del response.headers["Accept-Ranges"]
    _weaken(response)
