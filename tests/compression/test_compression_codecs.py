from __future__ import annotations

import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfguard.compression.codecs import (
    CODECS,
    DEFAULT_LEVELS,
    LEVELS,
    MOST_NOISE,
    new_compressor,
)
from perfguard.compression.streams import ChunkCompressor
from tests.compression.compression_decoders import (
    CODINGS,
    Decoder,
    decoded,
    each_coding,
    zstd,
)
from tests.servers import ROOT

BODY = b"a body that repeats itself, " * 100
CHUNKS = st.lists(
    st.binary(max_size=200) | st.binary(max_size=20).map(lambda b: b * 99)
)


def compressed(coding, body, noise=0):
    compressor = new_compressor(
        coding, DEFAULT_LEVELS[coding], noise=noise, size=len(body)
    )
    return compressor.compress(body) + compressor.finish()


@pytest.mark.parametrize(
    ("coding", "level"),
    [(coding, level) for coding in CODINGS for level in LEVELS[coding]],
)
def test_every_level_makes_one_stream(coding, level):
    compressor = new_compressor(coding, level, noise=9, size=len(BODY))
    assert decoded(coding, compressor.compress(BODY) + compressor.finish()) == BODY


@each_coding
@settings(deadline=None)
@given(st.binary(max_size=5000), st.integers(0, MOST_NOISE))
def test_any_body_comes_back(coding, body, noise):
    assert decoded(coding, compressed(coding, body, noise)) == body


@each_coding
@settings(deadline=None)
@given(CHUNKS, st.booleans(), st.integers(0, MOST_NOISE))
def test_any_chunks_come_back_each_when_it_is_flushed(
    coding, chunks, flush_each, noise
):
    compressor = new_compressor(coding, DEFAULT_LEVELS[coding], noise=noise)
    stream = ChunkCompressor(compressor, flush_each=flush_each, clock=lambda: 0.0)
    decoder, seen = Decoder(coding), b""
    for number, chunk in enumerate(chunks, 1):
        if piece := stream.compress(chunk):
            seen += decoder.decode(piece)
        if flush_each:
            assert seen == b"".join(chunks[:number])
    assert not decoder.is_complete
    assert seen + decoder.decode(stream.finish()) == b"".join(chunks)
    assert decoder.is_complete


@each_coding
def test_noise_changes_the_length_and_nothing_else(coding):
    lengths = set()
    for noise in range(MOST_NOISE + 1):
        data = compressed(coding, BODY, noise)
        assert decoded(coding, data) == BODY
        lengths.add(len(data))
    shortest = len(compressed(coding, BODY))
    # The blocks of zstd are three bytes each.
    assert len(lengths) >= MOST_NOISE // 3
    assert max(lengths) - shortest <= MOST_NOISE + 8


@pytest.mark.parametrize("level", LEVELS["zstd"])
def test_no_level_of_zstd_has_a_window_that_browsers_refuse(level):
    """RFC 9659: at most 8 MB."""
    options = {zstd.DecompressionParameter.window_log_max: 23}
    for size in (None, 32 * 1024 * 1024):
        head = new_compressor("zstd", level, size=size)
        data = head.compress(b"x" * 300_000) + head.flush()
        found = zstd.ZstdDecompressor(options=options).decompress(data)
        assert found == b"x" * 300_000


def test_a_frame_of_zstd_tells_the_length_of_a_whole_body():
    """So that decoders, and the compressor, take no more memory than that."""
    assert zstd.get_frame_info(compressed("zstd", BODY)).decompressed_size == len(BODY)


def test_gzip_tells_neither_the_time_nor_the_system():
    assert compressed("gzip", BODY)[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"


def test_an_odd_gzip_reader_finds_length_and_checksum(tmp_path):
    place = tmp_path / "body.gz"
    place.write_bytes(compressed("gzip", BODY, noise=50))
    tested = subprocess.run(
        [sys.executable, "-m", "gzip", "-d", str(place)], capture_output=True
    )
    assert tested.returncode == 0, tested.stderr
    assert (tmp_path / "body").read_bytes() == BODY


WITHOUT = """
import sys
for name in {missing!r}:
    sys.modules[name] = None
from django.conf import settings
settings.configure(
    SECRET_KEY="x" * 50,
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "perfguard"],
    MIDDLEWARE=["perfguard.compression.middleware.CompressionMiddleware"],
    ROOT_URLCONF="tests.empty_urls",
)
import django
django.setup()
from django.core.checks import run_checks
from django.http import HttpResponse
from django.test import RequestFactory
from perfguard.compression.middleware import CompressionMiddleware
for each in run_checks(include_deployment_checks=True):
    if each.id.startswith("perfguard.I6"):
        print(each.id, each.hint)
request = RequestFactory().get("/", headers={{"Accept-Encoding": "gzip, br, zstd"}})
view = lambda request: HttpResponse("long " * 500)
print(CompressionMiddleware(view)(request).headers["Content-Encoding"])
"""


@pytest.mark.parametrize(
    ("missing", "coding"),
    [
        (["backports.zstd", "compression.zstd"], "br"),
        (["brotli"], "zstd"),
        (["brotli", "backports.zstd", "compression.zstd"], "gzip"),
    ],
    ids=["no-zstd", "no-brotli", "neither"],
)
def test_a_coding_without_its_library_is_never_offered(missing, coding):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT.format(missing=missing)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    *told, chosen = done.stdout.splitlines() or [done.stderr]
    assert chosen == coding, done.stderr
    absent = {"brotli": "brotli", "backports.zstd": "backports.zstd"}
    assert {line.split()[3].rstrip(",") for line in told} == absent.keys() & set(
        missing
    )
    assert all(line.startswith("perfguard.I601 pip install ") for line in told)


def test_one_file_of_the_room_knows_the_libraries():
    imports = re.compile(
        r"^\s*(?:import|from) (?:zlib|gzip|brotli|zstandard|backports)"
    )
    knowing = {
        path.name
        for path in (ROOT / "perfguard" / "compression").glob("*.py")
        if any(imports.match(line) for line in path.read_text().splitlines())
    }
    assert knowing == {"codecs.py"}


def test_all_codings_are_there_to_be_tested():
    assert set(CODECS) == set(CODINGS) == set(LEVELS) == set(DEFAULT_LEVELS)
