"""The demo's sign-in: by password, by trusted header, and what each leaves behind."""

from __future__ import annotations

import pytest
from rest_framework_simplejwt.exceptions import TokenError

from perfguard.signals import credential_refused, user_signed_in
from perfguard.tokens.models import TokenSession
from perfguard.tokens.tokens import AccessToken, RefreshToken
from tests.tokens.conftest import PASSWORD

pytestmark = pytest.mark.django_db(transaction=True)
PROXY = "10.0.0.1"
ADA = "ada@example.com"


@pytest.fixture
def proxied(api, perfguard, settings):
    """Signs in through a proxy that is trusted; nobody else may by password."""
    perfguard(TRUSTED_EMAIL_HEADER="X-Email", TRUSTED_PROXIES=[PROXY])
    settings.PASSWORD_SIGN_IN = False

    def sign_in(email=None, peer=PROXY, body=None):
        headers = {"X-Email": email} if email else {}
        api.client.defaults["REMOTE_ADDR"] = peer
        return api.post("auths/signin", body or {}, **headers)

    return sign_in


@pytest.fixture
def told():
    heard = []

    def hear(sender, signal, **event):
        heard.append(event)

    credential_refused.connect(hear)
    user_signed_in.connect(hear)
    yield heard
    credential_refused.disconnect(hear)
    user_signed_in.disconnect(hear)


def test_a_header_signs_in_and_its_token_is_like_any_other(api, user, proxied):
    token = proxied("Ada@Example.com").json()["token"]
    assert api.status(token) == 200
    api.post("auths/signout", token=token)
    assert api.status(token) == 401


def test_without_the_header_the_answer_says_so(user, proxied):
    answer = proxied()
    assert answer.status_code == 400
    assert "trusted header" in answer.json()[0]


def test_a_password_does_not_help_where_the_proxy_signs_in(user, proxied):
    assert proxied(body={"email": ADA, "password": PASSWORD}).status_code == 400


def test_a_header_from_elsewhere_is_as_none(user, proxied):
    assert proxied(ADA, peer="203.0.113.7").status_code == 400


@pytest.mark.parametrize("email", ["nobody@example.com", "no address", "a@b,c@d"])
def test_a_header_that_names_nobody_is_refused(user, proxied, email):
    answer = proxied(email)
    assert answer.status_code == 401
    assert "Bearer" in answer.headers["WWW-Authenticate"]


def test_an_inactive_user_is_refused(user, proxied):
    user.is_active = False
    user.save()
    assert proxied(ADA).status_code == 401


def test_a_token_of_another_than_the_header_is_refused(api, user, other, proxied):
    token = proxied(ADA).json()["token"]
    assert api.get("auths/me", token, **{"X-Email": ADA}).status_code == 200
    mixed = api.get("auths/me", token, **{"X-Email": "bob@example.com"})
    assert mixed.status_code == 401
    assert mixed.json()["detail"] == "User mismatch. Please sign in again."
    assert api.status(token) == 200


def test_sign_ins_by_header_count_for_the_account(perfguard, user, proxied):
    perfguard(THROTTLE_RATES={"sign_in": "2/minute", "sign_in_address": None})
    statuses = [proxied(ADA).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert proxied("other@example.com").status_code == 401


def test_what_happened_is_told(api, user, told):
    api.sign_in()
    api.post("auths/signin", {"email": ADA, "password": "wrong"})
    signed_in, refused = told
    assert (signed_in["user"], signed_in["method"]) == (user, "password")
    assert (refused["kind"], refused["code"]) == ("password", "invalid")


def test_a_new_password_signs_out_everywhere_and_in_again_here(api, user):
    old = api.sign_in()["token"]
    body = {"password": PASSWORD, "new_password": "another-long-word-9"}
    new = api.post("auths/password", body, token=old)
    assert new.status_code == 200
    assert [api.status(old), api.status(new.json()["token"])] == [401, 200]


@pytest.mark.parametrize(
    "body",
    [
        {"password": "wrong", "new_password": "another-long-word-9"},
        {"password": PASSWORD, "new_password": "short"},
        {"password": PASSWORD},
        {},
    ],
)
def test_a_change_that_fails_revokes_nothing(api, user, body):
    token = api.sign_in()["token"]
    assert api.post("auths/password", body, token=token).status_code == 400
    assert api.status(token) == 200


def test_a_sign_in_that_a_new_password_overtakes_is_refused(user, django_user_model):
    overtaken = django_user_model.objects.get(pk=user.pk)
    user.set_password("another-long-word-9")
    user.save()
    for kind in (RefreshToken, AccessToken):
        with pytest.raises(TokenError, match="changed"):
            kind.for_user(overtaken)
    assert not TokenSession.objects.exists()


def test_the_view_says_so(api, user, monkeypatch, django_user_model):
    overtaken = django_user_model.objects.get(pk=user.pk)
    monkeypatch.setattr(
        "project.demo.auths.authenticate", lambda request, **credentials: overtaken
    )
    user.set_password("another-long-word-9")
    user.save()
    body = {"email": ADA, "password": PASSWORD}
    assert api.post("auths/signin", body).status_code == 401


def test_a_hash_that_is_upgraded_at_sign_in_signs_in(api, user, settings):
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.PBKDF2PasswordHasher",
        *settings.PASSWORD_HASHERS,
    ]
    first = api.sign_in()["token"]
    user.refresh_from_db()
    assert user.password.startswith("pbkdf2")
    assert [api.status(first), api.status(api.sign_in()["token"])] == [200, 200]


def test_a_password_that_is_taken_away_signs_out(api, user):
    token = api.sign_in()["token"]
    user.set_unusable_password()
    user.save()
    assert api.status(token) == 401


def test_users_without_a_password_stay_signed_in_when_they_are_saved(
    api, django_user_model
):
    user = django_user_model.objects.create_user(ADA)
    token = str(RefreshToken.for_user(user).access_token)
    user.name = "Ada"
    user.save()
    user.save(update_fields=["name"])
    assert api.status(token) == 200
