"""How a request presents an API key, and what it is answered."""

from __future__ import annotations

import json
from datetime import timedelta
from urllib.parse import quote

import pytest
from django.db import connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from perfguard.api_keys import services
from perfguard.api_keys.keys import as_text, generate
from perfguard.api_keys.models import ApiKey
from perfguard.api_keys.requests import ATTRIBUTE, answer_for, is_presented
from perfguard.exceptions import InvalidCredential
from perfguard.signals import credential_refused
from perfguard.tokens.tokens import AccessToken

pytestmark = [
    pytest.mark.urls("tests.api_keys.urls_api_keys"),
    pytest.mark.django_db(transaction=True),
]

WHO = "/api/v1/who"
REFUSED = {"detail": "The API key is not valid.", "code": "invalid_api_key"}
CHALLENGE = 'Api-Key realm="api", error="invalid_token"'


def told(response):
    """Everything of an answer that a client can see, but which one it is, and when it
    was made."""
    headers = dict(response.headers)
    del headers["X-Request-ID"], headers["X-Process-Time"]
    return response.status_code, response.content, headers


def test_a_key_acts_as_its_owner(api, issued, owner):
    answer = api.get(WHO, issued.text)
    assert answer.status_code == 200
    assert answer.json() == {
        "user": owner.pk,
        "key": issued.api_key.key_id,
        "rate": "",
    }


def test_the_key_tells_a_throttle_its_id_and_rate(api, owner):
    issued = services.create(owner, "quick", rate="7/minute")
    answer = api.get(WHO, issued.text).json()
    assert answer["key"] == issued.api_key.key_id
    assert answer["rate"] == "7/minute"


# -- where it may stand ----------------------------------------------------------------


@pytest.mark.parametrize(
    "scheme", ["Api-Key", "api-key", "API-KEY", "Bearer", "bEARER"]
)
def test_the_scheme_is_read_without_regard_to_case(api, issued, scheme):
    answer = api.get(WHO, Authorization=f"{scheme} {issued.text}")
    assert answer.json()["key"] == issued.api_key.key_id


def test_a_key_is_read_from_the_one_header_that_is_set(api, issued, perfguard):
    assert api.get(WHO, **{"X-API-Key": issued.text}).status_code == 401
    perfguard(API_KEYS_HEADER="X-API-Key")
    assert api.get(WHO, **{"X-API-Key": f" {issued.text} "}).status_code == 200
    assert api.get(WHO, **{"X-Other-Key": issued.text}).status_code == 401


def test_an_empty_header_is_no_key(api, perfguard):
    perfguard(API_KEYS_HEADER="X-API-Key")
    answer = api.get("/api/v1/public", **{"X-API-Key": " "})
    assert answer.json() == {"signed_in": False}


@pytest.mark.parametrize("name", ["api_key", "key", "access_token", "Authorization"])
def test_a_key_in_query_cookie_or_body_is_not_read(api, issued, name):
    text = issued.text
    api.client.cookies[name] = text
    assert api.get(f"{WHO}?{name}={text}").status_code == 401
    body = f"{name}={quote(text)}"
    form = "application/x-www-form-urlencoded"
    answer = api.client.post("/api/v1/chats", body, content_type=form)
    assert answer.status_code == 401
    answer = api.client.post("/api/v1/chats", {name: text}, "application/json")
    assert answer.status_code == 401
    assert b"error" not in answer.headers["WWW-Authenticate"].encode()


def test_the_same_key_twice_is_one_and_two_keys_are_refused(
    api, issued, owner, perfguard, refused
):
    perfguard(API_KEYS_HEADER="X-API-Key")
    second = services.create(owner, "second").text
    assert api.get(WHO, issued.text, **{"X-API-Key": issued.text}).status_code == 200
    answer = api.get(WHO, issued.text, **{"X-API-Key": second})
    assert (answer.status_code, answer.json()) == (401, REFUSED)
    assert [each["code"] for each in refused] == ["ambiguous"]


