"""FastJSONParser reads what DRF's JSONParser reads, and refuses what it refuses."""

from __future__ import annotations

import json
from io import BytesIO

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rest_framework.exceptions import APIException
from rest_framework.parsers import JSONParser
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from perfguard.fast_json import codec
from perfguard.fast_json.parsers import FastJSONParser


def outcome(parser, body, context):
    try:
        return repr(parser.parse(BytesIO(body), "application/json", context))
    except APIException as error:
        return error.status_code, str(error.detail)


def assert_same(body, *, strict=True, **context):
    fast, plain = FastJSONParser(), JSONParser()
    fast.strict = plain.strict = strict
    assert outcome(fast, body, context) == outcome(plain, body, context)


TEXTS = {
    "object": b'{"a": [1, 2.5, "x", true, false, null]}',
    "twice": b'{"a": 1, "b": 2, "a": 3}',
    "largest of 64 bits": b"[18446744073709551615, -9223372036854775808]",
    "beyond 64 bits": b'{"a": 18446744073709551616}',
    "beneath 64 bits": b"-9223372036854775809",
    "nineteen digits beneath": b"[-9999999999999999999]",
    "many digits": b"[123456789012345678901234567890]",
    "more digits than Python reads": b"[" + b"1" * 5000 + b"]",
    "digits of a fraction": b"0.12345678901234567890123",
    "digits in text": b'["12345678901234567890123"]',
    "too large a float": b"1e400",
    "too small a float": b"-1e-400",
    "minus nothing": b"[-0, -0.0]",
    "NaN": b"[NaN]",
    "infinity": b'{"a": -Infinity}',
    "lone surrogate": b'"\\ud800"',
    "pair of surrogates": b'"\\ud83d\\ude00"',
    "surrogate in UTF-8": b'"\xed\xa0\x80"',
    "no UTF-8": b'"\xff"',
    "half a character at the end": b'"a"\xc3',
    "byte order mark": b"\xef\xbb\xbf1",
    "nothing": b"",
    "space": b" \t\r\n",
    "form feed": b"\x0c1",
    "control in text": b'"a\nb"',
    "NUL": b"\x00",
    "text after": b"[] x",
    "comma too many": b"[1,]",
    "leading zero": b"01",
    "unfinished": b'{"a": ',
    "key without quotes": b"{a: 1}",
    "single quotes": b"{'a': 1}",
    "bad escape": b'"\\x41"',
    "unfinished escape": b'"\\u12"',
    "900 deep": b"[" * 900,
}
every_text = pytest.mark.parametrize("body", TEXTS.values(), ids=TEXTS)


@every_text
@pytest.mark.parametrize("strict", [True, False], ids=["strict", "lenient"])
def test_every_text_is_read_as_drf_does(body, strict):
    assert_same(body, strict=strict)


@every_text
def test_every_text_without_orjson(body, monkeypatch):
    monkeypatch.setattr(codec, "orjson", None)
    assert_same(body)


@every_text
@pytest.mark.parametrize(
    "charset",
    [
        "UTF-8",
        "utf8",
        "latin-1",
        "utf-16",
        "utf-8-sig",
        "ascii",
        "nonsense",
    ],
)
def test_the_charset_of_the_request_is_heeded(body, charset):
    assert_same(body, encoding=charset)


@given(body=st.binary())
def test_any_bytes_are_read_as_drf_does(body):
    assert_same(body)


# Their time is no multiple of a body's length, or they make a long text of a short one.
SLOW_OR_GROWING = ["punycode", "idna", "utf-7", "zlib", "bz2_codec", "rot13", "cp037"]

numbers = st.from_regex(rb"\A-?[0-9]{1,25}(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?\Z")
words = st.sampled_from(
    [
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b'"',
        b'"a"',
        b"NaN",
        b"null",
        b" ",
        b"\\",
        b"1",
    ]
)


@given(body=numbers)
@example(body=b"-9223372036854775809")
def test_any_number_is_read_as_drf_does(body):
    assert_same(b"[" + body + b"]")


@given(body=st.lists(words, max_size=12).map(b"".join))
def test_anything_that_looks_like_json_is_read_as_drf_does(body):
    assert_same(body)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(value=values, is_ascii=st.booleans(), strict=st.booleans())
def test_any_json_is_read_as_drf_does(value, is_ascii, strict):
    text = json.dumps(value, ensure_ascii=is_ascii)
    assert_same(text.encode("utf-8", "surrogatepass"), strict=strict)


def test_orjson_reads_the_usual_bodies_by_itself(monkeypatch):
    monkeypatch.setattr(JSONParser, "parse", None)
    rows = [{"a": 1.5, "b": "é", "c": [None]}] * 200
    assert FastJSONParser().parse(BytesIO(json.dumps(rows).encode())) == rows


# -- its bounds ------------------------------------------------------------------------


def status(body, **context):
    found = outcome(FastJSONParser(), body, context)
    return found[0] if isinstance(found, tuple) else 200


def deep(depth, inside=b"1"):
    return b"[" * depth + inside + b"]" * depth


