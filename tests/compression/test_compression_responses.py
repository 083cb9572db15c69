"""Which responses are compressed, and what is said of them."""

from __future__ import annotations

import io

import pytest
from django.http import FileResponse, HttpResponse, JsonResponse, StreamingHttpResponse
from django.middleware.http import ConditionalGetMiddleware
from rest_framework.response import Response
from rest_framework.views import APIView

from perfguard.compression.codecs import LEVELS, new_compressor
from perfguard.compression.middleware import CompressionMiddleware
from perfguard.http.conditional import (
    ConditionalGetMiddleware as OurConditionalGetMiddleware,
)
from tests.compression.compression_decoders import decoded, each_coding

LONG = b"a page that repeats itself, " * 100
MIXED = b"".join(b"%d," % (number * number % 9973) for number in range(500))
ETAG = '"abc"'


def page(body=LONG, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    headers.setdefault("Content-Type", "text/plain")
    return HttpResponse(body, headers=headers)


def is_identity(response, body=LONG):
    return "Content-Encoding" not in response.headers and response.content == body


@each_coding
def test_a_page_is_compressed(ask, coding):
    response = ask(page(), coding)
    assert response.headers["Content-Encoding"] == coding
    assert response.headers["Content-Length"] == str(len(response.content))
    assert response.headers["Vary"] == "Accept-Encoding"
    assert len(response.content) < len(LONG)
    assert decoded(coding, response.content) == LONG


def test_the_client_and_then_the_settings_choose_the_coding(ask, perfguard):
    assert ask(page(), "gzip, br, zstd").headers["Content-Encoding"] == "zstd"
    assert ask(page(), "gzip, br;q=0.9").headers["Content-Encoding"] == "gzip"
    perfguard(COMPRESSION_CODINGS=["gzip", "br"])
    assert ask(page(), "gzip, br, zstd").headers["Content-Encoding"] == "gzip"
    assert is_identity(ask(page(), "zstd"))


def test_499_bytes_are_sent_as_they_are_and_500_are_not(ask):
    short, long = ask(page(b"x" * 499)), ask(page(b"x" * 500))
    assert is_identity(short, b"x" * 499)
    assert "Vary" not in short.headers
    assert decoded("zstd", long.content) == b"x" * 500


def test_a_body_above_the_highest_size_passes(ask, perfguard):
    perfguard(COMPRESSION_MAX_BYTES=len(LONG))
    assert ask(page()).headers["Content-Encoding"] == "zstd"
    perfguard(COMPRESSION_MAX_BYTES=len(LONG) - 1)
    assert is_identity(ask(page()))


def test_switched_off_the_next_request_is_identity(ask, perfguard, serve, rf):
    middleware = CompressionMiddleware(lambda request: page())
    request = rf.get("/", headers={"Accept-Encoding": "gzip"})
    assert middleware(request).headers["Content-Encoding"] == "gzip"
    perfguard(COMPRESSION_ENABLED=False)
    off = middleware(request)
    assert is_identity(off)
    assert "Vary" not in off.headers
    perfguard(COMPRESSION_ENABLED=True)
    assert middleware(request).headers["Content-Encoding"] == "gzip"


@pytest.mark.parametrize(
    "kind",
    [
        "text/html; charset=utf-8",
        "TEXT/HTML",
        "application/json",
        "Application/JSON ; charset=utf-8",
        "application/vnd.api+json",
        "application/problem+json; charset=utf-8",
        "image/svg+xml",
        "text/event-stream",
        "application/wasm",
    ],
)
def test_types_that_are_worth_it(ask, kind):
    assert "Content-Encoding" in ask(page(Content_Type=kind)).headers


@pytest.mark.parametrize(
    "kind",
    [
        "image/png",
        "font/woff2",
        "application/zip",
        "application/gzip",
        "application/octet-stream",
        "application/pdf",
        "video/mp4",
        "multipart/byteranges; boundary=x",
        "application/jsonx",
        "image/png; x=application/json",
        "nonsense",
        "",
    ],
)
def test_types_that_are_not(ask, kind):
    response = ask(page(Content_Type=kind))
    assert is_identity(response)
    assert "Vary" not in response.headers


def test_a_response_without_a_type_passes(ask):
    response = page()
    del response.headers["Content-Type"]
    assert is_identity(ask(response))


def test_the_types_are_a_setting(ask, perfguard):
    perfguard(COMPRESSION_TYPES=["Application/PDF", "+cbor", "model/*"])
    for kind in ("application/pdf", "application/senml+cbor", "model/obj"):
        assert "Content-Encoding" in ask(page(Content_Type=kind)).headers
    assert is_identity(ask(page()))


@pytest.mark.parametrize("status", [101, 103, 199, 204, 205, 206, 304])
def test_statuses_that_are_never_touched(ask, status):
    response = page(ETag=ETAG)
    response.status_code = status
    before = dict(response.headers)
    answer = ask(response, If_None_Match=ETAG)
    assert is_identity(answer)
    # A 304 says by what the 200 varies (RFC 9110, section 15.4.5).
    expected = before | ({"Vary": "Accept-Encoding"} if status == 304 else {})
    assert dict(answer.headers) == expected


@pytest.mark.parametrize("status", [200, 201, 400, 404, 429, 500, 503])
def test_statuses_that_are_compressed(ask, status):
    response = page()
    response.status_code = status
    assert "Content-Encoding" in ask(response).headers


@pytest.mark.parametrize(
    "header",
    [
        ("Content-Encoding", "br"),
        ("Content-Encoding", "gzip, identity"),
        ("Content-Encoding", ""),
        ("Content-Range", "bytes 0-99/5000"),
        ("Cache-Control", "no-transform"),
        ("Cache-Control", "max-age=60, No-Transform"),
        ("Content-Digest", "sha-256=:AAAA:"),
        ("Repr-Digest", "sha-256=:AAAA:"),
        ("content-md5", "AAAA"),
    ],
    ids=" ".join,
)
def test_headers_that_keep_a_body_as_it_is(ask, header):
    response = page()
    response.headers[header[0]] = header[1]
    before = dict(response.headers)
    answer = ask(response)
    assert answer.content == LONG
    assert dict(answer.headers) == before


def test_a_coding_called_identity_is_none(ask):
    response = ask(page(Content_Encoding="Identity"))
    assert response.headers["Content-Encoding"] == "zstd"


@pytest.mark.parametrize(
    "accept", ["", "identity", "gzip;q=0", "deflate", "x" * 10_000]
)
def test_vary_is_told_to_who_gets_the_identity(ask, accept):
    response = ask(page(), accept)
    assert is_identity(response)
    assert response.headers["Vary"] == "Accept-Encoding"


def test_vary_is_told_of_what_could_not_be_made_smaller(ask, perfguard):
    perfguard(COMPRESSION_MIN_BYTES=0)
    response = ask(page(b"tiny", Content_Length="4"))
    assert is_identity(response, b"tiny")
    assert response.headers["Vary"] == "Accept-Encoding"
    assert response.headers["Content-Length"] == "4"


@pytest.mark.parametrize(
    ("vary", "wanted"),
    [
        ("*", "*"),
        ("Cookie", "Cookie, Accept-Encoding"),
        ("accept-encoding", "accept-encoding"),
        ("Cookie, Accept-Encoding", "Cookie, Accept-Encoding"),
    ],
)
def test_vary_is_added_to_what_is_there(ask, vary, wanted):
    assert ask(page(Vary=vary)).headers["Vary"] == wanted


# -- HEAD ------------------------------------------------------------------------


@pytest.mark.parametrize("body", [LONG, b""], ids=["whole", "empty"])
def test_a_head_has_no_coding_and_no_length_that_get_would_not_have(ask, body):
    response = page(body, Content_Length=str(len(LONG)), ETag=ETAG)
    head = ask(response, method="HEAD")
    assert is_identity(head, body)
    assert "Content-Length" not in head.headers
    assert head.headers["ETag"] == f"W/{ETAG}"
    assert head.headers["Vary"] == "Accept-Encoding"


def test_a_head_of_what_stays_as_it_is_keeps_its_length(ask):
    short = ask(page(b"", Content_Length="499"), method="HEAD")
    assert short.headers["Content-Length"] == "499"
    identity = ask(page(b"", Content_Length="5000"), "identity", method="HEAD")
    assert identity.headers["Content-Length"] == "5000"
    image = page(b"", Content_Length="5000", Content_Type="image/png")
    assert ask(image, method="HEAD").headers["Content-Length"] == "5000"


# -- ETag ------------------------------------------------------------------------


def test_a_strong_etag_becomes_weak(ask):
    assert ask(page(ETag=ETAG)).headers["ETag"] == 'W/"abc"'
    assert ask(page(ETag='W/"abc"')).headers["ETag"] == 'W/"abc"'
    assert ask(page(ETag=ETAG), "identity").headers["ETag"] == ETAG


each_conditional = pytest.mark.parametrize(
    "conditional",
    [ConditionalGetMiddleware, OurConditionalGetMiddleware],
    ids=["django", "perfguard"],
)


def inside(conditional):
    return lambda view: CompressionMiddleware(conditional(view))


def outside(conditional):
    return lambda view: conditional(CompressionMiddleware(view))


@pytest.mark.parametrize("order", [inside, outside])
@each_conditional
@each_coding
def test_the_weak_etag_is_answered_with_304(serve, rf, order, conditional, coding):
    def get(**headers):
        request = rf.get("/", headers={"Accept-Encoding": coding, **headers})
        return serve(order(conditional), lambda _: page(ETag=ETAG), request)

    first = get()
    assert decoded(coding, first.content) == LONG
    again = get(If_None_Match=first.headers["ETag"])
    assert again.status_code == 304
    assert again.content == b""
    assert "Content-Encoding" not in again.headers
    # Those of the response that the client has stored: RFC 9111, section 4.3.4.
    assert again.headers["ETag"] == first.headers["ETag"] == 'W/"abc"'
    assert again.headers["Vary"] == "Accept-Encoding"


def test_a_304_for_who_stored_the_identity_keeps_the_strong_etag(serve, rf):
    request = rf.get("/", headers={"Accept-Encoding": "gzip", "If-None-Match": ETAG})
    answer = serve(inside(ConditionalGetMiddleware), lambda _: page(ETag=ETAG), request)
    assert answer.status_code == 304
    assert answer.headers["ETag"] == ETAG


@each_conditional
def test_an_etag_made_of_the_content_matches_again(serve, rf, conditional):
    headers = {"Accept-Encoding": "zstd"}
    first = serve(inside(conditional), lambda _: page(), rf.get("/", headers=headers))
    headers["If-None-Match"] = first.headers["ETag"]
    again = serve(inside(conditional), lambda _: page(), rf.get("/", headers=headers))
    assert again.status_code == 304


# -- BREACH ----------------------------------------------------------------------


@each_coding
def test_with_noise_the_length_of_one_page_is_many(ask, coding):
    responses = [ask(page(), coding) for _ in range(200)]
    assert all(decoded(coding, each.content) == LONG for each in responses)
    lengths = {len(each.content) for each in responses}
    assert len(lengths) > 20
    assert {each.headers["Content-Length"] for each in responses} == set(
        map(str, lengths)
    )


@each_coding
def test_without_noise_it_is_one(ask, coding, perfguard):
    perfguard(COMPRESSION_NOISE_BYTES=0)
    assert len({len(ask(page(), coding).content) for _ in range(20)}) == 1


@each_coding
def test_a_stream_has_noise_as_well(ask, coding):
    def length():
        chunks = StreamingHttpResponse(iter([LONG]), content_type="text/plain")
        return len(ask(chunks, coding).getvalue())

    assert len({length() for _ in range(100)}) > 20


# -- Kinds of response -----------------------------------------------------------


def test_json_and_drf(ask, rf):
    class View(APIView):
        authentication_classes = permission_classes = throttle_classes = ()

        def get(self, request):
            return Response({"word": "again " * 200})

    assert "Content-Encoding" in ask(JsonResponse({"word": "again " * 200})).headers
    response = View.as_view()(rf.get("/")).render()
    assert decoded("zstd", ask(response).content).startswith(b'{"word":')


@each_coding
def test_a_file_is_compressed_and_offers_no_ranges(ask, coding):
    response = FileResponse(io.BytesIO(LONG), content_type="text/csv")
    response.headers["Accept-Ranges"] = "bytes"
    answer = ask(response, coding)
    assert answer.headers["Content-Encoding"] == coding
    assert "Content-Length" not in answer.headers
    assert "Accept-Ranges" not in answer.headers
    # WSGI's way around the middleware is closed.
    assert answer.file_to_stream is None
    assert decoded(coding, answer.getvalue()) == LONG


@pytest.mark.parametrize("name", ["it.png", "it.zip", "it.csv.gz", "it.bin"])
def test_a_file_of_another_type_is_not_touched(ask, name):
    file = io.BytesIO(LONG)
    answer = ask(FileResponse(file, filename=name))
    assert answer.file_to_stream is file
    assert answer.headers["Content-Length"] == str(len(LONG))


def test_the_sizes_count_for_a_file(ask, perfguard):
    def get(size):
        file = FileResponse(io.BytesIO(b"x" * size), content_type="text/csv")
        return "Content-Encoding" in ask(file).headers

    perfguard(COMPRESSION_MAX_BYTES=2000)
    assert [get(size) for size in (0, 499, 500, 2000, 2001)] == [
        False,
        False,
        True,
        True,
        False,
    ]


def test_a_range_of_a_file_is_not_touched(ask):
    response = FileResponse(io.BytesIO(LONG), content_type="text/csv", status=206)
    response.headers["Content-Range"] = f"bytes 0-{len(LONG) - 1}/9999"
    before = dict(response.headers)
    answer = ask(response)
    assert dict(answer.headers) == before
    assert answer.getvalue() == LONG


@pytest.mark.parametrize("length", ["junk", "-1", "1e9"])
def test_a_length_that_is_none_is_no_fault(ask, length):
    response = StreamingHttpResponse(iter([LONG]), content_type="text/plain")
    response.headers["Content-Length"] = length
    assert decoded("zstd", ask(response).getvalue()) == LONG


@each_coding
def test_levels_are_a_setting(ask, perfguard, coding):
    for level in LEVELS[coding]:
        perfguard(COMPRESSION_NOISE_BYTES=0, COMPRESSION_LEVELS={coding: level})
        compressor = new_compressor(coding, level, size=len(MIXED))
        wanted = compressor.compress(MIXED) + compressor.finish()
        assert ask(page(MIXED), coding).content == wanted


def test_levels_that_are_not_set_are_the_usual_ones(ask, perfguard):
    perfguard(COMPRESSION_NOISE_BYTES=0)
    usual = len(ask(page(MIXED), "br").content)
    perfguard(COMPRESSION_NOISE_BYTES=0, COMPRESSION_LEVELS={"gzip": 1})
    assert len(ask(page(MIXED), "br").content) == usual
    perfguard(COMPRESSION_NOISE_BYTES=0, COMPRESSION_LEVELS={"br": 11})
    assert len(ask(page(MIXED), "br").content) < usual
