"""The door that knows tokens, sessions and limits, asked without a server."""

from __future__ import annotations

from dataclasses import replace

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIRequestFactory

from perfguard.api_keys import services
from perfguard.exceptions import InvalidCredential, TruthUnavailable
from perfguard.signals import credential_refused
from perfguard.socket_door import SocketDoor
from perfguard.sockets.credentials import Presented, choose, read_offer
from perfguard.sockets.refusals import Refused
from perfguard.sockets.requests import request_of
from perfguard.sockets.views import SocketTicketView
from perfguard.tokens import revocation
from perfguard.tokens.journal import revoke_user
from perfguard.tokens.tokens import AccessToken, RefreshToken
from tests.sockets.inner_sockets import echo
from tests.sockets.socket_peers import scope_of

TOKEN, TICKET = Presented("token"), "ticket"


@pytest.fixture(autouse=True)
def _cold_process():
    revocation.known = revocation.Known()


@pytest.fixture
def user(transactional_db):
    return get_user_model().objects.create_user("ada@example.com", "a-long-password")


@pytest.fixture
def door():
    return SocketDoor(echo)


def signed(token, **headers):
    return request_of(scope_of(headers={"authorization": f"Bearer {token}", **headers}))


def sign_in(door, token):
    return door.sign_in(signed(token), TOKEN)


# -- tokens ----------------------------------------------------------------------------


def test_open_sockets_are_one_query_for_the_users_of_all(
    user, door, perfguard, redis_server
):
    perfguard(REDIS_URL=redis_server.url)
    other = get_user_model().objects.create_user("bob@example.com", "a-long-password")
    owners = [user, other] * 20
    those = [sign_in(door, str(AccessToken.for_user(each))) for each in owners]
    door.refusals(those)  # what Redis lacks is filled in
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert door.refusals(those) == [""] * 40
    assert len(queries) == 1
    revoke_user(str(other.pk), reason="test")
    assert door.refusals(those) == ["", "token_revoked"] * 20


def test_a_changed_user_is_verified_again(user, door, perfguard):
    perfguard()
    one = sign_in(door, str(AccessToken.for_user(user)))
    users = get_user_model().objects
    users.update(password="changed-without-a-signal")
    assert door.refusals([one]) == [""]
    users.update(is_active=False)
    assert door.refusals([one]) == ["user_inactive"]
    users.all().delete()
    (code,) = door.refusals([one])
    assert code in {"user_not_found", "token_revoked"}


def test_a_user_that_the_application_refreshes_is_still_asked_about(user, door):
    signed_in = sign_in(door, AccessToken.for_user(user))
    get_user_model().objects.filter(pk=user.pk).update(is_active=False)
    signed_in.user.refresh_from_db()
    signed_in.user.pk = None
    assert door.refusals([signed_in]) == ["user_inactive"]


def test_one_that_cannot_be_checked_leaves_the_others_to_be_asked(user, door, caplog):
    token = sign_in(door, AccessToken.for_user(user))
    broken = sign_in(door, AccessToken.for_user(user))
    broken = replace(broken, proof=broken.proof._replace(token=None))
    get_user_model().objects.filter(pk=user.pk).update(is_active=False)
    assert door.refusals([broken, token]) == [None, "user_inactive"]
    assert "could not be checked" in caplog.text


def test_without_redis_and_database_nobody_knows(
    user, door, perfguard, own_redis, monkeypatch
):
    perfguard(REDIS_URL=own_redis.url)
    token = str(AccessToken.for_user(user))
    one = sign_in(door, token)
    own_redis.kill()
    assert door.refusals([one]) == [""]  # the journal knows
    perfguard(REVOCATION_ON_REDIS_FAILURE="deny")
    assert door.refusals([one]) == [None]
    perfguard(REVOCATION_ON_REDIS_FAILURE="database")
    with monkeypatch.context() as patch:
        patch.setattr(connection, "cursor", away)
        assert door.refusals([one]) == [None]
        with pytest.raises(TruthUnavailable):
            sign_in(door, token)


def away(*args, **kwargs):
    raise OperationalError("away")


