"""Decoders that read one member or frame, and no second."""

from __future__ import annotations

import sys
import zlib

import brotli
import pytest

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CODINGS = ("zstd", "br", "gzip")
each_coding = pytest.mark.parametrize("coding", CODINGS)


class Decoder:
    def __init__(self, coding):
        self.coding = coding
        self.it = {
            "gzip": lambda: zlib.decompressobj(wbits=31),
            "br": brotli.Decompressor,
            "zstd": zstd.ZstdDecompressor,
        }[coding]()

    def decode(self, data):
        return (
            self.it.process(data) if self.coding == "br" else self.it.decompress(data)
        )

    @property
    def is_complete(self):
        if self.coding == "br":
            return self.it.is_finished()
        return self.it.eof and not self.it.unused_data


def decoded(coding, data):
    """The content of exactly one complete stream."""
    decoder = Decoder(coding)
    content = decoder.decode(data)
    assert decoder.is_complete
    return content
