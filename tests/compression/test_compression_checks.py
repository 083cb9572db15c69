from __future__ import annotations

import pytest
from django.core.checks import run_checks
from django.middleware.gzip import GZipMiddleware

from perfguard.compression import checks, codecs
from perfguard.compression.middleware import CompressionMiddleware

OURS = "perfguard.compression.middleware.CompressionMiddleware"
GZIP = "django.middleware.gzip.GZipMiddleware"
CONDITIONAL = "django.middleware.http.ConditionalGetMiddleware"
OUR_CONDITIONAL = "perfguard.http.conditional.ConditionalGetMiddleware"


class OwnGzip(GZipMiddleware):
    """As a project may have one."""


class OwnCompression(CompressionMiddleware):
    """And one of ours."""


def function_middleware(get_response):
    return get_response


def ids(deploy=True):
    found = run_checks(include_deployment_checks=deploy)
    return [each.id for each in found if each.id[11:].startswith("6")]


@pytest.fixture
def middleware(settings):
    def install(*paths):
        settings.MIDDLEWARE = list(paths)

    install(OURS)
    return install


def test_a_site_without_fault(middleware):
    assert ids() == []
    middleware("tests.compression.test_compression_checks.function_middleware", OURS)
    assert ids() == []


@pytest.mark.parametrize(
    "other",
    [
        GZIP,
        "compression_middleware.middleware.CompressionMiddleware",
        "django_http_compression.middleware.HttpCompressionMiddleware",
        "tests.compression.test_compression_checks.OwnGzip",
        "tests.compression.test_compression_checks.OwnCompression",
    ],
)
def test_two_that_compress(middleware, other):
    middleware(other, OURS)
    (error,) = checks.check_twice()
    assert error.id == "perfguard.E601"
    assert other in error.msg
    middleware(OURS, other)
    assert len(checks.check_twice()) == 1


def test_another_that_compresses_is_no_fault_without_ours(middleware):
    middleware(GZIP)
    assert ids() == []


@pytest.mark.parametrize(
    "levels",
    [
        {"gzip": 10},
        {"gzip": 0},
        {"gzip": -1},
        {"br": 12},
        {"zstd": 20},
        {"zstd": 0},
        {"deflate": 1},
        {"gzip": "6"},
        {"gzip": 6.0},
        {"gzip": True},
        {1: 1},
    ],
    ids=str,
)
def test_a_level_out_of_range(middleware, perfguard, levels):
    perfguard(COMPRESSION_LEVELS=levels)
    assert ids() == ["perfguard.E602"]


def test_the_lowest_and_highest_levels(middleware, perfguard):
    for levels in ({"gzip": 1, "br": 0, "zstd": 1}, {"gzip": 9, "br": 11, "zstd": 19}):
        perfguard(COMPRESSION_LEVELS=levels)
        assert ids() == []


@pytest.mark.parametrize(
    "name", ["json", "text/html; charset=utf-8", "*/*", "*", "", "+", "text/", "/json"]
)
def test_what_is_no_content_type(middleware, perfguard, name):
    perfguard(COMPRESSION_TYPES=["text/html", name])
    assert ids() == ["perfguard.E603"]


def test_what_is_a_content_type(middleware, perfguard):
    perfguard(
        COMPRESSION_TYPES=["text/*", "Application/JSON", "+json", "image/svg+xml"]
    )
    assert ids() == []


def test_sizes_that_contradict(middleware, perfguard):
    perfguard(COMPRESSION_MIN_BYTES=1001, COMPRESSION_MAX_BYTES=1000)
    assert ids() == ["perfguard.E604"]
    perfguard(COMPRESSION_MIN_BYTES=1000, COMPRESSION_MAX_BYTES=1000)
    assert ids() == []


def test_too_much_noise(middleware, perfguard):
    perfguard(COMPRESSION_NOISE_BYTES=257)
    assert ids() == ["perfguard.E605"]
    perfguard(COMPRESSION_NOISE_BYTES=256)
    assert ids() == []


@pytest.mark.parametrize("conditional", [CONDITIONAL, OUR_CONDITIONAL])
def test_etags_of_noise(middleware, perfguard, conditional):
    middleware(conditional, OURS)
    assert ids() == ["perfguard.W601"]
    middleware(OURS, conditional)
    assert ids() == []
    middleware(conditional)
    assert ids() == []
    middleware(conditional, OURS)
    perfguard(COMPRESSION_NOISE_BYTES=0)
    assert ids() == []


def test_nothing_to_offer(middleware, perfguard):
    perfguard(COMPRESSION_CODINGS=[])
    assert ids() == ["perfguard.W602"]
    middleware()
    assert ids() == []


def test_a_missing_library_is_told_at_deployment(middleware, perfguard, monkeypatch):
    monkeypatch.setattr(checks, "CODECS", {"gzip": codecs.Gzip})
    assert ids() == ["perfguard.I601", "perfguard.I601"]
    assert ids(deploy=False) == []
    perfguard(COMPRESSION_CODINGS=["gzip"])
    assert ids() == []
    perfguard(COMPRESSION_CODINGS=["br"])
    assert ids() == ["perfguard.W602", "perfguard.I601"]
    middleware()
    assert ids() == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("COMPRESSION_ENABLED", 1),
        ("COMPRESSION_CODINGS", "gzip"),
        ("COMPRESSION_CODINGS", ["deflate"]),
        ("COMPRESSION_LEVELS", [6]),
        ("COMPRESSION_TYPES", "text/html"),
        ("COMPRESSION_TYPES", [1]),
        ("COMPRESSION_MIN_BYTES", -1),
        ("COMPRESSION_MAX_BYTES", 0),
        ("COMPRESSION_THREAD_BYTES", "64k"),
        ("COMPRESSION_NOISE_BYTES", -1),
    ],
)
def test_a_value_of_a_wrong_type_is_told_once(middleware, perfguard, name, value):
    perfguard(**{name: value})
    middleware(OURS, CONDITIONAL)
    found = [each.id for each in run_checks(include_deployment_checks=True)]
    assert found.count("perfguard.E002") == 1
    assert ids() == []


def test_a_middleware_that_is_not_there_breaks_no_check(middleware):
    middleware("no.such.Middleware", OURS)
    assert checks.check_twice() == []
