"""Sessions: refresh tokens one after the other, their reuse, and signing out."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from types import SimpleNamespace

import jwt
import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.utils import timezone
from rest_framework_simplejwt.exceptions import TokenError

from perfguard.signals import token_reused
from perfguard.tokens import journal, revocation, sessions, views
from perfguard.tokens.models import RevokedToken, TokenSession
from perfguard.tokens.tokens import RefreshToken

pytestmark = pytest.mark.django_db(transaction=True)
urlpatterns = [path("refresh", views.TokenRefreshView.as_view())]


@pytest.fixture
def no_grace(perfguard):
    perfguard(TOKEN_REUSE_GRACE=0.0)


@pytest.fixture
def now(monkeypatch):
    """The time at which tokens are rotated; it passes only when it is told to."""
    clock = SimpleNamespace(now=timezone.now())
    monkeypatch.setattr(sessions, "timezone", SimpleNamespace(now=lambda: clock.now))
    return clock


def refresh(api, token):
    return api.post("auths/refresh", {"refresh": token})


def claims(token):
    return jwt.decode(token, options={"verify_signature": False})


def is_good(token):
    revocation.known = revocation.Known()
    return not revocation.is_revoked(token.marks)


# -- Rotation --------------------------------------------------------------------------


def test_a_refresh_token_is_used_up_and_its_successor_works(api, user, redis, no_grace):
    first = api.sign_in()
    second = refresh(api, first["refresh"])
    assert second.status_code == 200
    third = refresh(api, second.json()["refresh"])
    assert third.status_code == 200
    assert api.status(third.json()["token"]) == 200
    assert refresh(api, second.json()["refresh"]).status_code == 401


def test_a_pair_has_ids_of_its_own_and_the_session_of_the_one_before(api, user, redis):
    pairs = [api.sign_in()]
    pairs += [refresh(api, pairs[-1]["refresh"]).json()]
    pairs += [refresh(api, pairs[-1]["refresh"]).json()]
    every = [claims(pair[name]) for pair in pairs for name in ("token", "refresh")]
    assert len({each["jti"] for each in every}) == 6
    assert len({each["sid"] for each in every}) == 1
    assert all(0 < each["iat"] < each["exp"] for each in every)


@pytest.mark.parametrize("use", ["access", "refresh"])
def test_reuse_ends_the_session_and_all_its_tokens(api, user, redis, no_grace, use):
    first = api.sign_in()
    elsewhere = api.sign_in()
    second = refresh(api, first["refresh"]).json()
    assert api.status(second["token"]) == 200
    assert refresh(api, first["refresh"]).status_code == 401
    assert api.status(second["token"]) == api.status(first["token"]) == 401
    assert refresh(api, second["refresh"]).status_code == 401
    assert api.status(elsewhere["token"]) == 200
    assert TokenSession.objects.get(sid=claims(first["token"])["sid"]).end_reason == (
        "reuse"
    )


def test_reuse_is_told(user, redis, no_grace):
    told = []

    def receiver(**kwargs):
        told.append((kwargs["user_key"], kwargs["sid"]))

    first = RefreshToken.for_user(user)
    token_reused.connect(receiver)
    first.rotated()
    for _ in range(3):
        with pytest.raises(TokenError):
            first.rotated()
    token_reused.disconnect(receiver)
    assert told == [(str(user.pk), first["sid"])]  # once, however often it comes


def test_a_token_two_generations_old_is_reuse_though_there_is_a_grace(user, redis):
    first = RefreshToken.for_user(user)
    second, _ = first.rotated()
    third, access = second.rotated()
    with pytest.raises(TokenError):
        first.rotated()
    assert not is_good(third)
    assert not is_good(access)


def writes(captured):
    words = (each["sql"].split()[0] for each in captured.captured_queries)
    return Counter(word for word in words if word in {"INSERT", "UPDATE", "DELETE"})


def test_ending_a_family_costs_as_much_whatever_its_size(user, redis, no_grace):
    seen = []
    for rotations in (2, 40):
        first = token = RefreshToken.for_user(user)
        for _ in range(rotations):
            token, access = token.rotated()
        before = redis.client().dbsize()
        with (
            CaptureQueriesContext(connection) as captured,
            pytest.raises(TokenError),
        ):
            first.rotated()
        assert not is_good(access)
        assert redis.client().dbsize() - before == 1
        seen.append((writes(captured), len(captured)))
    assert seen[0] == seen[1]
    assert seen[0][0].total() <= 3
    assert not RevokedToken.objects.exists()


# -- Grace -----------------------------------------------------------------------------


def test_within_the_grace_the_same_pair_is_given_again(user, redis, now):
    first = RefreshToken.for_user(user)
    pair = [str(each) for each in first.rotated()]
    now.now += timedelta(seconds=10)
    assert [str(each) for each in first.rotated()] == pair
    assert TokenSession.objects.get().ended_at is None


def test_use_does_not_lengthen_the_grace(user, redis, now):
    first = RefreshToken.for_user(user)
    second, _ = first.rotated()
    now.now += timedelta(seconds=6)
    first.rotated()
    now.now += timedelta(seconds=5)
    with pytest.raises(TokenError):
        first.rotated()
    assert not is_good(second)


def test_twenty_at_once_get_one_pair(api, user, redis):
    token = api.sign_in()["refresh"]
    barrier, answers = threading.Barrier(20), []

    def ask():
        barrier.wait(20)
        answers.append(type(api)().post("auths/refresh", {"refresh": token}))
        connections.close_all()

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {each.status_code for each in answers} == {200}
    pairs = {(each.json()["token"], each.json()["refresh"]) for each in answers}
    assert len(pairs) == 1
    ((access, successor),) = pairs
    assert api.status(access) == 200
    assert refresh(api, successor).status_code == 200


def test_of_twenty_at_once_without_grace_one_wins_and_the_family_ends(
    user, redis, no_grace
):
    token = RefreshToken.for_user(user)
    barrier, pairs = threading.Barrier(20), []

    def ask():
        barrier.wait(20)
        with suppress(TokenError):
            pairs.append(token.rotated())
        connections.close_all()

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pairs) == 1
    assert not any(is_good(each) for each in pairs[0])


# -- How long --------------------------------------------------------------------------


def test_rotation_leads_no_further_than_the_session(user, redis, perfguard, now):
    perfguard(
        TOKEN_ACCESS_LIFETIME="1h",
        TOKEN_REFRESH_LIFETIME="2d",
        TOKEN_SESSION_LIFETIME="3d",
    )
    token = RefreshToken.for_user(user)
    end = TokenSession.objects.get().expires_at
    ends = []
    for _ in range(5):
        now.now += timedelta(hours=17)
        token, access = token.rotated()
        ends += [token["exp"], access["exp"]]
    assert max(ends) == int(end.timestamp())
    assert ends == sorted(ends[:1]) + ends[1:]
    assert TokenSession.objects.get().expires_at == end


def test_a_session_that_is_over_is_not_listed(api, user, redis):
    token = api.sign_in()["token"]
    old = RefreshToken.for_user(user)
    TokenSession.objects.filter(sid=old["sid"]).update(expires_at=timezone.now())
    listed = [
        each["sid"] for each in api.get("auths/sessions", token).json()["results"]
    ]
    assert listed == [claims(token)["sid"]]


# -- Signing out -----------------------------------------------------------------------


@pytest.mark.parametrize("with_redis", [True, False])
@pytest.mark.parametrize("body", [["refresh"], ["token"], ["header"]])
def test_signing_out_with_either_token_ends_both(
    api, user, redis, perfguard, body, with_redis
):
    perfguard(REDIS_URL=redis.url if with_redis else "")
    pair = api.sign_in()
    (name,) = body
    if name == "header":
        answer = api.post("auths/signout", token=pair["token"])
    else:
        answer = api.post("auths/signout", {name: pair["refresh"]})
    assert answer.status_code == 200
    revocation.known = revocation.Known()
    assert api.status(pair["token"]) == 401
    assert refresh(api, pair["refresh"]).status_code == 401


def test_after_a_rotation_too_signing_out_ends_the_older_access_token(api, user, redis):
    first = api.sign_in()
    second = refresh(api, first["refresh"]).json()
    assert api.post("auths/signout", token=second["token"]).status_code == 200
    assert [api.status(each["token"]) for each in (first, second)] == [401, 401]


def test_signing_out_with_an_expired_access_token_ends_the_session(api, user, redis):
    token = RefreshToken.for_user(user)
    access = token.access_token
    access.payload["exp"] = access["iat"] - 5
    assert api.status(str(access)) == 401
    assert api.post("auths/signout", token=str(access)).status_code == 200
    assert not RevokedToken.objects.exists()
    assert not is_good(token)


def test_somebody_elses_refresh_token_in_my_sign_out_ends_mine_alone(
    api, user, other, redis
):
    mine, theirs = api.sign_in(), api.sign_in("bob@example.com")
    body = {"refresh": theirs["refresh"]}
    answer = api.post("auths/signout", body, token=mine["token"])
    assert answer.status_code == 400
    assert [api.status(each["token"]) for each in (mine, theirs)] == [401, 200]
    assert refresh(api, theirs["refresh"]).status_code == 200


def test_a_pair_that_was_revoked_is_not_refreshed_by_a_token_of_a_live_session(
    api, user, redis
):
    """A refresh token that was revoked by itself, its session alive."""
    token = RefreshToken.for_user(user)
    journal.revoke_token(token.marks, "refresh")
    assert refresh(api, str(token)).status_code == 401
    assert TokenSession.objects.get().ended_at is None


def test_no_text_of_a_token_is_kept(api, user, redis):
    pair = api.sign_in()
    refresh(api, pair["refresh"])
    api.post("auths/signout", token=pair["token"])
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor)
        kept = ""
        for table in tables:
            cursor.execute(f'SELECT * FROM "{table}"')
            kept += repr(cursor.fetchall())
    stored = redis.client()
    kept += repr([(name, stored.dump(name)) for name in stored.scan_iter()])
    assert claims(pair["refresh"])["jti"] in kept
    for text in pair["token"], pair["refresh"]:
        assert text not in kept
        assert text.rpartition(".")[2] not in kept  # nor its signature


# -- A user's own sessions -------------------------------------------------------------


def test_a_user_sees_where_they_are_signed_in_and_nobody_else(api, user, other, redis):
    first, second = api.sign_in(), api.sign_in()
    api.sign_in("bob@example.com")
    listed = api.get("auths/sessions", first["token"]).json()["results"]
    assert [(each["sid"], each["current"]) for each in listed] == [
        (claims(second["token"])["sid"], False),
        (claims(first["token"])["sid"], True),
    ]
    assert {"created", "last_used", "expires_at", "address", "user_agent"} <= set(
        listed[0]
    )
    assert listed[0]["address"] == "127.0.0.1"


def test_a_user_ends_one_session(api, user, other, redis):
    first, second = api.sign_in(), api.sign_in()
    theirs = api.sign_in("bob@example.com")
    sid = claims(second["token"])["sid"]
    assert api.delete(f"auths/sessions/{sid}", first["token"]).status_code == 204
    assert [api.status(each["token"]) for each in (first, second)] == [200, 401]
    assert api.delete(f"auths/sessions/{sid}", first["token"]).status_code == 404
    sid = claims(theirs["token"])["sid"]
    assert api.delete(f"auths/sessions/{sid}", first["token"]).status_code == 404
    assert api.status(theirs["token"]) == 200


def test_a_user_ends_all_other_sessions(api, user, other, redis):
    pairs = [api.sign_in() for _ in range(3)]
    theirs = api.sign_in("bob@example.com")
    assert api.delete("auths/sessions", pairs[1]["token"]).status_code == 204
    assert [api.status(each["token"]) for each in (*pairs, theirs)] == [
        401,
        200,
        401,
        200,
    ]


# -- With ATOMIC_REQUESTS --------------------------------------------------------------


def test_reuse_is_recorded_though_each_request_is_a_transaction(
    api, user, redis, no_grace, settings, client, monkeypatch
):
    """Its refusal is an exception, which would roll the end of the session back."""
    settings.ROOT_URLCONF = __name__
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    first = RefreshToken.for_user(user)
    second, access = first.rotated()
    answer = client.post(
        "/refresh", {"refresh": str(first)}, content_type="application/json"
    )
    assert answer.status_code == 401
    assert not is_good(second)
    assert not is_good(access)
