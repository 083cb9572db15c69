"""What the one question of every request costs: the servers count, no clock does."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from perfguard.redis.client import get_client
from perfguard.tokens import revocation
from perfguard.tokens.tokens import AccessToken, RefreshToken
from tests.throttling.test_cost import Proxy, commands

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def proxy(redis):
    proxy = Proxy(redis.port)
    yield proxy
    proxy.close()


@pytest.fixture
def warm(api, user, redis, proxy, perfguard):
    """A pair of a user whom Redis knows, asked about on a connection that is open."""
    perfguard(REDIS_URL=f"redis://127.0.0.1:{proxy.port}/0")
    pair = api.sign_in()
    assert api.status(pair["token"]) == 200
    proxy.pieces.clear()
    return pair


def tables(captured):
    """The tables that queries name, one entry a query."""
    statements = (each["sql"] for each in captured.captured_queries)
    return ["perfguard" if '"perfguard_' in each else "others" for each in statements]


def test_a_good_token_is_one_round_trip_and_no_query_but_the_users(api, warm, proxy):
    with CaptureQueriesContext(connection) as captured:
        assert api.status(warm["token"]) == 200
    assert proxy.round_trips == 1
    assert tables(captured) == ["others"]  # the user's row, which simplejwt asks for
    assert '"demo_user"' in captured.captured_queries[0]["sql"]


def test_a_good_token_is_two_commands_and_both_change_nothing(api, warm, redis):
    with commands(redis) as seen:
        assert api.status(warm["token"]) == 200
    assert seen == ["INFO", "MGET"]


def test_a_hundred_requests_are_a_hundred_round_trips(api, warm, proxy):
    for _ in range(100):
        assert api.status(warm["token"]) == 200
    assert proxy.round_trips == 100


def test_a_revoked_token_in_another_process_is_one_round_trip_and_no_query(
    api, warm, proxy
):
    api.post("auths/signout", token=warm["token"])
    revocation.known = revocation.Known()
    proxy.pieces.clear()
    with CaptureQueriesContext(connection) as captured:
        assert api.status(warm["token"]) == 401
    assert proxy.round_trips == 1
    assert tables(captured) == []


def test_a_revoked_token_that_comes_again_costs_nothing(api, warm, proxy):
    api.post("auths/signout", token=warm["token"])
    assert api.status(warm["token"]) == 401
    proxy.pieces.clear()
    with CaptureQueriesContext(connection) as captured:
        assert {api.status(warm["token"]) for _ in range(5)} == {401}
    assert proxy.pieces == []
    assert tables(captured) == []


@pytest.mark.parametrize("token", ["x", "a.b.c", "e30.e30.e30", "." * 9000])
def test_garbage_costs_nothing(api, warm, proxy, token):
    with CaptureQueriesContext(connection) as captured:
        assert api.status(token) == 401
    assert proxy.pieces == []
    assert tables(captured) == []


@pytest.mark.parametrize("with_session", [True, False])
def test_without_redis_a_token_is_one_query_more(user, redis, with_session):
    token = AccessToken.for_user(user)
    if with_session:
        token = RefreshToken.for_user(user).access_token
    assert not revocation.is_revoked(token.marks)
    get_client().circuit.is_open = True
    with CaptureQueriesContext(connection) as captured:
        assert not revocation.is_revoked(token.marks)
    assert tables(captured) == ["perfguard"]
    token.blacklist()
    with CaptureQueriesContext(connection) as captured:
        assert revocation.is_revoked(token.marks)
    assert tables(captured) == ["perfguard"]


def test_without_any_redis_configured_a_token_is_one_query_more(user, perfguard):
    perfguard()
    token = RefreshToken.for_user(user).access_token
    with CaptureQueriesContext(connection) as captured:
        assert not revocation.is_revoked(token.marks)
    assert tables(captured) == ["perfguard"]


def test_an_emptied_redis_is_refilled_once_in_three_round_trips(
    api, warm, redis, proxy
):
    redis.client().flushall()
    redis.client().script_flush()
    with CaptureQueriesContext(connection) as captured:
        assert api.status(warm["token"]) == 200
    # The look, the fence and the refill, the latter two with the text of their scripts
    # in a turn of their own: Redis had lost them.
    assert proxy.round_trips <= 5
    assert tables(captured).count("perfguard") == 4
    proxy.pieces.clear()
    with CaptureQueriesContext(connection) as captured:
        assert api.status(warm["token"]) == 200
    assert proxy.round_trips == 1
    assert tables(captured) == ["others"]


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_a_redis_that_evicts_is_neither_believed_nor_filled(api, warm, redis, policy):
    admin = redis.client()
    try:
        admin.config_set("maxmemory", "1gb")
        admin.config_set("maxmemory-policy", policy)
        admin.flushall()
        with CaptureQueriesContext(connection) as captured:
            assert api.status(warm["token"]) == 200
        assert tables(captured) == ["perfguard", "others"]
        assert admin.dbsize() == 0
    finally:
        admin.config_set("maxmemory", 0)
        admin.config_set("maxmemory-policy", "noeviction")


@pytest.mark.parametrize("size", [0, 300])
def test_a_request_costs_as_much_however_much_the_user_has_revoked(
    api, user, warm, redis, proxy, size
):
    pipeline = redis.client().pipeline()
    for number in range(size):
        pipeline.set(f"perfguard:{{user:{user.pk}}}:revoked:x{number}", 1)
    pipeline.execute()
    with CaptureQueriesContext(connection) as captured:
        assert api.status(warm["token"]) == 200
    assert proxy.round_trips == 1
    assert tables(captured) == ["others"]


def test_a_process_remembers_a_bounded_number_of_revoked_tokens(monkeypatch):
    monkeypatch.setattr(revocation, "MOST_KNOWN", 3)
    known = revocation.Known()
    for jti in "abcde":
        known.add(jti)
    assert [jti in known for jti in "abcde"] == [False, False, True, True, True]


def test_that_a_token_was_good_is_not_remembered(user, redis):
    token = AccessToken.for_user(user)
    for _ in range(3):
        assert not revocation.is_revoked(token.marks)
    assert not revocation.known._known
