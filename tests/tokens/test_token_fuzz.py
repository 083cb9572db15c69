"""Whatever is presented: 200, 401 or 503, and never an exception."""

from __future__ import annotations

import json
import os
import time

import pytest
from django.test import Client, RequestFactory
from hypothesis import HealthCheck, example, given
from hypothesis import settings as bounds
from hypothesis import strategies as st

from perfguard.exceptions import InvalidCredential
from perfguard.http.credentials import authorization
from perfguard.tokens.authentication import presented_token
from perfguard.tokens.tokens import signed_token
from tests.tokens.doors import (
    BY_REFRESH,
    BY_TOKEN,
    HEADER,
    SIGNING_OUT,
    Mint,
    Pair,
    base64url,
    called,
    get,
    post,
    present,
    segment,
    send,
    sign,
    signature,
    site_key,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]

IN_CI = bool(os.environ.get("CI"))


def bounded(examples):
    return bounds(
        max_examples=examples // 3,
        deadline=None,
        database=None,
        derandomize=IN_CI,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
        ],
    )


@pytest.fixture(autouse=True)
def _doors(settings, api):
    settings.ROOT_URLCONF = "tests.tokens.doors"


@pytest.fixture
def mint(user):
    return Mint(user)


# -- the header ------------------------------------------------------------------------

# What a server may hand over: the octets of a header, as Latin-1.
octets = st.text(st.characters(max_codepoint=255), max_size=60)
nearly = st.lists(
    st.sampled_from(
        ["Bearer", "bearer", "Basic", " ", "\t", ",", "a.b.c", "x", "=", "\xa0", "\x00"]
    )
    | octets,
    max_size=8,
).map("".join)


def asking(value):
    return RequestFactory().get("/", HTTP_AUTHORIZATION=value)


@bounded(6000)
@given(nearly | octets | st.text(max_size=60))
def test_a_header_is_read_or_refused(value):
    try:
        token = presented_token(asking(value))
    except InvalidCredential:
        return
    assert token is None or (token and token.isascii() and token.isprintable())
    assert token is None or not {" ", ","} & set(token)
    assert token is None or value.strip(" \t").lower().startswith("bearer")


@bounded(3000)
@given(
    scheme=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1),
    value=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1),
    blanks=st.tuples(*[st.text(" ", max_size=3)] * 3),
)
def test_scheme_and_value_are_what_was_sent(scheme, value, blanks):
    before, between, after = blanks
    header = f"{before}{scheme} {between}{value}{after}"
    assert authorization(asking(header)) == (scheme.lower(), value)


@bounded(900)
@given(nearly | octets)
def test_no_header_is_an_exception_at_a_door(value):
    answers = {
        Client().get(f"/{door}", headers={"Authorization": value}).status_code
        for door in ("drf", "sync", "async")
    }
    assert answers == {401}


# -- the text --------------------------------------------------------------------------

places = st.integers(0, 10_000)
letters = st.characters(max_codepoint=255)
edits = st.lists(
    st.one_of(
        st.tuples(st.just("put"), places, letters),
        st.tuples(st.just("insert"), places, letters),
        st.tuples(st.just("cut"), places, st.integers(1, 40)),
        st.tuples(st.just("repeat"), places, st.integers(1, 40)),
        st.tuples(st.just("swap"), places, places),
    ),
    min_size=1,
    max_size=4,
)


EDITS = {
    "put": lambda text, at, what: text[:at] + what + text[at + 1 :],
    "insert": lambda text, at, what: text[:at] + what + text[at:],
    "cut": lambda text, at, what: text[:at] + text[at + what :],
    "repeat": lambda text, at, what: text[: at + what] + text[at:],
    "swap": lambda text, at, what: text[at:] + text[:at] if what % 2 else text[::-1],
}


def edited(text, changes):
    for kind, place, what in changes:
        text = EDITS[kind](text, place % (len(text) + 1), what)
    return text


@bounded(4000)
@given(changes=edits)
def test_no_edit_of_a_token_is_a_token(mint, changes):
    good = mint().access
    text = edited(good, changes)
    # All that may follow is padding, which is not signed and says nothing.
    expected = 200 if text.rstrip("=") == good and len(text) <= len(good) + 2 else 401
    assert called(text) in {expected, 401}
    assert (signed_token(text) is None) == (called(text) == 401)


@bounded(3000)
@given(st.text(max_size=80) | st.binary(max_size=80))
@example("")
@example(b"..")
def test_no_text_is_a_token(text):
    assert called(text) == 401
    assert signed_token(text) is None


# -- what is signed --------------------------------------------------------------------

