"""gzip, Brotli and Zstandard behind one interface; nobody else imports their libraries.

Each compressor makes one stream: one member, one frame. What it calls ``noise`` is a
number of bytes that carry nothing, at a place where the format has room for such. A
decoder skips them, and the length of the body no longer tells how well it could be
compressed, which is what BREACH measures. They are in the body because an observer
may tell the head of a response from it.
"""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

try:
    import brotli
except ImportError:
    brotli = None

try:
    # By the version: before 3.14 any file of a project may be called compression.py.
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
except ImportError:
    zstd = None  # type: ignore[assignment]

# Bits of the window of a stream. Each stream has its own for as long as it is open, and
# streams of events are open for hours, thousands of them.
STREAM_WINDOW = 18
EVENT_WINDOW = 16
MOST_NOISE = 256  # bytes: Brotli's length is one byte here


class Compressor(Protocol):
    def compress(self, data: bytes) -> bytes:
        """What comes out; the compressor may keep the rest back."""
        ...

    def flush(self) -> bytes:
        """What was kept back, so that the other side can decode all it was given."""
        ...

    def finish(self) -> bytes:
        """The end of the stream, without which it is incomplete."""
        ...


class Gzip:
    """RFC 1952; the noise is the file name, of which decoders of HTTP make nothing."""

    def __init__(self, level: int, noise: int, size: int | None, window: int) -> None:
        self._deflate = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
        name = b"n" * (noise - 1) + b"\0" if noise else b""
        flags = b"\x08" if noise else b"\0"
        # No time, no hint about the level, no system: they are nobody's business.
        self._head = b"\x1f\x8b\x08" + flags + b"\0\0\0\0\0\xff" + name
        self._crc = self._size = 0

    def compress(self, data: bytes) -> bytes:
        self._crc = zlib.crc32(data, self._crc)
        self._size += len(data)
        return self._with_head(self._deflate.compress(data))

    def flush(self) -> bytes:
        return self._with_head(self._deflate.flush(zlib.Z_SYNC_FLUSH))

    def finish(self) -> bytes:
        trailer = struct.pack("<LL", self._crc, self._size & 0xFFFFFFFF)
        return self._with_head(self._deflate.flush() + trailer)

    def _with_head(self, data: bytes) -> bytes:
        head, self._head = self._head, b""
        return head + data if head else data


class Brotli:
    """RFC 7932; the noise is a meta-block of metadata (section 9.2) before the last."""

    def __init__(self, level: int, noise: int, size: int | None, window: int) -> None:
        options = {"lgwin": window} if size is None else {}
        self._brotli = brotli.Compressor(quality=level, **options)
        self._noise = self._metadata(noise) if noise else b""

    def compress(self, data: bytes) -> bytes:
        found: bytes = self._brotli.process(data)
        return found

    def flush(self) -> bytes:
        found: bytes = self._brotli.flush()
        return found

    def finish(self) -> bytes:
        # A flush ends at a whole byte, where a meta-block may be put by hand.
        before = self._brotli.flush() if self._noise else b""
        return b"".join((before, self._noise, self._brotli.finish()))

    @staticmethod
    def _metadata(length: int) -> bytes:
        # From the lowest bit: 1 bit, not the last; 2 bits, metadata; 1 bit reserved;
        # 2 bits, the length has one byte; 8 bits, the length less one.
        header = 0b11 << 1 | 0b01 << 4 | (length - 1) << 6
        return header.to_bytes(2, "little") + bytes(length)


class Zstd:
    """RFC 8878; the noise is empty blocks. A skippable frame would be a second frame,
    at which some decoders stop."""

    EMPTY_BLOCK = bytes(3)  # not the last, raw, of no bytes (section 3.1.1.2)

    def __init__(self, level: int, noise: int, size: int | None, window: int) -> None:
        parameter = zstd.CompressionParameter
        options: dict[int, int] = {parameter.compression_level: level}
        if size is None:
            # The tables of a level are for windows that are larger.
            options |= {parameter.hash_log: window - 2, parameter.chain_log: window - 2}
            options[parameter.window_log] = window
        self._zstd = zstd.ZstdCompressor(options=options)
        if size is not None:  # so that a small body gets small tables
            self._zstd.set_pledged_input_size(size)
        self._noise = self.EMPTY_BLOCK * (noise // 3)
        self._has_begun = False

    def compress(self, data: bytes) -> bytes:
        self._has_begun = self._has_begun or bool(data)
        found: bytes = self._zstd.compress(data)
        return found

    def flush(self) -> bytes:
        found: bytes = self._zstd.flush(self._zstd.FLUSH_BLOCK)
        return found

    def finish(self) -> bytes:
        # Before any data there is no frame yet, to which the blocks could belong.
        if not self._noise or not self._has_begun:
            return self._end()
        return b"".join((self.flush(), self._noise, self._end()))

    def _end(self) -> bytes:
        found: bytes = self._zstd.flush(self._zstd.FLUSH_FRAME)
        return found


CODECS: Mapping[str, type[Gzip | Brotli | Zstd]] = MappingProxyType(
    {
        **({} if zstd is None else {"zstd": Zstd}),  # type: ignore[redundant-expr]
        **({} if brotli is None else {"br": Brotli}),
        "gzip": Gzip,
    }
)
# The lowest and the highest level. Higher ones of zstd have windows of more than 8 MB,
# which browsers refuse (RFC 9659), and its negative ones are for other things.
LEVELS: Mapping[str, range] = MappingProxyType(
    {"zstd": range(1, 20), "br": range(12), "gzip": range(1, 10)}
)
DEFAULT_LEVELS: Mapping[str, int] = MappingProxyType({"zstd": 3, "br": 4, "gzip": 6})
# For streams that may be long. Brotli's 4 prepares for a short body when it does not
# know the length, and makes a long one a seventh larger than it would in one piece.
LONG_LEVELS: Mapping[str, int] = MappingProxyType({**DEFAULT_LEVELS, "br": 5})
# What is missing for a coding, by its name on PyPI.
PACKAGES: Mapping[str, str] = MappingProxyType(
    {"zstd": "backports.zstd", "br": "brotli"}
)


def new_compressor(
    coding: str,
    level: int,
    *,
    noise: int = 0,
    size: int | None = None,
    window: int = STREAM_WINDOW,
) -> Compressor:
    """``size`` is that of the whole body; a stream has none, and a ``window``."""
    return CODECS[coding](level, noise, size, window)
