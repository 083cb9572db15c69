"""Whatever a header, a token or an API key says, there is an answer, and no fault."""

from __future__ import annotations

import base64
import contextlib
import hmac
import json
from zlib import crc32

import pytest
from django.conf import settings
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from perfguard.api_keys.keys import ALPHABET, CHECKSUM_LENGTH, parse
from perfguard.exceptions import InvalidCredential, InvalidLifetime
from perfguard.http.client_ip import client_ip
from perfguard.http.credentials import authorization, single
from perfguard.lifetimes import read_lifetime
from perfguard.tokens.claims import read_claims
from perfguard.tokens.tokens import signed_token
from tests.fuzz.shares import API_KEYS, HEADERS, LONGER, TOKENS
from tests.fuzz.sites import EMAIL, PROXY, fuzz

pytestmark = pytest.mark.timeout(120 * LONGER)

V1 = "/api/v1"
DOORS = [
    ("GET", f"{V1}/auths/me"),
    ("GET", f"{V1}/notes"),
    ("GET", f"{V1}/auths/sessions"),
    ("GET", f"{V1}/auths/api-keys"),
    ("GET", f"{V1}/public"),
    ("POST", f"{V1}/notes"),
    ("POST", f"{V1}/auths/signin"),
    ("POST", f"{V1}/auths/signout"),
    ("POST", f"{V1}/auths/refresh"),
    ("DELETE", f"{V1}/auths/sessions/none"),
    ("DELETE", f"{V1}/auths/api-keys/none"),
    ("GET", f"{V1}/nowhere"),
]
doors = st.sampled_from(DOORS)

# -- headers ---------------------------------------------------------------------------

# As WSGI hands octets over.
octets = st.binary(max_size=200).map(lambda raw: raw.decode("latin-1"))
pieces = st.lists(
    st.sampled_from(
        [
            *(
                " ",
                "  ",
                "\t",
                ",",
                ";",
                "=",
                '"',
                ":",
                ".",
                "..",
                "-",
                "_",
                "/",
                "%00",
            ),
            *(
                "\x00",
                "\x0b",
                "\x7f",
                "\xa0",
                "\xff",
                "\xc3\xa9",
                "\u00ad",
                "@",
                "[",
                "]",
            ),
            *("Bearer", "bearer", "Api-Key", "API-KEY", "Basic", "Digest", "pgk_"),
            *(EMAIL, "for=", "unknown", "127.0.0.1", "::1", "[::1]:80", "fe80::1%eth0"),
            *("0x7f.1", "256.1.1.1", "::ffff:10.0.0.1", "9" * 400, "x" * 9000),
        ]
    ),
    max_size=8,
).map("".join)
texts = st.one_of(octets, pieces)
odd_headers = st.fixed_dictionaries(
    {},
    optional={
        "authorization": st.one_of(
            texts,
            st.tuples(st.sampled_from(["Bearer ", "Api-Key ", "bEARER\t"]), texts).map(
                "".join
            ),
        ),
        "x_api_key": texts,
        "x_email": texts,
        "x_name": texts,
        "x_role": st.one_of(texts, st.sampled_from(["admin", "pending", "ADMIN "])),
        "x_forwarded_for": texts,
        "x_forwarded_host": texts,
        "x_forwarded_proto": texts,
        "forwarded": texts,
        "x_real_ip": texts,
        # Not any text: DRF answers 406 to that, and looks at nothing else.
        "accept": st.sampled_from(["*/*", "application/json", "text/html, */*;q=0.1"]),
        "origin": texts,
        "user_agent": texts,
        "cookie": texts,
    },
)

bodies = st.one_of(
    st.binary(max_size=60),
    st.integers(1, 4000).map(lambda depth: b'{"email":' * depth + b"1" + b"}" * depth),
    st.sampled_from(
        [
            b'{"email":"ada@example.com","password":"a-long-demo-password"}',
            b'{"email":"a\\u0000@b.c","password":"\\ud800"}',
            b'{"email":NaN,"password":1e999,"refresh":-0.0,"token":{}}',
            b'{"email":' + b"9" * 5000 + b"}",
            b'{"refresh":[],"token":null,"label":"\\u202e","endpoints":{}}',
            b'{"label":"x","expires_at":"9999-12-31T23:59:59-23:59","endpoints":[""]}',
            b'"ada@example.com"',
            b"\xef\xbb\xbf{}",
        ]
    ),
)