def test_a_refresh_token_opens_nothing(user, door, perfguard):
    perfguard()
    with pytest.raises(InvalidCredential):
        sign_in(door, str(RefreshToken.for_user(user)))


def test_a_token_of_another_than_the_proxy_names_is_refused(user, door, perfguard):
    perfguard(TRUSTED_EMAIL_HEADER="X-Email", TRUSTED_PROXIES=["127.0.0.1"])
    token = str(AccessToken.for_user(user))
    assert door.sign_in(signed(token, **{"x-email": "ada@example.com"}), TOKEN).user
    with pytest.raises(InvalidCredential) as caught:
        door.sign_in(signed(token, **{"x-email": "bob@example.com"}), TOKEN)
    assert caught.value.code == "user_mismatch"


# -- tickets ---------------------------------------------------------------------------


def test_a_ticket_that_expired_with_its_token_is_refused(user, door, perfguard):
    perfguard(THROTTLE_RATES={"user": None})
    token = AccessToken.for_user(user)
    ticket = ticket_of(user, token)
    one = door.sign_in(request_of(scope_of()), Presented(TICKET, ticket))
    assert (one.user, one.auth.payload) == (user, token.payload)
    token.payload["exp"] = 1
    presented = Presented(TICKET, ticket_of(user, token))
    with pytest.raises(InvalidCredential) as caught:
        door.sign_in(request_of(scope_of()), presented)
    assert caught.value.code == "token_expired"


def test_a_ticket_of_claims_of_another_kind_is_refused(user, door, perfguard):
    perfguard(THROTTLE_RATES={"user": None})
    for kind in ("refresh", "nonsense"):
        token = AccessToken.for_user(user)
        token.payload["token_type"] = kind
        presented = Presented(TICKET, ticket_of(user, token))
        with pytest.raises(InvalidCredential):
            door.sign_in(request_of(scope_of()), presented)


def ask_for_ticket(user, token):
    request = APIRequestFactory().post("/")
    request._force_auth_user, request._force_auth_token = user, token
    return SocketTicketView.as_view()(request)


def ticket_of(user, token):
    return ask_for_ticket(user, token).data["ticket"]


def test_without_redis_the_view_says_503(user, perfguard, own_redis):
    perfguard(REDIS_URL=own_redis.url, THROTTLE_RATES={"user": None})
    own_redis.kill()
    answer = ask_for_ticket(user, AccessToken.for_user(user))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


def test_a_ticket_is_given_for_no_session(user, perfguard):
    perfguard(THROTTLE_RATES={"user": None})
    assert ask_for_ticket(user, None).status_code == 403


# -- API keys --------------------------------------------------------------------------


def by_key(door, text):
    return door.sign_in(signed(text), Presented("api_key"))


def test_rules_of_a_key_that_change_end_its_sockets(user, door, perfguard):
    perfguard()
    issued = services.create(user, "k", endpoints=["GET /ws/echo"])
    one = by_key(door, issued.text)
    assert (one.user, one.user.email) == (user, "ada@example.com")
    assert door.refusals([one]) == [""]
    services.restrict(issued.api_key, ["POST /ws/echo"])
    assert door.refusals([one]) == ["insufficient_scope"]
    services.revoke(issued.api_key)
    assert door.refusals([one]) == ["revoked"]
    perfguard(API_KEYS_ENABLED=False)
    assert door.refusals([one]) == ["disabled"]


def test_an_application_may_be_closed_to_keys(user, perfguard):
    perfguard()

    async def closed(scope, receive, send): ...

    closed.api_keys_allowed = False
    text = services.create(user, "k").text
    assert by_key(SocketDoor(echo), text).expires_at is None
    with pytest.raises(Refused) as caught:
        by_key(SocketDoor(closed), text)
    assert (caught.value.answer.status, caught.value.answer.code) == (
        403,
        "insufficient_scope",
    )


# -- sessions --------------------------------------------------------------------------


@pytest.fixture
def session(user, client, perfguard):
    perfguard(SOCKET_AUTHENTICATION=["session"])
    client.force_login(user)
    return client.session


def by_cookie(door, key, **headers):
    name = django_settings.SESSION_COOKIE_NAME
    scope = scope_of(headers={"cookie": f"{name}={key}", **headers})
    request = request_of(scope)
    presented = choose(request, door.in_headers(request), read_offer(scope))
    return presented and door.sign_in(request, presented)