@pytest.fixture(params=["orjson", "orjson with no depth", "without orjson"])
def parsed_by(request, monkeypatch):
    if request.param == "without orjson":
        monkeypatch.setattr(codec, "orjson", None)
    if request.param == "orjson with no depth":
        monkeypatch.setattr(codec, "_counts_every_container", lambda: False)


@pytest.mark.parametrize("depth", [1, 2, 100, 254, 300])
@pytest.mark.parametrize("tail", [b"", b" " * codec.SMALL], ids=["small", "large"])
@pytest.mark.usefixtures("parsed_by")
def test_depth_is_bounded_exactly(perfguard, depth, tail):
    perfguard(FAST_JSON_MAX_DEPTH=depth)
    for inside in (b"1", b'"[[[["', b"1" * 30, b'"\\ud800"'):
        assert status(deep(depth, inside) + tail) == 200
        assert status(deep(depth + 1, inside) + tail) == 400


@pytest.mark.usefixtures("parsed_by")
def test_width_is_no_depth(perfguard):
    perfguard(FAST_JSON_MAX_DEPTH=3)
    assert status(b"[" + b",".join([b'{"a":[]}'] * 2000) + b"]") == 200
    assert status(b"[" + b",".join([b'{"a":[[]]}'] * 2000) + b"]") == 400


@pytest.mark.usefixtures("parsed_by")
def test_depth_without_end_is_the_clients_mistake(perfguard):
    perfguard(FAST_JSON_MAX_DEPTH=1_000_000)
    assert status(deep(100_000)) == 400
    assert status(b'{"a":' * 100_000) == 400


@pytest.mark.parametrize("charset", ["utf-16", "utf-32-be", "latin-1"])
def test_depth_is_hidden_by_no_charset(perfguard, charset):
    perfguard(FAST_JSON_MAX_DEPTH=10)
    for depth, wanted in ((10, 200), (11, 400)):
        body = deep(depth).decode().encode(charset)
        assert status(body, encoding=charset) == wanted


@pytest.mark.parametrize("charset", [*SLOW_OR_GROWING, "nonsense", "a\0b"])
def test_a_charset_that_is_read_slowly_or_grows_is_refused(charset):
    assert status(b"[1]", encoding=charset) == 400


def test_depth_is_hidden_by_nothing_in_text(perfguard):
    perfguard(FAST_JSON_MAX_DEPTH=10)
    body = b'["]",' * 11 + b"1" + b', "["]' * 11
    json.loads(body)
    assert status(body) == 400


def test_orjson_counts_depth_as_the_parser_relies_on():
    """If not, depth is counted level by level, which is slower, and as right."""
    codec._counts_every_container.cache_clear()
    assert codec._counts_every_container()
    assert not codec._refuses(None, codec.WRITTEN)


@pytest.mark.parametrize("inmost", [b"[]", b"{}"])
def test_an_empty_container_is_one(perfguard, inmost):
    perfguard(FAST_JSON_MAX_DEPTH=3)
    for tail in (b"", b" " * codec.SMALL):
        assert status(deep(2, inmost) + tail) == 200
        assert status(deep(3, inmost) + tail) == 400


def test_size_is_bounded_exactly(perfguard):
    perfguard(FAST_JSON_MAX_BYTES=10)
    assert status(b"[1]" + b" " * 7) == 200
    assert status(b"[1]" + b" " * 8) == 413


def test_messages_do_not_repeat_the_body():
    for body in TEXTS.values():
        secret = b'{"password": "hunter2", "x": ' + body
        found = outcome(FastJSONParser(), secret, {})
        assert "hunter2" not in str(found)
        assert found[0] == 400


# -- as DRF calls it -------------------------------------------------------------------


class Unread:
    """The client's side: fails when it is read."""

    def read(self, *args):
        raise AssertionError("read")


@pytest.fixture
def post():
    class View(APIView):
        authentication_classes = permission_classes = throttle_classes = ()
        parser_classes = (FastJSONParser,)

        def post(self, request):
            found = request.data
            return Response({"data": found, "body": len(request._request.body)})

    def ask(body, **meta):
        request = APIRequestFactory().post(
            "/", body, content_type="application/json", **meta
        )
        if body is None:
            request._stream = Unread()
        return View.as_view()(request)

    return ask


def test_a_view_reads_it_and_may_read_the_body_again(post):
    response = post(b'{"a": 1}')
    assert response.data == {"data": {"a": 1}, "body": 8}


def test_a_view_answers_400_to_what_is_no_json(post):
    response = post(b"{")
    assert response.status_code == 400
    assert "JSON parse error" in response.data["detail"]


def test_a_body_that_is_said_to_be_too_large_is_not_read(post, perfguard):
    perfguard(FAST_JSON_MAX_BYTES=100)
    response = post(None, CONTENT_LENGTH="101")
    assert response.status_code == 413
    assert response.data["detail"].code == "too_large"


def test_djangos_own_bound_holds_too(post, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    assert post(b"[" + b" " * 10 + b"]").status_code == 413


def test_no_body_is_no_data(post):
    assert post(b"").data == {"data": {}, "body": 0}