def test_headers_of_any_octets(site):
    @fuzz(HEADERS)
    @given(door=doors, headers=odd_headers, body=bodies)
    def run(door, headers, body):
        site.ask(*door, body, **headers)

    run()
    assert site.answers >= HEADERS * LONGER
    assert site.let_in > 0.04, site.statuses


# -- tokens ----------------------------------------------------------------------------

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=70)
    | st.sampled_from([2**63 - 1, 2**63, -1, 10**400, 253_402_214_400, "1", "\x00"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
CLAIMS = ("sub", "jti", "sid", "gen", "exp", "iat", "nbf", "token_type", "aud", "iss")
odd_claims = st.dictionaries(
    st.sampled_from(CLAIMS), json_values, min_size=1, max_size=2
)
missing = st.sets(st.sampled_from(CLAIMS), min_size=1, max_size=2)
odd_joses = st.dictionaries(
    st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jku", "x5u", "zip"]),
    st.one_of(json_values, st.sampled_from(["none", "HS256", "RS256", "../key"])),
    min_size=1,
    max_size=2,
)
odd_payloads = st.one_of(
    st.binary(max_size=40),
    st.integers(2, 3000).map(lambda depth: b"[" * depth + b"]" * depth),
    st.integers(2, 1000).map(lambda depth: b'{"a":' * depth + b"1" + b"}" * depth),
    json_values.map(json.dumps).map(str.encode),
)
# One thing at a time: what is wrong in two ways is refused for the first.
ODD = {"odd": {}, "gone": set(), "jose": {}, "payload": None}
tokens = st.one_of(
    odd_claims.map(lambda it: {**ODD, "odd": it}),
    odd_claims.map(lambda it: {**ODD, "odd": it}),
    missing.map(lambda it: {**ODD, "gone": it}),
    odd_joses.map(lambda it: {**ODD, "jose": it}),
    odd_payloads.map(lambda it: {**ODD, "payload": it}),
    st.fixed_dictionaries(
        {
            "odd": odd_claims,
            "gone": missing,
            "jose": odd_joses,
            "payload": st.none(),
        }
    ),
)
token_doors = st.sampled_from(
    [
        ("POST", f"{V1}/auths/refresh", "refresh"),
        ("POST", f"{V1}/auths/refresh", "refresh"),
        ("POST", f"{V1}/auths/signout", "refresh"),
        ("POST", f"{V1}/auths/signout", "access"),
        ("GET", f"{V1}/auths/me", "access"),
        ("GET", f"{V1}/auths/sessions", "access"),
        ("DELETE", f"{V1}/auths/sessions/none", "refresh"),
    ]
)


def test_tokens_whose_signature_is_good(site):
    """As if the key had leaked, or an older release had signed them."""

    @fuzz(TOKENS * 3 // 4)
    @given(door=token_doors, token=tokens)
    def run(door, token):
        *door, kind = door
        good = site.refresh if kind == "refresh" else site.refresh.access_token
        claims = {**good.payload, **token["odd"]}
        kept = {name: it for name, it in claims.items() if name not in token["gone"]}
        payload = token["payload"]
        payload = json.dumps(kept).encode() if payload is None else payload
        present(site, door, signed(token["jose"], payload))

    run()
    assert site.answers >= TOKENS * LONGER * 3 // 4
    assert site.let_in > 0.04, site.statuses


def test_tokens_that_were_changed_on_the_way(site):
    @fuzz(TOKENS // 4)
    @given(door=doors, change=st.data())
    def run(door, change):
        present(site, door, changed(str(site.refresh.access_token), change))

    run()
    assert site.answers >= TOKENS * LONGER // 4


def present(site, door, text):
    """In the header, and where the body of the door has a place for it."""
    body = json.dumps({"refresh": text, "token": text}).encode()
    header = {} if door[1].endswith("refresh") else {"authorization": f"Bearer {text}"}
    site.ask(*door, body, **header)


def signed(jose, payload):
    head = {"alg": "HS256", "typ": "JWT", **jose}
    start = b".".join(map(_base64, (json.dumps(head).encode(), payload)))
    key = settings.SIMPLE_JWT["SIGNING_KEY"].encode()
    return (start + b"." + _base64(hmac.digest(key, start, "sha256"))).decode()


def _base64(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def changed(text, data):
    """With a few of its characters others, more, or fewer."""
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        gone = data.draw(st.integers(0, 2))
        text = text[:at] + data.draw(octets.map(lambda it: it[:2])) + text[at + gone :]
    return text


# -- API keys --------------------------------------------------------------------------

letters = st.text(st.sampled_from(ALPHABET), min_size=0, max_size=60)
exact = st.tuples(
    st.text(st.sampled_from(ALPHABET), min_size=12, max_size=12),
    st.text(st.sampled_from(ALPHABET), min_size=43, max_size=43),
)


def with_checksum(parts):
    start = "pgk_" + "_".join(parts)
    number, digits = crc32(start.encode()), []
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, 62)
        digits.append(ALPHABET[digit])
    return start + "".join(reversed(digits))


odd_keys = st.one_of(
    exact.map(with_checksum),  # as good as any, but nobody's
    st.tuples(letters, letters).map(with_checksum),
    st.tuples(letters, texts).map("_".join).map("pgk_{}".format),
    texts,
)


def test_api_keys_of_any_text(site):
    @fuzz(API_KEYS)
    @given(
        door=doors,
        key=st.one_of(st.none(), odd_keys),
        second=st.one_of(st.none(), odd_keys),
        scheme=st.sampled_from(["Api-Key ", "bearer ", "API-KEY\t", ""]),
        is_near=st.booleans(),
        change=st.data(),
    )
    def run(door, key, second, scheme, is_near, change):
        own = changed(site.key.text, change) if is_near else site.key.text
        headers = {"x_api_key": own if key is None else key}
        if second is not None:
            headers = {"authorization": scheme + second, **headers}
        site.ask(*door, **headers)

    run()
    assert site.answers >= API_KEYS * LONGER
    assert site.let_in > 0.04, site.statuses


# -- what reads them, without a site around it -----------------------------------------


@fuzz(1000)
@given(text=st.one_of(odd_keys, st.text(max_size=120)))
def test_an_api_key_is_parsed_or_refused(text):
    with contextlib.suppress(InvalidCredential):
        assert with_checksum(vars_of(parse(text))) == text


def vars_of(credential):
    return credential.key_id, credential.secret


@fuzz(1000)
@given(text=st.one_of(texts, st.text(max_size=60)))
def test_an_authorization_header_is_read_or_refused(text):
    request = RequestFactory().get("/", HTTP_AUTHORIZATION=text)
    with contextlib.suppress(InvalidCredential):
        found = authorization(request)
        assert found is None or found.scheme == found.scheme.lower()
        assert found is None or " " not in single(found.value)


@fuzz(1000)
@given(claims=st.dictionaries(st.sampled_from(CLAIMS), json_values))
def test_claims_are_read_or_refused(claims):
    with contextlib.suppress(InvalidCredential):
        assert read_claims(claims, "sub").user_key == claims["sub"]


@fuzz(1000)
@given(raw=st.one_of(json_values, st.binary(max_size=80), pieces))
def test_nothing_but_a_token_is_a_token(raw):
    assert signed_token(raw) is None


@fuzz(1000)
@given(text=st.one_of(pieces, st.text(max_size=20), st.from_regex(r"-?\d*[a-z]{0,2}")))
def test_a_lifetime_is_read_or_refused(text):
    with contextlib.suppress(InvalidLifetime):
        found = read_lifetime(text)
        assert found is None or found.total_seconds() > 0


def test_an_address_is_found_whatever_is_forwarded(perfguard):
    perfguard(TRUSTED_PROXIES=[PROXY, "unix"])

    @fuzz(1000)
    @given(peer=st.one_of(st.sampled_from([PROXY, ""]), texts), forwarded=texts)
    def run(peer, forwarded):
        headers = {"REMOTE_ADDR": peer, "HTTP_X_FORWARDED_FOR": forwarded}
        found = client_ip(RequestFactory().get("/", **headers))
        assert found is None or found.version in {4, 6}

    run()
