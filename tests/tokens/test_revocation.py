"""Tokens that were revoked, whoever revoked them and whatever became of Redis."""

from __future__ import annotations

import random
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.forms import SetPasswordForm
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.http import HttpResponse, StreamingHttpResponse
from django.test.utils import CaptureQueriesContext
from django.urls import get_resolver, path
from rest_framework.decorators import api_view
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.viewsets import ViewSet
from rest_framework_simplejwt import authentication as stock
from rest_framework_simplejwt.exceptions import InvalidToken, TokenError

from perfguard.redis.client import get_client
from perfguard.tokens import (
    checks,
    copy,
    journal,
    revocation,
    serializers,
    tokens,
    views,
)
from perfguard.tokens.authentication import JWTAuthentication
from perfguard.tokens.claims import Marks
from perfguard.tokens.copy import Mark
from perfguard.tokens.decorators import token_required
from perfguard.tokens.models import RevokedToken, TokenGeneration, TokenSession
from perfguard.tokens.tokens import AccessToken, RefreshToken
from tests.tokens.conftest import PASSWORD

pytestmark = pytest.mark.django_db(transaction=True)


def forget():
    """As another process that never saw a revoked token."""
    revocation.known = revocation.Known()


def claims(token):
    return jwt.decode(token, options={"verify_signature": False})


def key(user, name):
    return f"perfguard:{{user:{user.pk}}}:{name}"


def statuses(api, *tokens):
    forget()
    return [api.status(each) for each in tokens]


# -- One token -------------------------------------------------------------------------


def test_a_token_is_refused_after_sign_out(api, user, redis):
    pair = api.sign_in()
    assert api.status(pair["token"]) == 200
    answer = api.post("auths/signout", token=pair["token"])
    assert (answer.status_code, answer.json()["code"]) == (200, "signed_out")
    assert api.status(pair["token"]) == 401
    forget()
    assert api.status(pair["token"]) == 401


def test_other_tokens_of_the_user_stay_good_after_one_sign_out(api, user, redis):
    gone, good = api.sign_in()["token"], api.sign_in()["token"]
    api.post("auths/signout", token=gone)
    assert statuses(api, gone, good) == [401, 200]


def test_it_is_all_the_same_without_any_redis(api, user):
    gone, good = api.sign_in()["token"], api.sign_in()["token"]
    assert api.post("auths/signout", token=gone).status_code == 200
    assert statuses(api, gone, good) == [401, 200]


@pytest.mark.parametrize(
    ("access", "refresh"), [("5m", "2h"), ("3h", "1d"), ("4w", "4w")]
)
def test_each_key_lives_as_long_as_what_it_revokes(
    user, redis, perfguard, access, refresh
):
    perfguard(TOKEN_ACCESS_LIFETIME=access, TOKEN_REFRESH_LIFETIME=refresh)
    pair = RefreshToken.for_user(user)
    both = [pair.access_token, pair]
    for token in both:
        token.blacklist()
    for token in both:
        life = redis.client().pttl(key(user, f"revoked:{token['jti']}")) / 1000
        assert abs(life - (token["exp"] + 1 - time.time())) < 0.5
    end = TokenSession.objects.get(sid=pair["sid"]).expires_at.timestamp()
    life = redis.client().pttl(key(user, f"ended:{pair['sid']}")) / 1000
    assert abs(life - (end + 1 - time.time())) < 0.5


def test_leeway_lengthens_the_life_of_the_key(user, redis, settings):
    settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, "LEEWAY": timedelta(seconds=30)}
    token = AccessToken.for_user(user)
    token.blacklist()
    life = redis.client().pttl(key(user, f"revoked:{token['jti']}")) / 1000
    assert abs(life - (token["exp"] + 31 - time.time())) < 0.5