def test_a_session_signs_in_and_ends_its_sockets(session, user, door):
    one = by_cookie(door, session.session_key)
    assert (one.user, one.identity) == (user, f"user:{user.pk}")
    assert door.refusals([one]) == [""]
    session.flush()
    assert door.refusals([one]) == ["signed_out"]
    assert by_cookie(door, session.session_key or "gone") is None


def test_a_new_password_ends_the_sockets_of_a_session(session, user, door):
    one = by_cookie(door, session.session_key)
    user.set_password("another-long-password")
    user.save()
    assert door.refusals([one]) == ["signed_out"]
    # A socket changes no session: the next page finds out by itself.
    assert session.exists(session.session_key)


def test_a_session_of_another_than_the_proxy_names_is_refused(session, door, perfguard):
    perfguard(TRUSTED_EMAIL_HEADER="X-Email", TRUSTED_PROXIES=["127.0.0.1"])
    assert by_cookie(door, session.session_key, **{"x-email": "ada@example.com"})
    with pytest.raises(InvalidCredential) as caught:
        by_cookie(door, session.session_key, **{"x-email": "bob@example.com"})
    assert caught.value.code == "user_mismatch"


def test_cookies_that_no_session_was_named_sign_nobody_in(session, door):
    for key in ("", "x", '"\\000"', "\xff", "a" * 5000):
        assert by_cookie(door, key) is None


def test_cookies_are_not_looked_at_unless_they_are_listed(session, door, perfguard):
    perfguard(SOCKET_AUTHENTICATION=["token"])
    assert by_cookie(door, session.session_key) is None


# -- limits, and what is told ----------------------------------------------------------


def test_connects_are_counted_by_the_gate(door, perfguard):
    perfguard(THROTTLE_RATES={"socket_connect": "2/hour"})
    count = async_to_sync(door.count)
    count("user:1", "socket_connect")
    count("user:1", "socket_connect")
    with pytest.raises(Refused) as caught:
        count("user:1", "socket_connect")
    answer = caught.value.answer
    assert (answer.status, answer.code) == (429, "throttled")
    assert 0 < int(answer.headers["Retry-After"]) <= 3600


def test_a_scope_that_wants_redis_says_503_without_it(door, perfguard, own_redis):
    rate = {"rate": "2/hour", "on_redis_failure": "refuse"}
    perfguard(REDIS_URL=own_redis.url, THROTTLE_RATES={"socket_connect": rate})
    own_redis.kill()
    with pytest.raises(Refused) as caught:
        async_to_sync(door.count)("user:1", "socket_connect")
    assert (caught.value.answer.status, caught.value.answer.code) == (
        503,
        "unavailable",
    )


def test_refusals_are_told(user, door, perfguard):
    perfguard()
    told = []

    def receive(sender, kind, code, **kwargs):
        told.append((kind, code))

    credential_refused.connect(receive)
    try:
        for scope, raises in (
            (scope_of(query_string=b"ticket=x"), InvalidCredential),
            (scope_of(query_string=b"ticket=x&ticket=y"), Refused),
            (scope_of(query_string=b"access_token=x"), Refused),
            (scope_of(headers={"authorization": "Bearer a.b.c"}), InvalidCredential),
            (scope_of(headers={"authorization": "Bearer a b"}), InvalidCredential),
        ):
            with pytest.raises(raises):
                attempt(door, scope)
    finally:
        credential_refused.disconnect(receive)
    codes = ["ticket_invalid", "ambiguous", "in_url", "token_invalid", "invalid"]
    kinds = ["ticket", "ticket", "token", "token", "token"]
    assert told == list(zip(kinds, codes, strict=True))


def attempt(door, scope):
    offer = read_offer(scope)
    request = request_of(scope)
    presented = choose(request, door.in_headers(request), offer)
    return door.sign_in(request, presented)


def test_a_password_of_a_proxy_before_the_site_is_no_credential(door, perfguard):
    perfguard()
    request = request_of(scope_of(headers={"authorization": "Basic YTpi"}))
    assert door.in_headers(request) == ""
