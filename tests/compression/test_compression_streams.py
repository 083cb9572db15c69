from __future__ import annotations

import asyncio
import gc
import random
import tracemalloc

import psutil
import pytest
from asgiref.sync import async_to_sync
from django.http import StreamingHttpResponse

from perfguard.compression.codecs import DEFAULT_LEVELS, new_compressor
from perfguard.compression.middleware import CompressionMiddleware
from perfguard.compression.streams import LONGEST_WAIT, ChunkCompressor
from tests.compression.compression_decoders import Decoder, decoded, each_coding, zstd

# Closing a response is the end of a request, at which Django looks at its databases.
pytestmark = pytest.mark.django_db
EVENTS = [f"data: event {number}\n\n".encode() for number in range(20)]


class Closing:
    """A source that counts how often it is closed."""

    def __init__(self, chunks=EVENTS, error=None):
        self.chunks = iter(chunks)
        self.error = error
        self.closings = 0


class Source(Closing):
    def __iter__(self):
        return self

    def __next__(self):
        for chunk in self.chunks:
            return chunk
        raise self.error or StopIteration

    def close(self):
        self.closings += 1


class AsyncSource(Closing):
    def __aiter__(self):
        return self

    async def __anext__(self):
        for chunk in self.chunks:
            return chunk
        raise self.error or StopAsyncIteration

    async def aclose(self):
        self.closings += 1


def compressed(rf, source, coding="zstd", kind="text/event-stream", **attributes):
    """The response to a source, of whichever kind, made on the side of that kind."""
    response = StreamingHttpResponse(source, content_type=kind)
    vars(response).update(attributes)
    request = rf.get("/", headers={"Accept-Encoding": coding})
    if not response.is_async:
        return CompressionMiddleware(lambda _: response)(request)

    async def view(_):
        return response

    return async_to_sync(CompressionMiddleware(view))(request)


def chunks_of(response):
    if not response.is_async:
        return list(response)

    async def collect():
        return [chunk async for chunk in response]

    return async_to_sync(collect)()


each_kind = pytest.mark.parametrize("kind", [Source, AsyncSource])


@each_kind
def test_a_stream_stays_of_its_kind(rf, kind):
    response = compressed(rf, kind())
    assert response.is_async == (kind is AsyncSource)
    assert response.headers["Content-Encoding"] == "zstd"
    assert response.headers["Vary"] == "Accept-Encoding"


@each_kind
@each_coding
def test_each_event_is_a_chunk_that_can_be_decoded_and_all_are_one_stream(
    rf, kind, coding
):
    chunks = chunks_of(compressed(rf, kind(), coding))
    decoder = Decoder(coding)
    assert [decoder.decode(chunk) for chunk in chunks] == [*EVENTS, b""]
    assert decoder.is_complete


@each_kind
def test_text_and_other_bytes_are_taken_as_django_takes_them(rf, kind):
    source = kind(["é\n", memoryview(b"view\n"), b"", b"bytes\n"])
    assert decoded("gzip", b"".join(chunks_of(compressed(rf, source, "gzip")))) == (
        "é\nview\nbytes\n".encode()
    )


@each_kind
@each_coding
def test_a_stream_of_nothing_is_a_whole_stream(rf, kind, coding):
    assert decoded(coding, b"".join(chunks_of(compressed(rf, kind([]), coding)))) == b""


def test_an_empty_chunk_is_not_flushed(rf):
    assert len(chunks_of(compressed(rf, Source([b""] * 9 + [b"data\n"]), "br"))) == 2


@pytest.mark.parametrize(
    ("kind", "attributes", "number"),
    [
        ("text/event-stream; charset=utf-8", {}, 21),
        ("Text/Event-Stream", {}, 21),
        ("text/event-stream", {"flush_each_chunk": False}, 2),
        ("application/x-ndjson", {}, 2),
        ("application/x-ndjson", {"flush_each_chunk": True}, 21),
    ],
)
def test_who_is_flushed_at_each_chunk(rf, monkeypatch, kind, attributes, number):
    monkeypatch.setattr("perfguard.compression.streams.LONGEST_WAIT", 3600.0)
    chunks = chunks_of(compressed(rf, Source(), "br", kind, **attributes))
    assert len(chunks) == number
    assert decoded("br", b"".join(chunks)) == b"".join(EVENTS)


@each_coding
def test_a_slow_stream_of_another_kind_is_read_as_it_comes(clock, coding):
    stream = ChunkCompressor(new_compressor(coding, 3), flush_each=False, clock=clock)
    decoder = Decoder(coding)
    assert decoder.decode(stream.compress(b"first,")) == b"first,"
    held_back = stream.compress(b"second,")
    assert not held_back or decoder.decode(held_back) == b""
    clock.advance(2 * LONGEST_WAIT)
    assert decoder.decode(stream.compress(b"third,")) == b"second,third,"


CHANCE = random.Random(1)
ROWS = [
    f"{number},customer {CHANCE.randrange(5000)},{CHANCE.random():.3f}\n".encode()
    for number in range(50_000)
]
WHOLE = b"".join(ROWS)


@each_kind
@each_coding
def test_a_long_export_is_as_small_as_in_one_piece(rf, kind, coding, perfguard):
    perfguard(COMPRESSION_NOISE_BYTES=0)
    compressor = new_compressor(coding, DEFAULT_LEVELS[coding], size=len(WHOLE))
    at_once = compressor.compress(WHOLE) + compressor.finish()
    body = b"".join(chunks_of(compressed(rf, kind(ROWS), coding, "text/csv")))
    assert decoded(coding, body) == WHOLE
    assert len(body) <= 1.1 * len(at_once)