@pytest.mark.parametrize("until", [lambda: 1, lambda: time.time_ns() // 1_000_000])
def test_a_key_whose_time_has_come_lives_for_a_second_all_the_same(redis, until):
    copy.push(get_client(), "7", [Mark.of_token("a", until())], 0)
    assert 1000 <= redis.client().pttl("perfguard:{user:7}:revoked:a") <= 2000


def test_a_token_without_end_is_revoked_for_ever(api, user, redis, perfguard):
    perfguard(TOKEN_ALLOW_NEVER_EXPIRES=True, TOKEN_ACCESS_LIFETIME="-1")
    perfguard(TOKEN_REFRESH_LIFETIME="-1", TOKEN_SESSION_LIFETIME="-1")
    pair = RefreshToken.for_user(user)
    token = str(pair.access_token)
    assert "exp" not in claims(token)
    assert api.status(token) == 200
    assert api.post("auths/signout", token=token).status_code == 200
    assert redis.client().pttl(key(user, f"revoked:{claims(token)['jti']}")) == -1
    assert redis.client().pttl(key(user, f"ended:{pair['sid']}")) == -1
    assert statuses(api, token) == [401]


def test_revoking_an_expired_token_writes_nothing(user, redis):
    token = AccessToken.for_user(user)
    token.payload["exp"] = int(time.time()) - 1
    assert token.blacklist().delivered is True
    assert not RevokedToken.objects.exists()
    assert not redis.client().keys("*revoked*")


def forged(token):
    return jwt.encode(claims(token), "another-key-" * 5, algorithm="HS256")


def unsigned(token):
    return jwt.encode(claims(token), None, algorithm="none")


@pytest.mark.parametrize("change", [forged, unsigned, lambda token: token[:-6] + "AAA"])
@pytest.mark.parametrize("place", ["header", "refresh", "token"])
def test_a_token_that_is_not_ours_revokes_nothing(api, user, redis, change, place):
    token = api.sign_in()["token"]
    bad = change(token)
    body = {} if place == "header" else {place: bad}
    answer = api.post("auths/signout", body, token=bad if place == "header" else "")
    assert answer.status_code == 200
    assert not RevokedToken.objects.exists()
    assert not redis.client().keys("*revoked*")
    assert statuses(api, token) == [200]


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "é.é.é", "." * 9000])
def test_signing_out_with_no_token_is_answered_200_and_writes_nothing(
    api, user, redis, text
):
    assert api.post("auths/signout", {"token": text or "x"}).status_code == 200
    assert api.post("auths/signout").status_code == 200
    assert not RevokedToken.objects.exists()
    assert not redis.client().keys("*")


def test_a_revoked_jti_is_revoked_for_every_token_that_carries_it(api, user, redis):
    """A collision denies."""
    one, two = AccessToken.for_user(user), AccessToken.for_user(user)
    two.payload["jti"] = one["jti"]
    one.blacklist()
    assert statuses(api, str(two)) == [401]


def test_a_jti_of_another_user_revokes_nothing_of_mine(user, other, redis):
    mine, theirs = AccessToken.for_user(user), AccessToken.for_user(other)
    journal.revoke_token(
        Marks(str(other.pk), theirs["jti"], "", theirs["gen"], theirs["exp"]), "access"
    )
    assert not revocation.is_revoked(mine.marks)


# -- All that a user has ---------------------------------------------------------------


def test_revoke_all(api, user, other, redis):
    mine = [api.sign_in()["token"] for _ in range(2)]
    theirs = api.sign_in("bob@example.com")["token"]
    assert api.status(mine[0]) == 200
    assert api.post("auths/signout-everywhere", token=mine[0]).status_code == 200
    new = api.sign_in()["token"]
    assert statuses(api, *mine, theirs, new) == [401, 401, 200, 200]


@pytest.mark.parametrize("with_redis", [True, False])
def test_what_was_issued_in_the_same_moment_before_is_revoked_and_after_is_not(
    user, redis, perfguard, monkeypatch, with_redis
):
    perfguard(REDIS_URL=redis.url if with_redis else "")
    now = journal.now_ms()
    monkeypatch.setattr(journal, "now_ms", lambda: now)  # time stands still
    issued = []
    for _ in range(4):
        issued.append(AccessToken.for_user(user))
        journal.revoke_user(str(user.pk))
    issued.append(AccessToken.for_user(user))
    answers = [revocation.is_revoked(each.marks) for each in issued]
    assert answers == [True, True, True, True, False]


def test_a_clock_that_is_set_back_does_not_lower_a_generation(user, redis, monkeypatch):
    old = AccessToken.for_user(user)
    journal.revoke_user(str(user.pk))
    monkeypatch.setattr(journal, "now_ms", lambda: 1)
    newer = AccessToken.for_user(user)
    journal.revoke_user(str(user.pk))
    newest = AccessToken.for_user(user)
    answers = [revocation.is_revoked(each.marks) for each in (old, newer, newest)]
    assert answers == [True, True, False]


