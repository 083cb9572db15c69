"""Any octets at all lead to an address, or to InvalidCredential; to nothing else."""

from __future__ import annotations

import contextlib
from unicodedata import normalize

import pytest
from django.test import RequestFactory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfguard.exceptions import InvalidCredential
from perfguard.http.trusted_header import (
    LONGEST_NAME,
    MOST_GROUPS,
    read_email,
    small,
    trusted_email,
    trusted_groups,
    trusted_name,
    trusted_role,
)
from tests.trusted_header.trusted_header_requests import (
    DECEPTIVE,
    NO_ADDRESS,
    OTHER_SCRIPTS,
    PROXY,
)

PIECES = [
    *("@", ".", "..", ",", " ", "\t", "\r\n", "\x00", "-", "_", '"', "<", ">", "%40"),
    *("ann", "ANN", "K", "\u212a", "\u0130", "\u0131", "\u017f", "\u00df", "\u0301"),
    *("example.com", "xn--", "\u3002", "\uff20", "\u200b", "\U0001d41a", "x" * 63),
    *("%FF", "%00", "%C3%A9", "%", "+", "'", "\u0430", "\u0939\u093f", "\ufffd"),
]
SEEDS = [*NO_ADDRESS.values(), *DECEPTIVE.values(), *OTHER_SCRIPTS.values()]
octets = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=80).map(lambda text: text.encode("utf-8", "replace")),
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join).map(str.encode),
    st.sampled_from(SEEDS).map(lambda text: text.encode("utf-8", "surrogateescape")),
    st.tuples(st.text(min_size=1, max_size=20), st.text(max_size=20)).map(
        lambda parts: "@".join(parts).encode("utf-8", "replace")
    ),
    st.emails().map(str.encode),
)
headers = octets.map(lambda value: value.decode("latin-1"))
fuzz = settings(
    max_examples=2000,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(params=[False, True], ids=["ascii", "all scripts"])
def non_ascii(request, trusted):
    trusted(TRUSTED_EMAIL_NON_ASCII=request.param)
    return request.param


def outcome(read, *args):
    with contextlib.suppress(InvalidCredential):
        return read(*args)
    return None


@fuzz
@given(raw=headers)
def test_an_address_is_read_or_refused(non_ascii, raw):
    email = outcome(read_email, raw)
    if email is None:
        return
    octets = email.encode()
    assert octets.decode("latin-1").count("@") == 1
    assert len(octets) <= 254
    assert email.isprintable()
    assert not set(' ,;:"<>()[]\\') & set(email)
    assert email == small(email) == normalize("NFKC", email)
    assert non_ascii or email.isascii()
    assert read_email(octets.decode("latin-1")) == email


@fuzz
@given(email=headers, name=headers, groups=headers, role=headers)
def test_a_request_is_read_or_refused(trusted, email, name, groups, role):
    request = RequestFactory().get(
        "/",
        REMOTE_ADDR=PROXY,
        HTTP_X_EMAIL=email,
        HTTP_X_NAME=name,
        HTTP_X_GROUPS=groups,
        HTTP_X_ROLE=role,
    )
    outcome(trusted_email, request)
    shown = outcome(trusted_name, request)
    assert shown is None or 0 < len(shown) <= LONGEST_NAME
    listed = outcome(trusted_groups, request) or []
    assert len(listed) == len(set(listed)) <= MOST_GROUPS
    assert all(each and each == each.strip() and "," not in each for each in listed)
    assert outcome(trusted_role, request) != ""


@fuzz
@given(peer=st.text(max_size=80), email=headers)
def test_a_peer_is_a_proxy_or_is_not(trusted, peer, email):
    request = RequestFactory().get("/", REMOTE_ADDR=peer, HTTP_X_EMAIL=email)
    outcome(trusted_email, request)


@fuzz
@given(text=st.text(max_size=60))
def test_no_letter_becomes_an_ascii_one(text):
    low = small(text)
    assert [each for each in low if each.isascii()] == [
        each.lower() for each in text if each.isascii()
    ]
    assert small(low) == low