numbers = (
    st.integers()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.sampled_from([0, -1, 2**31, 2**53, 2**63, 2**64, 10**18, 253_402_300_799])
    | st.sampled_from([253_402_214_399, 253_402_214_400, 10**300])
)
texts = st.text(max_size=70) | st.sampled_from(
    ["", "1", "access", "refresh", "\x00", "\ud800", "0" * 64, "x" * 65, "{1}", "%"]
)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = ["sub", "jti", "sid", "gen", "exp", "iat", "nbf", "iss", "aud", "token_type"]
claims = st.dictionaries(
    st.sampled_from(NAMES) | texts, values | st.just(...), min_size=1, max_size=4
)
headers = st.dictionaries(
    st.sampled_from(["kid", "crit", "b64", "typ", "cty", "jwk", "x"]) | texts,
    values,
    max_size=3,
)


@bounded(4500)
@given(changes=claims)
@example({"exp": 253_402_214_399})
@example({"exp": ..., "sid": ...})
@example({"sub": "9" * 40})
def test_no_claims_are_an_exception(mint, changes):
    odd = mint(**changes)
    assert called(odd.access) in {200, 401}
    assert get("drf", odd.access).status_code in {200, 401}
    signed_token(odd.access)


@bounded(450)
@given(changes=claims)
@example({"exp": 253_402_214_399})
@example({"token_type": "refresh"})
def test_no_claims_are_an_exception_at_any_door(mint, changes):
    assert set(present(mint(**changes)).values()) <= {200, 401}


@bounded(300)
@given(changes=claims)
@example({"exp": 253_402_214_399})
def test_no_claims_are_an_exception_with_redis_and_a_leeway(
    mint, redis, settings, changes
):
    settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, "LEEWAY": 60}
    assert set(present(mint(**changes)).values()) <= {200, 401}


@bounded(300)
@given(changes=claims)
def test_no_claims_are_an_exception_while_nothing_can_be_known(
    mint, perfguard, changes
):
    perfguard(REDIS_URL="redis://127.0.0.1:1", REVOCATION_ON_REDIS_FAILURE="deny")
    odd = mint(**changes)
    answers = {called(odd.access), get("sync", odd.access).status_code}
    answers |= {post(door, token=odd.access) for door in BY_TOKEN}
    answers |= {post(door, refresh=odd.refresh) for door in BY_REFRESH}
    assert answers <= {401, 503}
    assert post("signout", refresh=odd.refresh) in {200, 503}


@bounded(450)
@given(changes=claims)
def test_no_claims_are_an_exception_where_tokens_need_no_end(mint, perfguard, changes):
    perfguard(TOKEN_ALLOW_NEVER_EXPIRES=True)
    assert set(present(mint(exp=..., **without(changes, "exp"))).values()) <= {200, 401}


def without(changes, name):
    return {key: value for key, value in changes.items() if key != name}


@bounded(3000)
@given(header=headers)
def test_no_header_of_a_token_is_an_exception(mint, header):
    odd = mint(header={**HEADER, **header})
    assert called(odd.access) in {200, 401}


@bounded(1500)
@given(header=st.binary(max_size=60), payload=st.binary(max_size=60))
def test_no_bytes_in_the_parts_are_an_exception(user, header, payload):
    text = f"{base64url(header)}.{base64url(payload)}"
    good_header = f"{segment(HEADER)}.{base64url(payload)}"
    assert called(f"{text}.{signature(text, site_key())}") == 401
    assert called(f"{good_header}.{signature(good_header, site_key())}") == 401


@bounded(600)
@given(deep=st.integers(0, 2500), opening=st.sampled_from(["[", '{"a":']))
def test_no_depth_is_an_exception(mint, deep, opening):
    closing = {"[": "]", '{"a":': "}"}[opening]
    nested = opening * deep + "1" + closing * deep
    whole = json.dumps(mint.access)[:-1] + f', "x": {nested}}}'
    assert called(sign(whole)) in {200, 401}
    assert called(sign(nested)) == 401


# -- bodies ----------------------------------------------------------------------------


@bounded(900)
@given(body=st.dictionaries(st.sampled_from(["refresh", "token"]), values) | values)
def test_no_body_is_an_exception(user, body):
    answers = {send(door, body).status_code for door in (*BY_REFRESH, *BY_TOKEN)}
    assert answers <= {400, 401}
    out = {send(door, body).status_code for door in SIGNING_OUT}
    assert out <= {200, 400}


@bounded(300)
@given(age=st.integers(-(10**9), 10**9))
def test_a_token_is_good_until_its_end_and_no_longer(mint, age):
    end = int(time.time()) + age
    expected = 200 if age > 5 else 401
    assert called(mint(exp=end).access) == expected or -5 <= age <= 5
    assert called(Pair.of(mint(exp=end).access).refresh) in {200, 401}