def test_a_refresh_in_flight_does_not_outrun_revoke_all(user, redis):
    """Whether the revocation comes before the rotation or after it."""
    before = RefreshToken(str(RefreshToken.for_user(user)))
    after = RefreshToken(str(RefreshToken.for_user(user)))
    pair = after.rotated()
    journal.revoke_user(str(user.pk))
    with pytest.raises(TokenError):
        before.rotated()
    for token in pair:
        with pytest.raises(TokenError, match="revoked"):
            type(token)(str(token))


def test_revoke_all_in_the_middle_of_a_refresh_request(api, user, redis, monkeypatch):
    """After the token was found good, and before it is rotated."""
    pair = api.sign_in()
    check_user = serializers.check_user

    def interrupted(token):
        check_user(token)
        journal.revoke_user(str(user.pk))

    monkeypatch.setattr("project.demo.auths.check_user", interrupted)
    answer = api.post("auths/refresh", {"refresh": pair["refresh"]})
    assert answer.status_code == 401


def test_revoke_all_in_the_middle_of_a_sign_in(user, redis, monkeypatch):
    """After the generation was read, and before the session is there."""
    open_session = tokens.open_session

    def interrupted(*args, **kwargs):
        journal.revoke_user(str(user.pk))
        return open_session(*args, **kwargs)

    monkeypatch.setattr(tokens, "open_session", interrupted)
    refresh = RefreshToken.for_user(user)
    assert revocation.is_revoked(refresh.marks)
    assert revocation.is_revoked(refresh.access_token.marks)


def test_everybody_is_signed_out_by_the_command(api, user, other, redis):
    mine, theirs = api.sign_in()["token"], api.sign_in("bob@example.com")["token"]
    assert statuses(api, mine, theirs) == [200, 200]
    call_command("perfguard_tokens", "revoke-all", "--everybody")
    assert statuses(api, mine, theirs) == [401, 401]
    assert statuses(api, api.sign_in()["token"]) == [200]


def test_the_command_revokes_all_of_one_user_and_one_session(api, user, other, redis):
    mine, theirs = api.sign_in()["token"], api.sign_in("bob@example.com")["token"]
    more = api.sign_in("bob@example.com")["token"]
    call_command("perfguard_tokens", "revoke-all", "--user", "ada@example.com")
    call_command("perfguard_tokens", "revoke", claims(theirs)["sid"])
    assert statuses(api, mine, theirs, more) == [401, 401, 200]


# -- Who a user is, and may do ---------------------------------------------------------


@pytest.fixture
def pair(api, user, redis):
    pair = api.sign_in()
    assert api.status(pair["token"]) == 200  # and Redis is warm
    return pair


def refreshed(api, pair):
    return api.post("auths/refresh", {"refresh": pair["refresh"]}).status_code


def test_a_deactivated_user_is_refused_at_once_and_when_active_again(api, user, pair):
    user.is_active = False
    user.save()
    assert [api.status(pair["token"]), refreshed(api, pair)] == [401, 401]
    user.is_active = True
    user.save()
    assert [*statuses(api, pair["token"]), refreshed(api, pair)] == [401, 401]


def test_a_user_deactivated_by_a_bulk_update_is_refused_at_once(api, user, pair):
    get_user_model().objects.update(is_active=False)
    assert [api.status(pair["token"]), refreshed(api, pair)] == [401, 401]


@pytest.mark.parametrize("how", ["one", "many"])
def test_a_deleted_user_is_401_and_one_of_the_same_id_does_not_inherit_tokens(
    api, user, pair, how
):
    pk = user.pk
    if how == "one":
        user.delete()
    else:
        get_user_model().objects.all().delete()
    assert [*statuses(api, pair["token"]), refreshed(api, pair)] == [401, 401]
    again = get_user_model()(pk=pk, email="eve@example.com")
    again.set_password(PASSWORD)
    again.save(force_insert=True)
    assert [*statuses(api, pair["token"]), refreshed(api, pair)] == [401, 401]
    assert statuses(api, api.sign_in("eve@example.com")["token"]) == [200]


