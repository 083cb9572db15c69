"""A secret, wherever it is planted and however it is written and cut, is never kept."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfguard.redaction.bodies import redact_body, redact_headers
from perfguard.redaction.patterns import redact_text
from perfguard.redaction.urls import redact_url
from tests.redaction.redaction_documents import (
    DOCUMENTS,
    LETTERS,
    NAMES,
    PLAIN_NAMES,
    SECRETS,
    TOKENS,
    VALUES,
    WORDS,
    event_texts,
    forms_of,
    json_texts,
    line_texts,
    multipart_texts,
    pairs_texts,
    plain_texts,
    xml_texts,
)

FUZZ = settings(
    max_examples=100, deadline=None, suppress_health_check=list(HealthCheck)
)
KINDS = sorted(DOCUMENTS)


def assert_gone(secret, kept):
    assert not [form for form in forms_of(secret) if form in kept], (secret, kept)


@pytest.mark.parametrize("content_type", KINDS)
@FUZZ
@given(data=st.data())
def test_a_secret_in_a_body_is_never_kept(content_type, data):
    secrets, documents = DOCUMENTS[content_type]
    secret = data.draw(secrets)
    raw = data.draw(documents(secret)).encode()
    limit = data.draw(st.integers(0, 2 * len(raw)))
    kept, is_cut = redact_body(raw, content_type, complete=True, limit=limit)
    assert_gone(secret, kept)
    assert len(kept.encode()) <= limit
    assert is_cut or kept


@pytest.mark.parametrize("content_type", KINDS)
@FUZZ
@given(data=st.data())
def test_a_secret_in_a_body_that_was_cut_is_never_kept(content_type, data):
    secrets, documents = DOCUMENTS[content_type]
    secret = data.draw(secrets)
    raw = data.draw(documents(secret)).encode()
    captured = raw[: data.draw(st.integers(0, len(raw) - 1))]
    limit = data.draw(st.integers(0, 2 * len(raw)))
    kept, is_cut = redact_body(captured, content_type, complete=False, limit=limit)
    assert_gone(secret, kept)
    assert is_cut
    assert len(kept.encode()) <= limit


@FUZZ
@given(SECRETS, st.data())
def test_a_secret_in_a_query_string_is_never_kept(secret, data):
    query = data.draw(pairs_texts(secret))
    assert_gone(secret, redact_url("/a/b", query))


@FUZZ
@given(TOKENS, PLAIN_NAMES, WORDS)
def test_a_secret_in_a_path_is_never_kept(secret, name, word):
    assert_gone(secret, redact_url(f"/a;{name}={secret}/{word}", ""))
    jwt = f"eyJhbGciOiJIUzI1NiJ9.{secret.translate(LETTERS)}"
    assert_gone(secret, redact_url(f"/a/{jwt}/{word}", ""))


@FUZZ
@given(TOKENS, PLAIN_NAMES, WORDS)
def test_a_secret_in_a_header_is_never_kept(secret, name, word):
    kept = redact_headers(
        [
            ("Authorization", f"Bearer {secret}"),
            ("Proxy-Authorization", f"{secret} {word}"),
            ("Cookie", f"{word}={secret}; {secret}"),
            ("Set-Cookie", f"{word}={secret}; Path=/; HttpOnly"),
            ("Set-Cookie", f"a=b; Path=/, {word}={secret}; Secure"),
            (f"X-{name}", secret),
            (
                "Location",
                f"https://user:{secret}@host/?a=b&{name}={secret}#{name}={secret}",
            ),
            ("Referer", f"/?code={secret}"),
            ("Link", f'<https://host/?{name}={secret}>; rel="next"'),
            ("X-Note", f"it was {name}={secret}"),
            ("Sec-WebSocket-Protocol", f"perfguard.bearer, {secret}"),
        ]
    )
    assert_gone(secret, kept)
    assert len(json.loads(kept)) == 10


@FUZZ
@given(TOKENS, st.data())
def test_a_secret_in_free_text_is_never_kept(secret, data):
    assert_gone(secret, redact_text(data.draw(plain_texts(secret))))


@FUZZ
@given(SECRETS, NAMES)
def test_the_name_of_a_secret_stays(secret, name):
    body = json.dumps({"a": 1, name: secret, "b": 2}, ensure_ascii=False).encode()
    kept, _ = redact_body(body, "application/json", complete=True, limit=4096)
    assert json.loads(kept) == {"a": 1, name: "********", "b": 2}


@FUZZ
@given(st.data())
def test_what_is_json_stays_json(data):
    raw = data.draw(json_texts(data.draw(SECRETS))).encode()
    kept, _ = redact_body(raw, "application/json", complete=True, limit=65536)
    json.loads(kept)


@FUZZ
@given(VALUES, st.sampled_from([None, 1, 4]), st.booleans())
def test_innocent_json_stays_as_it_is(value, indent, is_ascii):
    text = json.dumps(value, indent=indent, ensure_ascii=is_ascii)
    kept = redact_body(text.encode(), "application/json", complete=True, limit=65536)
    assert kept == (text, False)


INNOCENT_TEXT = st.lists(WORDS | st.sampled_from(["ä", "漢字", "12.5", "a-b", "(c)"]))


@FUZZ
@given(INNOCENT_TEXT, st.sampled_from([" ", "\n", ", ", "/"]))
@pytest.mark.parametrize(
    "kind", ["text/plain", "text/html", "text/event-stream", "text/csv"]
)
def test_innocent_text_stays_as_it_is(kind, words, between):
    text = between.join(words)
    kept = redact_body(text.encode(), kind, complete=True, limit=65536)
    assert kept == (text, False)


@FUZZ
@given(
    st.lists(st.tuples(WORDS, WORDS | st.sampled_from(["%C3%A4", "a+b", "%zz", "[]"])))
)
def test_innocent_pairs_stay_as_they_are(pairs):
    text = "&".join(f"{name}={value}" for name, value in pairs)
    kind = "application/x-www-form-urlencoded"
    assert redact_body(text.encode(), kind, complete=True, limit=65536)[0] == text
    assert redact_url("/a", text) == (f"/a?{text}" if text else "/a")


PIECES = st.sampled_from(
    [
        *(
            '"',
            "\\",
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            "\\u00",
            "\ud83d\udd11",
            "null",
            "-1",
        ),
        *(
            "<",
            ">",
            "</",
            "<!--",
            "]]>",
            "<![CDATA[",
            "&#x41;",
            "data:",
            "\r\n",
            "\n\n",
        ),
        *(
            "--limit",
            "--limit--",
            'Content-Disposition: form-data; name="',
            "=",
            "&",
            "%",
        ),
        *(
            "password",
            "eyJ",
            "-----BEGIN",
            "://",
            "@",
            "Bearer ",
            "\x00",
            "\ufffd",
            "ß",
        ),
    ]
)


@pytest.mark.parametrize("content_type", [*KINDS, "", "text/html; charset=idna", "a b"])
@FUZZ
@given(
    st.lists(PIECES | st.text(max_size=3), max_size=30).map("".join)
    | st.binary(max_size=60),
    st.booleans(),
    st.integers(0, 80),
)
def test_no_bytes_raise(content_type, text, complete, limit):
    raw = text if isinstance(text, bytes) else text.encode(errors="surrogatepass")
    kept, is_cut = redact_body(raw, content_type, complete=complete, limit=limit)
    assert len(kept.encode()) <= limit
    assert is_cut or complete


@FUZZ
@given(st.text(), st.text(), st.text())
def test_no_url_and_no_header_raises(one, two, three):
    assert isinstance(redact_url(one, two), str)
    json.loads(redact_headers([(one, two), ("Link", two), ("Set-Cookie", three)]))


def test_every_kind_has_documents():
    makers = {maker for _, maker in DOCUMENTS.values()}
    assert makers == {
        *(json_texts, line_texts, pairs_texts, multipart_texts, xml_texts),
        *(event_texts, plain_texts),
    }
