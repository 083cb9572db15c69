"""Changing the key that signs, while tokens of the old one are still about."""

from __future__ import annotations

import jwt
import pytest
from rest_framework_simplejwt.exceptions import TokenBackendError

from perfguard.tokens.backend import token_backend
from perfguard.tokens.tokens import RefreshToken
from tests.tokens.doors import (
    BY_HEADER,
    BY_REFRESH,
    BY_TOKEN,
    HEADER,
    Mint,
    Pair,
    called,
    claims_of,
    get,
    post,
    sign,
)

pytestmark = pytest.mark.django_db(transaction=True)

FIRST, SECOND, THIRD = (f"the {n} key, of 32 bytes and some more" for n in "123")


@pytest.fixture(autouse=True)
def _doors(settings, api):
    settings.ROOT_URLCONF = "tests.tokens.doors"


@pytest.fixture
def site(settings, perfguard):
    """``site(key, kid, old)``: what the settings say from now on."""

    def deploy(key, kid="", old=None):
        settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, "SIGNING_KEY": key}
        perfguard(TOKEN_KEY_ID=kid, TOKEN_OLD_KEYS=old or {})

    return deploy


def issue(user):
    refresh = RefreshToken.for_user(user)
    return Pair(str(refresh.access_token), str(refresh))


def kid(token):
    return jwt.get_unverified_header(token).get("kid")


def goodness(pair):
    return {
        *(get(door, pair.access).status_code for door in BY_HEADER),
        *(post(door, token=pair.access) for door in BY_TOKEN),
        *(post(door, refresh=pair.refresh) for door in BY_REFRESH),
    }


def test_the_first_change_of_a_key_as_the_manual_has_it(user, site):
    site(FIRST)
    old = issue(user)
    assert kid(old.access) is None
    site(SECOND, "2026-11", {"": FIRST})
    new = issue(user)
    assert [kid(text) for text in new] == ["2026-11"] * 2
    assert goodness(old) == goodness(new) == {200}
    site(SECOND, "2026-11")
    assert (goodness(old), goodness(issue(user))) == ({401}, {200})
    assert called(new.access) == 200


def test_the_next_change(user, site):
    site(FIRST, "a")
    old = issue(user)
    site(SECOND, "b", {"a": FIRST})
    newer = issue(user)
    site(THIRD, "c", {"a": FIRST, "b": SECOND})
    newest = issue(user)
    assert [kid(pair.access) for pair in (old, newer, newest)] == ["a", "b", "c"]
    assert [called(pair.access) for pair in (old, newer, newest)] == [200] * 3
    site(THIRD, "c", {"b": SECOND})
    assert [called(pair.access) for pair in (old, newer, newest)] == [401, 200, 200]


def test_what_is_refreshed_with_an_old_token_is_signed_with_the_new_key(user, site):
    site(FIRST)
    old = issue(user)
    site(SECOND, "b", {"": FIRST})
    successor, access = RefreshToken(old.refresh).rotated()
    assert [kid(str(token)) for token in (successor, access)] == ["b", "b"]
    site(SECOND, "b")
    assert called(str(access)) == 200


def test_a_token_of_an_old_key_can_be_signed_out(user, site):
    site(FIRST)
    old = issue(user)
    site(SECOND, "b", {"": FIRST})
    assert post("signout", refresh=old.refresh) == 200
    assert goodness(old) == {401}


def test_a_token_of_a_removed_key_signs_nobody_out(user, site):
    site(FIRST)
    old = issue(user)
    site(SECOND, "b")
    assert post("signout", refresh=old.refresh) == 200
    site(FIRST)
    assert called(old.access) == 200


def test_giving_the_present_key_an_id(user, site):
    site(FIRST)
    old = issue(user)
    site(FIRST, "a", {"": FIRST})
    assert (called(old.access), kid(issue(user).access)) == (200, "a")


@pytest.mark.parametrize(
    ("key", "name"),
    [(FIRST, "b"), (SECOND, ""), (SECOND, "a"), (THIRD, "b"), (FIRST, "c")],
)
def test_a_key_verifies_under_its_own_id_alone(user, site, key, name):
    site(SECOND, "b", {"": FIRST, "a": FIRST})
    claims = claims_of(issue(user).access)
    assert called(sign(claims, {**HEADER, "kid": name}, key)) == 401
    assert called(sign(claims, {**HEADER, "kid": "a"}, FIRST)) == 200
    assert called(sign(claims, {**HEADER, "kid": ""}, FIRST)) == 200


def test_a_revoked_token_stays_so_whatever_key_signs_it(user, site):
    site(FIRST)
    mint = Mint(user)
    assert post("signout", refresh=mint().refresh) == 200
    site(SECOND, "b", {"": FIRST})
    again = sign(mint.access, {**HEADER, "kid": "b"}, SECOND)
    assert [called(mint(key=FIRST).access), called(again)] == [401, 401]


def test_a_process_may_know_the_new_key_before_it_signs_with_it(user, site):
    site(SECOND, "2026-11", {"": FIRST})
    new = issue(user)
    site(FIRST)
    assert called(new.access) == 401
    site(FIRST, "", {"2026-11": SECOND})
    assert goodness(new) == {200}
    assert kid(issue(user).access) is None


@pytest.mark.parametrize(
    "old",
    [
        "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n",
        "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ",
        '{"kty":"oct","k":"c2VjcmV0"}',
        "",
    ],
    ids=["PEM", "SSH", "JWK", "empty"],
)
def test_an_old_key_that_is_none_is_no_way_to_an_exception(user, site, old):
    """Nor is a text that looks like a public key ever a secret."""
    site(SECOND, "b", {"a": old})
    claims = claims_of(issue(user).access)
    token = sign(claims, {**HEADER, "kid": "a"}, old or "x")
    assert goodness(Pair(token, token)) == {401}
    with pytest.raises(TokenBackendError):
        token_backend().decode(token)


def test_with_another_algorithm_old_keys_are_public_keys(user, settings, perfguard):
    pytest.importorskip("cryptography")
    first, second = private_key(), private_key()
    settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, **asymmetric(first)}
    old = issue(user)
    settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, **asymmetric(second)}
    perfguard(TOKEN_KEY_ID="b", TOKEN_OLD_KEYS={"": public(first)})
    new = issue(user)
    assert goodness(old) == goodness(new) == {200}
    perfguard(TOKEN_KEY_ID="b", TOKEN_OLD_KEYS={})
    assert [called(pair.access) for pair in (old, new)] == [401, 200]


def private_key():
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    return ec.generate_private_key(ec.SECP256R1())


def public(key):
    from cryptography.hazmat.primitives import serialization as out  # noqa: PLC0415

    whole = out.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(out.Encoding.PEM, whole).decode()


def asymmetric(key):
    from cryptography.hazmat.primitives import serialization as out  # noqa: PLC0415

    private = key.private_bytes(
        out.Encoding.PEM, out.PrivateFormat.PKCS8, out.NoEncryption()
    )
    return {
        "ALGORITHM": "ES256",
        "SIGNING_KEY": private.decode(),
        "VERIFYING_KEY": public(key),
    }
