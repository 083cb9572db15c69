"""DRF's JSONParser, at orjson's speed where orjson reads the same, and bounded."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from io import BytesIO
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser, JSONParser

from perfguard.conf import conf
from perfguard.fast_json import codec
from perfguard.fast_json.renderers import FastJSONRenderer

TOO_DEEP = "JSON parse error - nested too deeply"
# Read in a time, and to a length, that grow as the body does. Python knows others, as
# punycode and zlib are, by which a small body takes minutes or gigabytes.
CHARSETS = frozenset(
    {"ascii", "iso8859-1", "utf-8", "utf-8-sig"}
    | {f"utf-{bits}{end}" for bits in (16, 32) for end in ("", "-le", "-be")}
)


class BodyTooLarge(APIException):
    status_code = 413
    default_detail = "The body of the request is too large."
    default_code = "too_large"


class FastJSONParser(BaseParser):
    """In place of DRF's. A body beyond ``FAST_JSON_MAX_BYTES`` is 413; one nested
    deeper than ``FAST_JSON_MAX_DEPTH`` is 400, as is all that is not JSON.

    No subclass of ``JSONParser``: for that, DRF reads the body before it asks.
    """

    media_type = JSONParser.media_type
    renderer_class = FastJSONRenderer
    strict = JSONParser.strict

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        body = _body(stream, conf.FAST_JSON_MAX_BYTES)
        context = parser_context or {}
        charset = context.get("encoding", settings.DEFAULT_CHARSET)
        if not _is_read(charset):
            # In DRF's words.
            raise ParseError(
                f'Unsupported charset "{charset}" in request Content-Type header.'
            )
        try:
            value = codec.read(body, charset)
        except codec.HandOver:
            # It finds the words for what is wrong, too.
            value = self._as_drf(body, media_type, context)
        depth = conf.FAST_JSON_MAX_DEPTH
        if not codec.is_shallow(body, charset, depth) and codec.is_deeper(value, depth):
            raise ParseError(TOO_DEEP)
        return value

    def _as_drf(
        self, body: bytes, media_type: str | None, context: Mapping[str, Any]
    ) -> Any:
        parser = JSONParser()
        parser.strict = self.strict
        try:
            return parser.parse(BytesIO(body), media_type, context)
        except RecursionError:
            raise ParseError(TOO_DEEP) from None


def _is_read(charset: str) -> bool:
    try:
        return codecs.lookup(charset).name in CHARSETS
    except (LookupError, ValueError):
        return False


def _body(stream: Any, limit: int) -> bytes:
    if not isinstance(stream, HttpRequest):
        body: bytes = stream.read(limit + 1)
    elif int(stream.META.get("CONTENT_LENGTH") or 0) > limit:
        raise BodyTooLarge  # unread
    else:
        try:
            body = stream.body
        except RequestDataTooBig:  # beyond DATA_UPLOAD_MAX_MEMORY_SIZE
            raise BodyTooLarge from None
    if len(body) > limit:
        raise BodyTooLarge
    return body