def by_form(user, client):
    form = SetPasswordForm(user, {"new_password1": "Aeb7ohTh", "new_password2": None})
    form.data["new_password2"] = form.data["new_password1"]
    assert form.is_valid(), form.errors
    form.save()


def by_admin(user, client):
    staff = get_user_model().objects.create_superuser("root@example.com", PASSWORD)
    client.force_login(staff)
    answer = client.post(
        f"/admin/demo/user/{user.pk}/password/",
        {"password1": "Aeb7ohTh", "password2": "Aeb7ohTh", "usable_password": "true"},
    )
    assert answer.status_code == 302, answer.content


def by_code(user, client):
    user.set_password("Aeb7ohTh")
    user.save()


def by_update_fields(user, client):
    user.set_password("Aeb7ohTh")
    user.save(update_fields=["password"])


@pytest.mark.parametrize(
    "change", [by_form, by_admin, by_code, by_update_fields], ids=lambda f: f.__name__
)
def test_a_new_password_revokes_all_tokens(api, user, pair, client, change):
    change(user, client)
    assert [*statuses(api, pair["token"]), refreshed(api, pair)] == [401, 401]


def test_a_reset_of_the_password_revokes_all_tokens(api, user, pair):
    form = SetPasswordForm(user, {"new_password1": "x", "new_password2": "y"})
    assert not form.is_valid()
    assert statuses(api, pair["token"]) == [200]
    by_form(get_user_model().objects.get(), None)
    assert statuses(api, pair["token"]) == [401]


def test_the_view_for_a_new_password_answers_with_the_only_good_pair(api, user, pair):
    wrong = {"password": "wrong", "new_password": "Aeb7ohThooxo"}
    assert api.post("auths/password", wrong, pair["token"]).status_code == 400
    assert statuses(api, pair["token"]) == [200]
    right = wrong | {"password": PASSWORD}
    new = api.post("auths/password", right, pair["token"])
    assert new.status_code == 200
    assert statuses(api, pair["token"], new.json()["token"]) == [401, 200]


def test_a_hash_that_is_upgraded_at_sign_in_revokes_nothing(api, user, pair, settings):
    before = get_user_model().objects.get().password
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.PBKDF2PasswordHasher",
        *settings.PASSWORD_HASHERS,
    ]
    api.sign_in()
    assert get_user_model().objects.get().password != before
    assert statuses(api, pair["token"]) == [200]


def test_saving_a_profile_revokes_nothing(api, user, pair):
    user = get_user_model().objects.get()
    user.name = "Ada"
    user.save()
    assert statuses(api, pair["token"]) == [200]


def test_a_role_is_not_in_the_token_but_asked_for_at_each_request(api, user, pair):
    assert api.get("auths/me", pair["token"]).json()["role"] == "user"
    get_user_model().objects.update(is_staff=True)
    assert api.get("auths/me", pair["token"]).json()["role"] == "admin"


# -- Revoked is final ------------------------------------------------------------------


def test_nothing_that_comes_late_or_twice_makes_a_revoked_token_good(api, user, redis):
    pair = RefreshToken.for_user(user)
    gone, ended = AccessToken.for_user(user), pair.access_token
    assert not revocation.is_revoked(gone.marks)
    gone.blacklist()
    journal.end_session(pair["sid"])
    old = AccessToken.for_user(user)
    journal.revoke_user(str(user.pk))
    late = copy.fence(get_client(), str(user.pk))
    assert late
    copy.push(get_client(), str(user.pk), [], 1)
    era = copy.look(get_client(), gone.marks).era
    assert copy.refill(get_client(), str(user.pk), [], 1, fence=late, era=era)
    journal.deliver_due()
    gone.blacklist()
    journal.end_session(pair["sid"])
    user.save()
    call_command("perfguard_tokens", "prune")
    call_command("perfguard_tokens", "sync")
    assert statuses(api, str(gone), str(ended), str(old)) == [401] * 3
    redis.client().flushall()
    assert statuses(api, str(gone), str(ended), str(old)) == [401] * 3


def test_a_late_push_does_not_lower_a_generation(redis):
    client = get_client()
    for generation in (7, 6, 7, 1):
        copy.push(client, "1", [], generation)
        assert redis.client().get("perfguard:{user:1}:generation") == b"7"


