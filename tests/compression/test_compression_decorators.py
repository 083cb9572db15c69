from __future__ import annotations

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction
from django.http import HttpResponse
from django.utils.decorators import method_decorator
from django.views import View
from rest_framework.response import Response
from rest_framework.views import APIView

from perfguard.compression.codecs import new_compressor
from perfguard.compression.decorators import compression_levels, no_compression
from perfguard.compression.middleware import CompressionMiddleware
from perfguard.exceptions import InvalidSetting

TEXT = "a page that repeats itself, " * 100


@no_compression
def plain(request, word="page"):
    """A page."""
    return HttpResponse(TEXT)


@no_compression
async def waiting(request):
    return HttpResponse(TEXT)


@method_decorator(no_compression, name="dispatch")
class Plain(View):
    def get(self, request):
        return HttpResponse(TEXT)


@method_decorator(no_compression, name="dispatch")
class Waiting(View):
    async def get(self, request):
        return HttpResponse(TEXT)


@method_decorator(no_compression, name="dispatch")
class Api(APIView):
    authentication_classes = permission_classes = throttle_classes = ()

    def get(self, request):
        return Response({"text": TEXT})


def get(view, rf, coding="gzip"):
    request = rf.get("/", headers={"Accept-Encoding": coding})
    middleware = CompressionMiddleware(rendered(view))
    answer = async_to_sync(middleware) if iscoroutinefunction(view) else middleware
    return answer(request)


def rendered(view):
    """As Django's handler does before any middleware sees it."""

    def render(request):
        response = view(request)
        return response.render() if hasattr(response, "render") else response

    return view if iscoroutinefunction(view) else render


@pytest.mark.parametrize(
    "view",
    [plain, waiting, Plain.as_view(), Waiting.as_view(), Api.as_view()],
    ids=["function", "async function", "class", "async class", "DRF"],
)
def test_a_view_may_keep_its_responses_as_they_are(rf, view):
    response = get(view, rf)
    assert "Content-Encoding" not in response.headers
    assert "Vary" not in response.headers or response.headers["Vary"] == "Accept"
    assert TEXT[:20].encode() in response.content


def test_the_decorator_hides_nothing_of_the_view():
    assert plain.__name__ == "plain"
    assert plain.__doc__ == "A page."
    assert iscoroutinefunction(waiting)
    assert not iscoroutinefunction(plain)


def test_a_view_may_have_levels_of_its_own(rf, perfguard):
    perfguard(COMPRESSION_NOISE_BYTES=0, COMPRESSION_LEVELS={"br": 5, "gzip": 2})

    @compression_levels(br=0, zstd=19)
    def view(request):
        return HttpResponse(TEXT)

    def wanted(coding, level):
        compressor = new_compressor(coding, level, size=len(TEXT))
        return compressor.compress(TEXT.encode()) + compressor.finish()

    for coding, level in {"br": 0, "zstd": 19, "gzip": 2}.items():
        assert get(view, rf, coding).content == wanted(coding, level)


@pytest.mark.parametrize(
    "levels", [{"br": 12}, {"gzip": 0}, {"zstd": 22}, {"deflate": 6}, {"gzip": "6"}]
)
def test_a_level_that_there_is_not_is_refused_at_once(levels):
    with pytest.raises(InvalidSetting, match="zstd 1 to 19, br 0 to 11, gzip 1 to 9"):
        compression_levels(**levels)
