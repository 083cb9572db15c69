"""What an API key looks like, and what of it is stored."""

from __future__ import annotations

import re
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfguard.api_keys.keys import (
    ALPHABET,
    Credential,
    as_text,
    dummy,
    generate,
    hashed,
    is_good,
    is_outdated,
    parse,
)
from perfguard.exceptions import InvalidCredential

TEXT = re.compile(r"pgk_[0-9A-Za-z]{12}_[0-9A-Za-z]{43}[0-9A-Za-z]{6}")
PEPPER = "a pepper of the tests, and long enough"


def test_a_key_has_a_prefix_an_id_a_secret_and_a_checksum():
    assert TEXT.fullmatch(as_text(generate()))


def test_a_key_is_read_back():
    credential = generate()
    assert parse(as_text(credential)) == credential


def test_the_checksum_is_the_crc_of_all_before_it():
    text = as_text(generate())
    number = 0
    for each in text[-6:]:
        number = number * 62 + ALPHABET.index(each)
    assert number == crc32(text[:-6].encode())


def test_ids_and_secrets_are_random():
    made = [generate() for _ in range(500)]
    assert len({each.key_id for each in made}) == 500
    assert len({each.secret for each in made}) == 500
    # 256 bits fill the first place with every digit that they can reach.
    assert len({each.secret[0] for each in made}) > 50
    assert {letter for each in made for letter in each.key_id} == set(ALPHABET)


def test_the_secret_comes_from_the_secure_source(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "perfguard.api_keys.keys.secrets.randbits",
        lambda bits: asked.append(bits) or 1,
    )
    assert generate().secret == "0" * 42 + "1"
    assert asked == [256]


def test_the_prefix_is_a_setting(perfguard):
    text = as_text(generate())
    perfguard(API_KEYS_PREFIX="shop")
    assert as_text(generate()).startswith("shop_")
    with pytest.raises(InvalidCredential):
        parse(text)


def test_a_changed_letter_anywhere_is_noticed():
    text = as_text(generate())
    for at in range(len(text)):
        changed = text[:at] + ("x" if text[at] != "x" else "y") + text[at + 1 :]
        with pytest.raises(InvalidCredential):
            parse(changed)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: text + "0",
        lambda text: text[:-1],
        lambda text: text + "\n",
        lambda text: f" {text}",
        lambda text: text.upper(),
        lambda text: text.replace("pgk", "PGK"),
        lambda text: text.replace("_", "-"),
        lambda text: "0" * 10_000_000,
        lambda text: text[:5] + "\x00" + text[6:],
        lambda text: text[:5] + "\u0661" + text[6:],
        lambda text: text[:5] + "\ud800" + text[6:],
    ],
)
def test_what_is_no_key_is_refused(change):
    with pytest.raises(InvalidCredential) as caught:
        parse(change(as_text(generate())))
    assert caught.value.code == "malformed"


@settings(max_examples=300, deadline=None)
@given(
    st.text() | st.from_regex(r"pgk_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}", fullmatch=True)
)
def test_no_text_leads_to_another_error(text):
    try:
        read = as_text(parse(text))
    except InvalidCredential:
        return
    assert read == text


# -- what is stored --------------------------------------------------------------------


@pytest.mark.parametrize("pepper", ["", PEPPER])
def test_only_the_right_secret_fits_what_is_stored(perfguard, pepper):
    perfguard(API_KEYS_PEPPER=pepper)
    credential, other = generate(), generate()
    stored = hashed(credential)
    assert is_good(credential, stored)
    assert not is_good(Credential(credential.key_id, other.secret), stored)
    assert credential.secret not in stored


def test_what_is_stored_for_one_id_is_worth_nothing_under_another():
    credential = generate()
    assert not is_good(Credential("0" * 12, credential.secret), hashed(credential))


def test_a_pepper_changes_what_is_stored(perfguard):
    perfguard()
    credential = generate()
    plain = hashed(credential)
    perfguard(API_KEYS_PEPPER=PEPPER)
    assert plain.startswith("v1$")
    assert hashed(credential).startswith("v2$")
    assert is_good(credential, plain)
    assert is_outdated(plain)
    assert not is_outdated(hashed(credential))


def test_another_pepper_knows_no_key_of_the_first(perfguard):
    perfguard(API_KEYS_PEPPER=PEPPER)
    credential = generate()
    stored = hashed(credential)
    perfguard(API_KEYS_PEPPER="another pepper of the tests, as long")
    assert not is_good(credential, stored)
    perfguard(API_KEYS_PEPPER="")
    assert not is_good(credential, stored)


@pytest.mark.parametrize("pepper", ["", PEPPER])
def test_nothing_fits_the_dummy(perfguard, pepper):
    perfguard(API_KEYS_PEPPER=pepper)
    credential = generate()
    assert not is_good(credential, dummy())
    assert len(dummy()) == len(hashed(credential))


@pytest.mark.parametrize("stored", ["", "v1$", "v9$abc", "$", "v1", "v2$x$y"])
def test_what_is_broken_in_the_database_fits_nothing(stored):
    assert not is_good(generate(), stored)


def test_digests_are_compared_in_constant_time(monkeypatch):
    compared = []
    monkeypatch.setattr(
        "perfguard.api_keys.keys.hmac.compare_digest",
        lambda one, two: compared.append((len(one), len(two))) or one == two,
    )
    credential = generate()
    assert is_good(credential, hashed(credential))
    assert not is_good(generate(), hashed(credential))
    assert compared == [(67, 67), (67, 67)]


def test_the_secret_shows_in_no_repr():
    credential = generate()
    assert credential.secret not in repr(credential)
    assert credential.key_id in repr(credential)