@pytest.mark.parametrize(
    "header",
    [
        "Api-Key",
        "Api-Key ",
        "Api-Key {key} {key}",
        "Api-Key {key}, Api-Key {key}",
        "Api-Key {key},",
        "Api-Key {key}\x00",
        "Api-Key \xe9",
        "Bearer {key} x",
        "Bearer {key}, Basic abc",
        "Api-Key x",
        "Api-Key null",
        "Bearer pgk_",
    ],
)
def test_a_malformed_header_is_401_and_never_500(api, issued, header):
    answer = api.get(WHO, Authorization=header.format(key=issued.text))
    assert answer.status_code == 401
    assert answer.json() == REFUSED


@pytest.mark.parametrize(
    "header", ["Basic YTpi", "Digest a=b, c=d", "Basic \xe9", "Bearer eyJh.eyJh.x", "x"]
)
def test_other_schemes_are_left_to_others(rf, header):
    request = rf.get("/", headers={"Authorization": header})
    assert answer_for(request) == (None, None, None)
    assert not is_presented(request)


def test_a_token_is_no_key_and_a_key_is_no_token(api, issued, owner):
    token = str(AccessToken.for_user(owner))
    answer = api.get(WHO, Authorization=f"Bearer {token}")
    assert answer.json() == {"user": owner.pk, "key": None, "rate": None}
    assert api.get(WHO, Authorization=f"Api-Key {token}").status_code == 401
    key_first = api.get("/api/v1/jwt-first", Authorization=f"Bearer {issued.text}")
    assert key_first.json()["key"] == issued.api_key.key_id


# -- what it is answered ---------------------------------------------------------------


def bad_keys(owner, other):
    """Each way in which a key can be bad, and the word that says which."""
    unknown = as_text(generate())
    wrong, revoked, expired, orphan, gone, replaced = (
        services.create(owner if name not in {"orphan", "gone"} else other, name)
        for name in ("wrong", "revoked", "expired", "orphan", "gone", "replaced")
    )
    stolen = services.create(owner, "another").api_key.hashed_secret
    ApiKey.objects.filter(pk=wrong.api_key.pk).update(hashed_secret=stolen)
    services.revoke(revoked.api_key)
    over = timezone.now() - timedelta(seconds=1)
    ApiKey.objects.filter(pk=expired.api_key.pk).update(expires_at=over)
    services.rotate(replaced.api_key, timedelta(0))
    ApiKey.objects.filter(pk=gone.api_key.pk).delete()
    other.is_active = False
    other.save()
    return {
        "unknown": unknown,
        "wrong_secret": wrong.text,
        "revoked": revoked.text,
        "expired": expired.text,
        "owner_inactive": orphan.text,
        "replaced": replaced.text,
    }


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("with_redis", [False, True])
def test_every_bad_key_gets_the_same_answer(
    api, owner, other, refused, request, with_redis
):
    if with_redis:
        request.getfixturevalue("redis")
    keys = bad_keys(owner, other)
    answers = []
    for code, text in keys.items():
        for _ in range(2):  # cold, and warm
            answers.append(told(api.get(WHO, text)))
            assert refused.pop()["code"] == code
    assert all(answer == answers[0] for answer in answers)
    status, body, headers = answers[0]
    assert (status, json.loads(body)) == (401, REFUSED)
    assert headers["WWW-Authenticate"] == CHALLENGE


def test_a_key_of_a_deleted_owner_is_refused(api, other, redis):
    text = services.create(other, "soon gone").text
    assert api.status(text) == 200
    other.delete()
    answer = api.get(WHO, text)
    assert (answer.status_code, answer.json()) == (401, REFUSED)


def test_without_a_key_the_answer_asks_for_one(api):
    answer = api.get(WHO)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Api-Key realm="api"'


def test_a_bad_key_is_refused_also_where_none_is_needed(api):
    assert api.get("/api/v1/public").json() == {"signed_in": False}
    assert api.get("/api/v1/public", as_text(generate())).status_code == 401


