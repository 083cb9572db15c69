"""ConditionalGetMiddleware: ETags for answers, and 304 to who has them."""

from __future__ import annotations

import gzip

import pytest
from asgiref.sync import async_to_sync
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.middleware.gzip import GZipMiddleware
from django.utils.http import http_date
from rest_framework.response import Response
from rest_framework.views import APIView

from perfguard.compression.middleware import CompressionMiddleware
from perfguard.http.conditional import ConditionalGetMiddleware

NOON = 1_800_000_000  # seconds since 1970


def view(body=b"body", status=200, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def answer(request):
        return HttpResponse(body, status=status, headers=headers)

    return answer


@pytest.fixture
def ask(serve, rf):
    """``ask(view, If_None_Match=...)``; further layers stand outside."""

    def run(answer, method="GET", **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = rf.generic(method, "/", headers=named)
        return serve(ConditionalGetMiddleware, answer, request)

    return run


def etag_of(ask, answer):
    return ask(answer).headers["ETag"]


def test_an_answer_has_a_strong_etag_of_its_body(ask):
    first, again, other = (etag_of(ask, view(body)) for body in (b"a", b"a", b"b"))
    assert first == again != other
    assert first[0] == first[-1] == '"'
    assert len(first) == 34


def test_who_has_the_answer_gets_304_without_a_body(ask):
    etag = etag_of(ask, view())
    response = ask(view(), If_None_Match=etag)
    assert (response.status_code, response.content) == (304, b"")
    assert response.reason_phrase == "Not Modified"
    assert response.headers["ETag"] == etag


@pytest.mark.parametrize(
    "given", ["{}", "W/{}", '"other", {}', '"other",W/{} ', "*"], ids=str
)
def test_etags_are_compared_weakly(ask, given):
    etag = etag_of(ask, view())
    assert ask(view(), If_None_Match=given.format(etag)).status_code == 304


@pytest.mark.parametrize("given", ['"other"', "", "nonsense", "W/", '"'])
def test_who_has_another_answer_gets_this_one(ask, given):
    response = ask(view(), If_None_Match=given)
    assert (response.status_code, response.content) == (200, b"body")


def test_the_answer_to_head_is_that_of_get(ask):
    etag = etag_of(ask, view())
    assert ask(view(), "HEAD").headers["ETag"] == etag
    assert ask(view(), "HEAD", If_None_Match=etag).status_code == 304
    assert "ETag" not in ask(view(b""), "HEAD").headers


KEPT = {
    "Cache-Control": "private, max-age=5",
    "Content-Location": "/there",
    "Content-Security-Policy": "default-src 'none'",
    "Date": "Fri, 15 Jan 2027 08:00:00 GMT",
    "Expires": "Fri, 15 Jan 2027 09:00:00 GMT",
    "RateLimit": '"user";r=5;t=1',
    "Vary": "Accept, Cookie",
}
DROPPED = {
    "Content-Type": "text/plain",
    "Content-Length": "4",
    "Content-Language": "en",
    "Content-Disposition": "attachment",
    "Content-Encoding": "identity",
}


def test_304_has_all_but_what_describes_a_body(ask):
    def answer(request):
        response = HttpResponse(b"body", headers={**KEPT, **DROPPED})
        response.set_cookie("seen", "1")
        return response

    etag = etag_of(ask, answer)
    response = ask(answer, If_None_Match=etag)
    assert dict(response.items()) == {**KEPT, "ETag": etag}
    assert response.cookies["seen"].value == "1"


@pytest.mark.parametrize(
    "answer",
    [
        view(status=201),
        view(status=404),
        view(status=500),
        view(b""),
        view(Cache_Control="private, No-Store"),
        lambda request: StreamingHttpResponse([b"body"]),
    ],
    ids=["201", "404", "500", "empty", "no-store", "stream"],
)
def test_what_is_not_to_be_kept_has_no_etag(ask, answer):
    response = ask(answer, If_None_Match="*")
    assert "ETag" not in response.headers
    assert response.status_code != 304


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_what_changes_something_is_left_alone(ask, method):
    etag = etag_of(ask, view())
    for condition in ("If_Match", "If_None_Match"):
        for given in (etag, '"other"', "*"):
            response = ask(view(ETag=etag), method, **{condition: given})
            assert (response.status_code, response.content) == (200, b"body")
    assert "ETag" not in ask(view(), method).headers


def test_the_etag_of_a_view_is_kept_and_heeded(ask):
    answer = view(ETag='W/"mine"', Cache_Control="no-store")
    assert etag_of(ask, answer) == 'W/"mine"'
    assert ask(answer, If_None_Match='"mine"').status_code == 304


def test_large_answers_are_not_hashed(ask, perfguard):
    perfguard(CONDITIONAL_GET_MAX_BYTES=4)
    assert "ETag" in ask(view(b"1234")).headers
    assert "ETag" not in ask(view(b"12345")).headers


def test_off_it_does_nothing(ask, perfguard):
    etag = etag_of(ask, view())
    perfguard(CONDITIONAL_GET_ENABLED=False)
    response = ask(view(ETag=etag), If_None_Match=etag)
    assert response.status_code == 200
    assert "ETag" not in ask(view()).headers


# -- dates, and their order with ETags: RFC 9110, section 13.2.2 -----------------------

NEW, OLD = http_date(NOON), http_date(NOON - 60)


@pytest.mark.parametrize(
    ("conditions", "status"),
    [
        ({"If_Modified_Since": NEW}, 304),
        ({"If_Modified_Since": OLD}, 200),
        ({"If_Modified_Since": "nonsense"}, 200),
        ({"If_Modified_Since": NEW, "If_None_Match": '"other"'}, 200),
        ({"If_Modified_Since": OLD, "If_None_Match": '"mine"'}, 304),
        ({"If_Unmodified_Since": NEW}, 200),
        ({"If_Unmodified_Since": OLD}, 412),
        ({"If_Match": '"mine"'}, 200),
        ({"If_Match": '"other"'}, 412),
        ({"If_Match": '"mine"', "If_Unmodified_Since": OLD}, 200),
        ({"If_Match": '"mine"', "If_None_Match": '"mine"'}, 304),
    ],
    ids=str,
)
def test_conditions_are_taken_in_order(ask, conditions, status):
    answer = view(ETag='"mine"', Last_Modified=NEW)
    assert ask(answer, **conditions).status_code == status


def test_a_wrong_date_of_a_view_is_no_date(ask):
    answer = view(Last_Modified="yesterday")
    assert ask(answer, If_Modified_Since=NEW).status_code == 200


# -- with compression ------------------------------------------------------------------

LONG = b'{"text": "' + b"again and " * 500 + b'"}'


@pytest.fixture(params=["sync", "async"])
def stack(request, rf):
    """Through several middlewares, the outermost first."""

    def run(layers, answer, **headers):
        is_async = request.param == "async"
        named = {name.replace("_", "-"): value for name, value in headers.items()}

        async def aview(given):
            return answer(given)

        found = aview if is_async else answer
        for layer in reversed(layers):
            found = layer(found)
        found = async_to_sync(found) if is_async else found
        return found(rf.get("/", headers=named))

    return run


def page(request):
    return HttpResponse(LONG, headers={"Content-Type": "application/json"})


@pytest.mark.parametrize("compression", [CompressionMiddleware, GZipMiddleware])
def test_inside_compression_the_etag_is_that_of_the_answer(stack, compression):
    layers = [compression, ConditionalGetMiddleware]
    first = stack(layers, page, Accept_Encoding="gzip")
    assert gzip.decompress(first.content) == LONG
    assert first.headers["ETag"].startswith('W/"')
    for coding in ("gzip", "identity"):
        again = stack(
            layers, page, Accept_Encoding=coding, If_None_Match=first.headers["ETag"]
        )
        assert (again.status_code, again.content) == (304, b"")
        assert "Content-Encoding" not in again.headers


def test_outside_compression_the_etag_is_that_of_the_coded_answer(stack, perfguard):
    # Noise that hides the length makes other bytes of it each time.
    perfguard(COMPRESSION_NOISE_BYTES=0)
    layers = [ConditionalGetMiddleware, CompressionMiddleware]
    first = stack(layers, page, Accept_Encoding="gzip")
    assert gzip.decompress(first.content) == LONG
    etag = first.headers["ETag"]
    again = stack(layers, page, Accept_Encoding="gzip", If_None_Match=etag)
    assert (again.status_code, again.content) == (304, b"")
    assert "Accept-Encoding" in again.headers["Vary"]
    plain = stack(layers, page, Accept_Encoding="identity", If_None_Match=etag)
    assert plain.content == LONG


def test_outside_compression_with_noise_an_answer_is_never_wrong(stack):
    layers = [ConditionalGetMiddleware, CompressionMiddleware]
    etag = stack(layers, page, Accept_Encoding="gzip").headers["ETag"]
    for _ in range(5):
        again = stack(layers, page, Accept_Encoding="gzip", If_None_Match=etag)
        assert again.status_code == 304 or gzip.decompress(again.content) == LONG


# -- with DRF --------------------------------------------------------------------------


class Report(APIView):
    authentication_classes = permission_classes = throttle_classes = ()

    def get(self, request):
        return Response({"a": 1}, headers={"RateLimit": '"user";r=5;t=1'})


def test_answers_of_drf_are_rendered_and_keep_their_limits(ask):
    answer = Report.as_view()

    def rendered(request):
        return answer(request).render()

    response = ask(rendered, If_None_Match=etag_of(ask, rendered))
    assert (response.status_code, response.content) == (304, b"")
    assert response.headers["RateLimit"] == '"user";r=5;t=1'
    assert "Content-Type" not in response.headers


def test_json_of_django_too(ask):
    def answer(request):
        return JsonResponse({"a": 1})

    assert ask(answer, If_None_Match=etag_of(ask, answer)).status_code == 304


def test_a_412_keeps_what_is_not_of_the_body(serve, rf):
    def view(request):
        response = HttpResponse("body", headers={"Vary": "Cookie", "RateLimit": "r=1"})
        response.set_cookie("sessionid", "rotated")
        return response

    request = rf.get("/", HTTP_IF_MATCH='"other"')
    answer = serve(ConditionalGetMiddleware, view, request)
    assert (answer.status_code, answer.content) == (412, b"")
    assert (answer["Vary"], answer["RateLimit"]) == ("Cookie", "r=1")
    assert answer.cookies["sessionid"].value == "rotated"
