"""DRF's JSONRenderer, at orjson's speed where orjson writes the same."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from json import JSONEncoder
from typing import Any

from rest_framework.renderers import JSONRenderer

from perfguard.fast_json import codec


class FastJSONRenderer(JSONRenderer):
    """In place of DRF's, with its attributes and its settings.

    What orjson cannot write as DRF does, DRF writes: an answer with indentation, with
    keys that are no strings, with an integer beyond 64 bits, with NaN.
    """

    # To tell NaN from None, an answer with a null in it is looked through. A subclass
    # for answers without floats may spare that; NaN would be null then.
    looks_for_nan = True

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        context = renderer_context or {}
        if data is not None and self._is_plain(accepted_media_type, context):
            try:
                return codec.write(
                    data, self._default, looks_for_nan=self.looks_for_nan
                )
            except codec.HandOver:
                pass
        return super().render(data, accepted_media_type, context)

    def get_indent(
        self, accepted_media_type: str | None, renderer_context: Mapping[str, Any]
    ) -> int | None:
        text = accepted_media_type or ""
        # Without a parameter there is nothing to parse.
        return super().get_indent(text if ";" in text else "", renderer_context)

    def _is_plain(
        self, accepted_media_type: str | None, context: Mapping[str, Any]
    ) -> bool:
        """Whether the answer is to look as orjson's do."""
        encoder = self.encoder_class
        return (
            codec.is_installed()
            and self.compact
            and not self.ensure_ascii
            # A class with more of its own than default() is not known here.
            and encoder.encode is JSONEncoder.encode
            and encoder.iterencode is JSONEncoder.iterencode
            and self.get_indent(accepted_media_type, context) is None
        )

    def _default(self, given: Any) -> Any:
        return self._encoder.default(given)

    @cached_property
    def _encoder(self) -> JSONEncoder:
        return self.encoder_class()
