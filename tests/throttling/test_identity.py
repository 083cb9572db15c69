"""Whom a hit is counted for: one identity for one client, and for no two."""

from __future__ import annotations

import os
import re

import pytest
from django.test import RequestFactory, override_settings
from hypothesis import example, given, settings
from hypothesis import strategies as st

from perfguard.throttling.identity import (
    account_identity,
    address_identity,
    user_identity,
)
from project.demo.models import normal_email

rf = RequestFactory()
EMAIL = "kiss@example.com"
IN_CI = bool(os.environ.get("CI"))
thorough = settings(
    deadline=None,
    database=None,
    max_examples=1000 if IN_CI else 300,
    derandomize=IN_CI,
)


def of_peer(peer, **headers):
    return address_identity(rf.get("/", REMOTE_ADDR=peer, **headers))


# -- addresses ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peer", "identity"),
    [
        ("203.0.113.7", "ip:203.0.113.7"),
        ("203.0.113.7:4711", "ip:203.0.113.7"),
        ("::ffff:203.0.113.7", "ip:203.0.113.7"),
        ("::ffff:cb00:7107", "ip:203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "ip:2001:db8:1:2::/64"),
        ("[2001:db8:1:2:3:4:5:6]:443", "ip:2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "ip:2001:db8:1:2::/64"),
        ("fe80::1%eth0", "ip:fe80::/64"),
        ("::1", "ip:::/64"),
        ("", "ip:unknown"),
        ("nonsense", "ip:unknown"),
    ],
)
def test_an_address_is_one_identity_however_it_is_written(peer, identity):
    assert of_peer(peer) == identity


def test_a_whole_64_is_one_identity_and_its_neighbour_is_another():
    first = of_peer("2001:db8:1:2::")
    assert of_peer("2001:db8:1:2:ffff:ffff:ffff:ffff") == first
    assert of_peer("2001:db8:1:3::") != first
    assert of_peer("2001:db8:1:1:ffff:ffff:ffff:ffff") != first


@thorough
@given(address=st.ip_addresses(v=4))
def test_every_ipv4_address_is_an_identity_of_its_own(address):
    assert of_peer(str(address)) == f"ip:{address}"
    assert of_peer(f"::ffff:{address}") == f"ip:{address}"


def test_a_zone_makes_no_identity_of_its_own():
    zones = [f"fe80::1%{zone}" for zone in ("eth0", "eth1", "25", "0", "")]
    assert {of_peer(zone) for zone in zones} == {"ip:fe80::/64"}


def test_a_forwarded_address_is_the_identity_behind_a_proxy_alone(perfguard):
    spoofed = {"HTTP_X_FORWARDED_FOR": "198.51.100.1, 2001:db8:1:2::7"}
    assert of_peer("10.0.0.1", **spoofed) == "ip:10.0.0.1"
    perfguard(TRUSTED_PROXIES=["10.0.0.1"])
    assert of_peer("10.0.0.1", **spoofed) == "ip:2001:db8:1:2::/64"


def test_users_are_named_by_their_key():
    assert user_identity(42) == "user:42"
    assert user_identity("42") == "user:42"
    assert user_identity("a-b") != user_identity("a_b")


# -- accounts ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "spelling",
    [
        EMAIL.upper(),
        EMAIL.title(),
        f" {EMAIL}",
        f"{EMAIL}\r\n",
        f"\t{EMAIL}\x0b",
        f"\u2003{EMAIL}\u3000",
        f"\xa0{EMAIL}\x85",
        "\u212aiss@example.com",  # the sign of the Kelvin
        "ki\u017fs@example.com",  # the long s
        "kıss@example.com",  # the dotless i
        "KISS@EXAMPLE.COM",
        "kiß@example.com",  # the sharp s, which is two
        "kiẞ@example.com",
        "ｋｉｓｓ＠ｅｘａｍｐｌｅ．ｃｏｍ",
        "𝐤𝐢𝐬𝐬@example.com",
        "ⓚⓘⓢⓢ@example.com",
        "kⁱss@example.com",
        " " * 320 + EMAIL,
        " " * 310 + EMAIL,
        EMAIL + " " * 1_000_000,
    ],
    ids=lambda text: ascii(text)[:40],
)
def test_a_spelling_is_no_other_account(spelling):
    assert account_identity(spelling) == account_identity(EMAIL)


@pytest.mark.parametrize(
    "other",
    [
        *("kis@example.com", "kiss@example.org", "k.iss@example.com", "kiss", ""),
        *("kiss@example.com.", "ki ss@example.com", "kiss+a@example.com"),
        *("k\u0456ss@example.com", "kiss@example.com\x00", f"{EMAIL},{EMAIL}"),
    ],
    ids=ascii,
)
def test_another_name_is_another_account(other):
    assert account_identity(other) != account_identity(EMAIL)


def test_composed_and_decomposed_letters_are_one():
    assert account_identity("é@example.com") == account_identity("e\u0301@example.com")


def test_the_dotted_capital_i_is_one_with_its_small_letter():
    # U+0130 is lowered to an i and a dot above.
    assert account_identity("İ@example.com") == account_identity("i\u0307@example.com")


every_text = st.text(st.characters(exclude_categories=()), max_size=40)


@thorough
@given(name=every_text)
@example(name="\ufb03\u0345\u1e9e\u0149\u01c5\u03c2\u0131\u0130")
@example(name="\ud800\x00")
def test_names_that_a_project_may_hold_for_one_are_one_identity(name):
    identity = account_identity(name)
    # What the demo looks accounts up by.
    assert account_identity(normal_email(name)) == identity
    for spelling in (name.upper(), name.lower(), name.casefold(), f"\u3000{name} "):
        assert account_identity(spelling) == identity


@thorough
@given(name=every_text)
def test_an_identity_tells_nothing_of_the_name(name):
    assert re.fullmatch("account:[0-9a-f]{32}", account_identity(name))


def test_the_name_is_not_in_its_identity():
    identity = account_identity(EMAIL)
    assert "kiss" not in identity
    assert "example" not in identity


def test_the_identity_depends_on_the_secret_key():
    here = account_identity(EMAIL)
    with override_settings(SECRET_KEY="another" * 10):
        assert account_identity(EMAIL) != here
    assert account_identity(EMAIL) == here


@pytest.mark.parametrize(
    "name",
    ["", " ", "\x00", "\ud800", "x" * 10_000_000, "\ufdfa" * 1_000_000, "%s{}\n"],
    ids=lambda text: ascii(text)[:20],
)
def test_a_name_may_be_any_text(name):
    assert re.fullmatch("account:[0-9a-f]{32}", account_identity(name))
