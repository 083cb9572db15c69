"""What compression leaves of the event loop's time."""

from __future__ import annotations

import asyncio
import threading

import pytest
from asgiref.sync import async_to_sync
from django.http import HttpResponse, StreamingHttpResponse

from perfguard.compression.codecs import new_compressor
from perfguard.compression.middleware import CompressionMiddleware
from tests.compression.compression_decoders import decoded, each_coding

SMALL = b"".join(b"%d," % (number * 7919 % 99_991) for number in range(1000))
HUGE = SMALL * 100
LIMIT = 20  # seconds


def answer(body, kind="text/csv"):
    async def view(request):
        return HttpResponse(body, content_type=kind)

    return CompressionMiddleware(view)


class Held:
    """A compressor that goes on when somebody on the loop lets it."""

    begun, let_go = threading.Event(), threading.Event()

    def __init__(self, compressor):
        self.compressor = compressor
        self.flush, self.finish = compressor.flush, compressor.finish

    def compress(self, data):
        self.begun.set()
        assert self.let_go.wait(LIMIT), "nobody on the loop could run"
        return self.compressor.compress(data)


@pytest.fixture
def held(monkeypatch):
    def held_compressor(*args, **kwargs):
        return Held(new_compressor(*args, **kwargs))

    name = "perfguard.compression.middleware.new_compressor"
    monkeypatch.setattr(name, held_compressor)
    Held.begun.clear()
    Held.let_go.clear()


async def while_others_run(waited):
    task = asyncio.ensure_future(waited)
    while not Held.begun.is_set():
        await asyncio.sleep(0.001)
    assert not task.done()
    Held.let_go.set()
    return await task


@pytest.mark.usefixtures("held")
@each_coding
def test_others_run_while_a_huge_body_is_compressed(rf, coding):
    request = rf.get("/", headers={"Accept-Encoding": coding})
    response = async_to_sync(while_others_run)(answer(HUGE)(request))
    assert decoded(coding, response.content) == HUGE


@pytest.mark.usefixtures("held")
@each_coding
def test_others_run_while_a_huge_chunk_is_compressed(rf, coding):
    async def source():
        yield HUGE

    async def view(request):
        return StreamingHttpResponse(source(), content_type="text/csv")

    async def run():
        request = rf.get("/", headers={"Accept-Encoding": coding})
        response = await CompressionMiddleware(view)(request)
        return await while_others_run(read(response))

    assert decoded(coding, async_to_sync(run)()) == HUGE


async def read(response):
    return b"".join([chunk async for chunk in response])


def goes_round(coroutine):
    """Whether it gave up the loop before it answered."""
    try:
        coroutine.send(None)
    except StopIteration:
        return False
    coroutine.close()
    return True


def test_what_is_small_or_not_compressed_never_leaves_the_loop(rf):
    request = rf.get("/", headers={"Accept-Encoding": "gzip"})
    threads = threading.active_count()
    assert not goes_round(answer(SMALL)(request))
    assert not goes_round(answer(HUGE, "image/png")(request))
    assert not goes_round(answer(HUGE)(rf.get("/")))
    assert threading.active_count() == threads


@pytest.mark.parametrize("size", [len(SMALL), len(SMALL) - 1])
def test_the_length_that_takes_a_thread_is_a_setting(rf, perfguard, size):
    perfguard(COMPRESSION_THREAD_BYTES=size)
    request = rf.get("/", headers={"Accept-Encoding": "gzip"})

    async def run():
        return goes_round(answer(SMALL)(request))

    assert async_to_sync(run)() == (size < len(SMALL))