def test_a_late_refill_does_not_lower_a_generation(redis):
    client = get_client()
    fence = copy.fence(client, "1")
    copy.push(client, "1", [], 7)
    assert copy.refill(client, "1", [], 6, fence=fence, era="e")
    assert redis.client().get("perfguard:{user:1}:generation") == b"7 e"


def test_a_pushed_generation_alone_is_never_believed(redis):
    client = get_client()
    copy.push(client, "1", [], 7)
    assert copy.look(client, Marks("1", "a", "", 9, 1)).generation is None


def test_a_refill_whose_fence_is_gone_fills_nothing(redis):
    client = get_client()
    fence = copy.fence(client, "1")
    redis.client().flushall()
    assert not copy.refill(client, "1", [], 6, fence=fence, era="e")
    assert copy.fence(client, "1")  # of another refill
    assert not copy.refill(client, "1", [], 6, fence=fence, era="e")
    assert not redis.client().get("perfguard:{user:1}:generation").endswith(b" e")


def test_one_refill_at_a_time_and_a_fence_never_outlives_its_refill(redis):
    client = get_client()
    assert copy.fence(client, "1")
    assert copy.fence(client, "1") is None
    copy.push(client, "1", [], 9)
    # It would keep all refills off, for as long as it lives.
    assert 0 < redis.client().pttl("perfguard:{user:1}:generation") <= 5000


def test_a_state_of_another_era_is_not_believed(user, redis):
    token = AccessToken.for_user(user)
    assert not revocation.is_revoked(token.marks)
    state = redis.client().get(key(user, "generation"))
    redis.client().set(key(user, "generation"), state[:-1] + b"x")
    TokenGeneration.objects.update(generation=2**62)
    assert revocation.is_revoked(token.marks)


# -- A Redis that lost what it held ----------------------------------------------------


def test_flushed_between(api, user, redis):
    gone, good = api.sign_in()["token"], api.sign_in()["token"]
    api.post("auths/signout", token=gone)
    assert statuses(api, good) == [200]
    redis.client().flushall()
    assert statuses(api, good) == [200]
    names = {name.decode().split(":")[3] for name in redis.client().keys("*")}
    assert names == {"generation", "revoked", "ended"}  # it was refilled
    assert statuses(api, gone, good) == [401, 200]


def test_a_mark_that_was_evicted_while_the_state_was_not(api, user, redis):
    """Between two requests of one connection, so that nothing was reconnected."""
    gone, good = api.sign_in()["token"], api.sign_in()["token"]
    assert statuses(api, gone, good) == [200, 200]
    api.post("auths/signout", token=gone)
    admin = redis.client()
    try:
        admin.config_set("maxmemory", "1gb")
        admin.config_set("maxmemory-policy", "allkeys-lru")
        assert admin.delete(*admin.keys("*revoked*"), *admin.keys("*ended*")) == 2
        assert statuses(api, gone, good) == [401, 200]
    finally:
        admin.config_set("maxmemory", 0)
        admin.config_set("maxmemory-policy", "noeviction")


def test_emptied_in_the_middle_of_a_refill(api, user, redis, monkeypatch):
    """The journal was read; then somebody signs out, and Redis is emptied. What was
    read is now too little, and must not be taken for all."""
    gone, good = AccessToken.for_user(user), AccessToken.for_user(user)
    refill, filled = copy.refill, []

    def late(*args, **kwargs):
        if not filled:
            gone.blacklist()
            redis.client().flushall()
        filled.append(refill(*args, **kwargs))
        return filled[-1]

    monkeypatch.setattr(copy, "refill", late)
    assert not revocation.is_revoked(good.marks)
    assert filled == [False]
    assert statuses(api, str(gone), str(good)) == [401, 200]
    assert statuses(api, str(gone), str(good)) == [401, 200]
    assert filled[-1] is True


def test_the_fence_is_set_before_the_journal_is_read_for_a_refill(
    user, redis, monkeypatch
):
    token = AccessToken.for_user(user)
    fence, refill, reads = copy.fence, copy.refill, []

    def counting(step):
        def counted(*args, **kwargs):
            reads.append(len(captured))
            return step(*args, **kwargs)

        return counted

    monkeypatch.setattr(revocation.arrears, "due", False)
    monkeypatch.setattr(copy, "fence", counting(fence))
    monkeypatch.setattr(copy, "refill", counting(refill))
    with CaptureQueriesContext(connection) as captured:
        revocation.is_revoked(token.marks)
    assert reads == [1, 4]  # before it the answer, and after it what Redis is given