def test_every_secret_is_hashed_once_whether_its_id_exists_or_not(
    api, issued, monkeypatch
):
    hashed = []
    monkeypatch.setattr(
        "perfguard.api_keys.keyring.is_good",
        lambda credential, stored: hashed.append(stored[:3]) or False,
    )
    api.get(WHO, issued.text)
    api.get(WHO, as_text(generate()))
    assert hashed == ["v1$", "v1$"]


def test_switched_off_is_403_and_tokens_go_on(api, issued, owner, perfguard, refused):
    perfguard(API_KEYS_ENABLED=False)
    for text in (issued.text, "garbage"):
        answer = api.get(WHO, text)
        assert answer.status_code == 403
        assert answer.json()["code"] == "api_keys_disabled"
    assert {each["code"] for each in refused} == {"disabled"}
    token = str(AccessToken.for_user(owner))
    assert api.get(WHO, Authorization=f"Bearer {token}").status_code == 200


def test_garbage_costs_no_query_and_no_round_trip(api, proxy, guarded):
    good = as_text(generate())
    api.status(good)  # connects
    with proxy.counted() as trips, CaptureQueriesContext(connection) as queries:
        for text in (
            "x",
            good[:-1] + ("0" if good[-1] != "0" else "1"),
            "pgk_",
            good * 9,
        ):
            assert api.status(text) == 401
    assert trips == [0]
    assert len(queries) == 0


def test_a_refusal_is_told_once_with_its_owner(api, issued, owner, refused, guarded):
    services.revoke(issued.api_key)
    api.status(issued.text)
    (told,) = refused
    assert told["kind"] == "api_key"
    assert told["code"] == "revoked"
    assert told["user_key"] == str(owner.pk)
    assert told["request"].path == WHO


def test_a_failing_listener_hurts_nobody(api, refused):
    def fail(**kwargs):
        raise RuntimeError

    credential_refused.connect(fail)
    try:
        assert api.status("x") == 401
    finally:
        credential_refused.disconnect(fail)


# -- the request itself ----------------------------------------------------------------


def test_the_key_stands_on_the_request(issued, owner, perfguard):
    perfguard()
    header = {"Authorization": f"Api-Key {issued.text}"}
    request = RequestFactory().get("/", headers=header)
    assert not hasattr(request, ATTRIBUTE)
    key, user, error = answer_for(request)
    assert request.perfguard_api_key is key
    assert (key.key_id, key.label) == (issued.api_key.key_id, "nightly report")
    assert key.owner_key == str(owner.pk)
    assert user == owner
    assert error is None


def test_a_refused_key_does_not_stand_on_the_request(perfguard, db):
    perfguard()
    request = RequestFactory().get("/", headers={"Authorization": "Api-Key x"})
    key, _, error = answer_for(request)
    assert key is None
    assert isinstance(error, InvalidCredential)
    assert not hasattr(request, ATTRIBUTE)


def test_the_owner_is_there_without_a_query_and_the_rest_comes_when_it_is_read(
    issued, owner, perfguard
):
    perfguard()
    header = {"Authorization": f"Api-Key {issued.text}"}
    user = answer_for(RequestFactory().get("/", headers=header)).user
    with CaptureQueriesContext(connection) as queries:
        assert (user.pk, user.is_active, user.is_staff) == (owner.pk, True, False)
        assert user.is_authenticated
        assert not user.is_superuser
    assert len(queries) == 0
    with CaptureQueriesContext(connection) as queries:
        assert user.email == "ada@example.com"
    assert len(queries) == 1


def test_an_owner_who_is_saved_overwrites_nothing_that_was_not_read(
    issued, owner, perfguard
):
    perfguard()
    header = {"Authorization": f"Api-Key {issued.text}"}
    user = answer_for(RequestFactory().get("/", headers=header)).user
    type(owner).objects.filter(pk=owner.pk).update(name="Ada")
    user.email  # and so it is one of those that save() writes
    user.save()
    owner.refresh_from_db()
    assert owner.name == "Ada"