@each_coding
def test_a_long_stream_takes_no_more_memory(rf, coding):
    size = 64 * 1024 * 1024
    block = b"".join(ROWS[:1000])
    response = compressed(
        rf, (block for _ in range(size // len(block))), coding, "text/csv"
    )
    gc.collect()
    before = psutil.Process().memory_info().rss
    tracemalloc.start()
    largest = max(map(len, response))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    response.close()
    assert largest < 512 * 1024
    assert peak < 2 * 1024 * 1024
    assert psutil.Process().memory_info().rss - before < size / 4


def test_a_declared_length_is_removed(rf):
    response = StreamingHttpResponse(Source(), content_type="text/csv")
    response.headers["Content-Length"] = "5000"
    request = rf.get("/", headers={"Accept-Encoding": "br"})
    answer = CompressionMiddleware(lambda _: response)(request)
    assert "Content-Length" not in answer.headers


@each_kind
@each_coding
@pytest.mark.parametrize("content_type", ["text/event-stream", "text/csv"])
def test_an_error_of_the_source_leaves_no_whole_stream(rf, kind, coding, content_type):
    source = kind(error=ValueError("in the middle"))
    response = compressed(rf, source, coding, content_type)
    decoder = Decoder(coding)
    taken = iter_or_aiter(response, decoder)
    with pytest.raises(ValueError, match="in the middle"):
        taken()
    assert not decoder.is_complete
    response.close()
    assert source.closings == 1


def iter_or_aiter(response, decoder):
    def take():
        for chunk in response:
            decoder.decode(chunk)

    async def atake():
        async for chunk in response:
            decoder.decode(chunk)

    return async_to_sync(atake) if response.is_async else take


def test_a_sync_source_is_closed_once_when_nobody_reads_on(rf):
    source = Source()
    response = compressed(rf, source)
    next(iter(response))
    response.close()
    assert source.closings == 1


def test_a_sync_source_is_closed_once_when_nobody_reads_at_all(rf):
    source = Source()
    compressed(rf, source).close()
    assert source.closings == 1


@pytest.mark.parametrize("reads", [1, len(EVENTS) + 1], ids=["left", "at the end"])
def test_an_async_source_is_closed_once(rf, reads):
    source = AsyncSource()

    async def read():
        response = compressed_on_the_loop(rf, source)
        chunks = aiter(await response)
        for _ in range(reads):
            await anext(chunks)
        await chunks.aclose()

    async_to_sync(read)()
    assert source.closings == 1


async def compressed_on_the_loop(rf, source):
    async def view(_):
        return StreamingHttpResponse(source, content_type="text/event-stream")

    request = rf.get("/", headers={"Accept-Encoding": "gzip"})
    return await CompressionMiddleware(view)(request)


def test_an_async_source_is_closed_once_when_the_reader_is_cancelled(rf):
    source = AsyncSource()
    begun = asyncio.Event()

    class Silent(AsyncSource):
        async def __anext__(self):
            begun.set()
            await asyncio.Event().wait()

    source = Silent()

    async def read():
        response = await compressed_on_the_loop(rf, source)
        reading = asyncio.create_task(anext(aiter(response)))
        await begun.wait()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        assert reading.cancelled()

    async_to_sync(read)()
    assert source.closings == 1


def test_an_async_iterator_without_aclose_is_read(rf):
    class Plain:
        def __init__(self):
            self.chunks = iter(EVENTS)

        def __aiter__(self):
            return self

        async def __anext__(self):
            for chunk in self.chunks:
                return chunk
            raise StopAsyncIteration

    body = b"".join(chunks_of(compressed(rf, Plain(), "gzip")))
    assert decoded("gzip", body) == b"".join(EVENTS)


@pytest.mark.parametrize(
    ("kind", "bits", "head"),
    [
        ("text/event-stream", 16, (0b1, 0b0)),
        ("text/csv", 18, (0b1111, 0b0011)),
    ],
)
def test_windows_are_small_while_streams_are_open(rf, kind, bits, head):
    """RFC 7932, section 9.1, for the head of a Brotli stream."""
    body = b"".join(chunks_of(compressed(rf, Source(), "zstd", kind)))
    options = {zstd.DecompressionParameter.window_log_max: bits}
    assert zstd.ZstdDecompressor(options=options).decompress(body) == b"".join(EVENTS)
    mask, wanted = head
    body = b"".join(chunks_of(compressed(rf, Source(), "br", kind)))
    assert body[0] & mask == wanted


def test_long_streams_have_a_usual_level_of_their_own(rf, perfguard, monkeypatch):
    monkeypatch.setattr("perfguard.compression.streams.LONGEST_WAIT", 3600.0)

    def length(kind, **levels):
        perfguard(COMPRESSION_NOISE_BYTES=0, COMPRESSION_LEVELS=levels)
        return len(b"".join(chunks_of(compressed(rf, Source(ROWS[:5000]), "br", kind))))

    assert length("text/csv") == length("text/csv", br=5) < length("text/csv", br=4)
    live = "text/event-stream"
    assert length(live) == length(live, br=4) != length(live, br=5)