def test_within_a_transaction_redis_is_not_refilled(user, redis):
    """What is read there may be as old as its beginning, or be rolled back yet."""
    token, good = AccessToken.for_user(user), AccessToken.for_user(user)
    with transaction.atomic():
        journal.revoke_token(token.marks, "access")
        assert revocation.is_revoked(token.marks)
        assert not revocation.is_revoked(good.marks)
        assert not redis.client().keys()
        transaction.set_rollback(True)
    assert not redis.client().keys("*revoked*")
    assert not revocation.is_revoked(token.marks)


def test_two_processes_that_find_redis_empty_refill_it_once(user, redis, monkeypatch):
    token = AccessToken.for_user(user)
    refill, filled = copy.refill, []

    def second_process(*args, **kwargs):
        if not filled:
            filled.append("first")
            assert not revocation.is_revoked(token.marks)  # it is answered all the same
        filled.append(refill(*args, **kwargs))
        return filled[-1]

    monkeypatch.setattr(copy, "refill", second_process)
    assert not revocation.is_revoked(token.marks)
    assert filled == ["first", True]


def test_a_user_with_very_many_revoked_tokens_does_not_block_redis(
    user, redis, monkeypatch
):
    monkeypatch.setattr(revocation, "MOST_REFILLED", 3)
    issued = [AccessToken.for_user(user) for _ in range(5)]
    for token in issued[:4]:
        token.blacklist()
    redis.client().flushall()
    forget()
    answers = [revocation.is_revoked(each.marks) for each in issued]
    assert answers == [True] * 4 + [False]
    assert not redis.client().keys("*revoked*")
    RevokedToken.objects.filter(pk=issued[0]["jti"]).delete()
    redis.client().flushall()
    assert not revocation.is_revoked(issued[4].marks)
    assert len(redis.client().keys("*revoked*")) == 3


@contextmanager
def running(threads, stop):
    for thread in threads:
        thread.start()
    yield
    stop.set()
    for thread in threads:
        thread.join()


def test_sign_outs_and_refills_and_flushes_all_at_once(user, other, redis):
    """Whoever asks after a revocation has returned finds the token revoked."""
    issued = [AccessToken.for_user((user, other)[n % 2]) for n in range(60)]
    gone, wrong, stop = set(), [], threading.Event()

    def ask(seed):
        chance = random.Random(seed)
        while not stop.is_set():
            number = chance.randrange(len(issued))
            before = number in gone
            forget()
            if revocation.is_revoked(issued[number].marks) < before:
                wrong.append(number)
        connections.close_all()

    def empty(seed):
        while not stop.wait(0.002):
            redis.client().flushall()

    threads = [
        threading.Thread(target=each, args=(seed,))
        for seed, each in enumerate([ask, ask, ask, ask, empty])
    ]
    with running(threads, stop):
        for number in range(0, 60, 2):
            journal.revoke_token(issued[number].marks, "access")
            gone.add(number)
    assert wrong == []
    forget()
    answers = [revocation.is_revoked(each.marks) for each in issued]
    assert answers == [True, False] * 30


# -- Every door ------------------------------------------------------------------------


@api_view(["GET"])
def function_view(request):
    return Response({"user": request.user.pk})


class Things(ViewSet):
    def list(self, request):
        return Response([])


@token_required
def plain_view(request):
    return HttpResponse("plain")


@token_required
async def async_view(request):
    return HttpResponse("async")


@token_required
def streaming_view(request):
    return StreamingHttpResponse(iter([b"a", b"b"]))


class StockView(views.APIView):
    authentication_classes = (stock.JWTAuthentication,)


DOORS = ["class", "function", "viewset", "plain", "async", "stream"]
urlpatterns = [
    path("class", views.SessionsView.as_view()),
    path("function", function_view),
    path("viewset", Things.as_view({"get": "list"})),
    path("plain", plain_view),
    path("async", async_view),
    path("stream", streaming_view),
]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("warm", [True, False])
def test_a_revoked_token_opens_no_door(api, user, redis, client, settings, door, warm):
    settings.ROOT_URLCONF = __name__
    token = RefreshToken.for_user(user).access_token
    headers = {"Authorization": f"Bearer {token}"}
    assert client.get(f"/{door}", headers=headers).status_code == 200
    token.blacklist()
    if not warm:
        redis.client().flushall()
        forget()
    answer = client.get(f"/{door}", headers=headers)
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def verdict(token):
    request = APIRequestFactory().post("/", {"token": str(token)}, format="json")
    return views.TokenVerifyView.as_view()(request).status_code


def test_the_verify_view_says_no_to_whatever_was_revoked(api, user, other, redis):
    revoked, stale = AccessToken.for_user(user), AccessToken.for_user(other)
    first = RefreshToken.for_user(user)
    second, _ = first.rotated()
    fine = [AccessToken.for_user(user), second]
    assert [verdict(each) for each in (revoked, stale, *fine)] == [200] * 4
    revoked.blacklist()
    journal.revoke_user(str(other.pk))
    assert [verdict(each) for each in (revoked, stale, first)] == [401] * 3
    assert [verdict(each) for each in fine] == [200] * 2
    get_user_model().objects.update(is_active=False)
    assert [verdict(each) for each in fine] == [401] * 2


def all_views(resolver):
    for each in resolver.url_patterns:
        if hasattr(each, "url_patterns"):
            yield from all_views(each)
        else:
            yield str(each.pattern), each.callback


def jwt_doors():
    for where, view in all_views(get_resolver()):
        kind = getattr(view, "cls", None)
        for door in getattr(kind, "authentication_classes", ()):
            if issubclass(door, stock.JWTAuthentication):
                yield where, door


def test_every_view_of_the_project_that_takes_tokens_refuses_revoked_ones(user, redis):
    doors = list(jwt_doors())
    assert len(doors) >= 5
    good, gone = AccessToken.for_user(user), AccessToken.for_user(user)
    gone.blacklist()
    for where, door in doors:
        requests = [
            APIRequestFactory().get("/", headers={"Authorization": f"Bearer {each}"})
            for each in (good, gone)
        ]
        assert door().authenticate(requests[0])[0] == user, where
        with pytest.raises(InvalidToken):
            door().authenticate(requests[1])


def test_a_view_that_takes_revoked_tokens_is_found_by_the_walk(settings):
    assert checks.check_views() == []
    assert all(issubclass(door, JWTAuthentication) for _, door in jwt_doors())
    urlpatterns.append(path("stock", StockView.as_view()))
    try:
        settings.ROOT_URLCONF = __name__
        (message,) = checks.check_views()
        assert ("stock", stock.JWTAuthentication) in jwt_doors()
    finally:
        urlpatterns.pop()
    assert message.id == "perfguard.E405"
    assert "StockView" in message.msg


# -- Transactions ----------------------------------------------------------------------


def test_a_revocation_that_is_rolled_back_revokes_nothing(api, user, pair, redis):
    keys = set(redis.client().keys())
    with transaction.atomic():
        user.set_password("Aeb7ohTh")
        user.save()
        AccessToken(pair["token"]).blacklist()
        journal.revoke_everybody()
        transaction.set_rollback(True)
    assert set(redis.client().keys()) == keys
    assert statuses(api, pair["token"]) == [200]
    redis.client().flushall()
    assert statuses(api, pair["token"]) == [200]


def test_one_that_commits_is_told_after_the_commit(api, user, pair, redis):
    keys = set(redis.client().keys())
    with transaction.atomic():
        delivery = AccessToken(pair["token"]).blacklist()
        assert delivery.delivered is None
        assert set(redis.client().keys()) == keys
    assert delivery.delivered is True
    assert len(set(redis.client().keys()) - keys) == 2


def test_dates_of_the_journal_are_those_of_the_token(user, redis):
    token = AccessToken.for_user(user)
    token.blacklist(reason="stolen", by="9")
    row = RevokedToken.objects.get()
    assert row.expires_at == datetime.fromtimestamp(token["exp"], UTC)
    assert (row.pk, row.user_key, row.reason) == (token["jti"], str(user.pk), "stolen")
    assert (row.revoked_by, row.token_type) == ("9", "access")
    assert row.pushed_at is not None
