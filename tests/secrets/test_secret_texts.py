"""What an object says of itself, and an exception of its cause, ends up in logs."""

from __future__ import annotations

import traceback
from contextlib import suppress

import pytest
from django.test import RequestFactory
from rest_framework.exceptions import APIException
from rest_framework_simplejwt.exceptions import TokenError

from perfguard.api_keys import services
from perfguard.api_keys.keyring import keyring
from perfguard.api_keys.keys import Credential, parse
from perfguard.api_keys.records import load, owner_of
from perfguard.api_keys.requests import answer_for
from perfguard.api_keys.serializers import IssuedApiKeySerializer
from perfguard.conf import conf
from perfguard.exceptions import PerfguardError
from perfguard.http.credentials import authorization, single
from perfguard.http.trusted_header import trusted_email
from perfguard.redis.client import close_client, get_client, make_client
from perfguard.schema import Settings
from perfguard.tokens import copy
from perfguard.tokens.authentication import presented_token, verify_token
from perfguard.tokens.backend import token_backend
from perfguard.tokens.claims import Marks
from perfguard.tokens.models import TokenGeneration, TokenSession
from perfguard.tokens.tokens import RefreshToken
from project.demo.serializers import PairSerializer, SignInSerializer
from tests.secrets.course import PLANTED
from tests.secrets.search import Secrets

SETTINGS = {
    "REDIS_SENTINEL_PASSWORD": PLANTED["REDIS"],
    "TOKEN_OLD_KEYS": {"2025": PLANTED["JWT_OLD_KEYS"]},
    "TRUSTED_PROXIES": ["127.0.0.1"],
    "TRUSTED_EMAIL_HEADER": "X-Email",
    "TRUSTED_SECRET_HEADER": "X-Word",
    "TRUSTED_SECRET": PLANTED["TRUSTED_SECRET"],
    "API_KEYS_HEADER": "X-API-Key",
    "API_KEYS_PEPPER": PLANTED["API_KEYS_PEPPER"],
}
TEXT = PLANTED["wrong token"]


@pytest.fixture
def secrets(perfguard, redis_server):
    url = f"redis://:{PLANTED['REDIS']}@127.0.0.1:{redis_server.port}/0"
    perfguard(REDIS_URL=url, **SETTINGS)
    yield Secrets(**PLANTED)
    close_client()


@pytest.fixture
def user(transactional_db, django_user_model):
    email, password = "ada@example.com", PLANTED["DEMO_PASSWORD"]
    return django_user_model.objects.create_user(email, password)


def test_settings_and_connections_do_not_show_secrets(secrets):
    client = get_client()
    shown = [conf, Settings(**SETTINGS), client, *client.endpoints(), token_backend()]
    for each in shown:
        assert secrets.found_in(f"{each!r} {each!s}") == [], type(each)


def test_users_tokens_and_keys_do_not_show_secrets(user, perfguard):
    perfguard(API_KEYS_PEPPER=PLANTED["API_KEYS_PEPPER"])
    secrets = Secrets(**PLANTED)
    refresh = RefreshToken.for_user(user)
    issued = services.create(user, "nightly")
    credential = parse(issued.text)
    secrets.add_token("refresh", str(refresh))
    secrets.add_token("access", str(refresh.access_token))
    secrets.add_key("key", issued.text)
    secrets.known["secret"] = credential.secret
    record = load(credential.key_id)
    shown = [
        *(user, issued, issued.api_key, credential, record, owner_of(record)),
        *(record.active(credential.key_id), keyring.find(credential), keyring),
        *(TokenSession.objects.get(), TokenGeneration.objects.get()),
        *(refresh.marks, IssuedApiKeySerializer(issued.api_key)),
    ]
    for each in shown:
        assert secrets.found_in(f"{each!r}") == [], type(each)
    # A token's text is the token; what a debugger shows of it is its claims.
    assert secrets.found_in(f"{refresh!r} {refresh.access_token!r}") == []
    # A hash is no key, and still nobody's business.
    stored = issued.api_key.hashed_secret
    assert all(stored not in repr(each) for each in shown)


def test_a_request_that_was_answered_does_not_show_its_key(user, perfguard):
    perfguard(API_KEYS_HEADER="X-API-Key")
    issued = services.create(user, "nightly")
    request = RequestFactory().get("/api/v1/notes", headers={"X-API-Key": issued.text})
    answer = answer_for(request)
    secrets = Secrets(**PLANTED)
    secrets.add_key("key", issued.text)
    assert answer.key
    assert secrets.found_in(repr((request, answer))) == []


REFUSED = {
    "an API key": lambda: parse(f"pgk_{TEXT}"),
    "an API key of the right length": lambda: parse(f"pgk_{TEXT:0<62}"),
    "two words": lambda: single(f"{TEXT} {TEXT}"),
    "odd characters": lambda: authorization(get(Authorization=f"Bearer {TEXT}\xff")),
    "a token": lambda: verify_token(TEXT),
    "a token of three parts": lambda: verify_token(f"{TEXT}.{TEXT}.{TEXT}"),
    "a token of no ASCII": lambda: verify_token(f"{TEXT}.\xff.{TEXT}"),
    "a token that is long": lambda: verify_token(TEXT * 1000),
    "a token whose header is no JSON": lambda: verify_token(f"cGxhbnRlZA.{TEXT}.x"),
    "a refresh token": lambda: RefreshToken(f"{TEXT}.{TEXT}.{TEXT}"),
    "two tokens": lambda: presented_token(get(Authorization=f"Bearer {TEXT},{TEXT}")),
    "a trusted address": lambda: trusted_email(trusted(f"{TEXT}@,@")),
    "a trusted address that is odd": lambda: trusted_email(trusted(f"\xff{TEXT}")),
}


def get(**headers):
    return RequestFactory().get("/", headers=headers)


def trusted(email):
    secret = {"X-Word": PLANTED["TRUSTED_SECRET"]}
    return get(**{"X-Email": email}, **secret)


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_does_not_quote_what_it_refused(name, secrets, db):
    with pytest.raises((PerfguardError, TokenError, APIException)) as raised:
        REFUSED[name]()
    assert secrets.found_in(told(raised.value)) == []


@pytest.mark.parametrize(
    "url",
    [
        "redis://:{}@host:99999999/0",
        "redis://:{}@host:port/0",
        "redis://:{}/x@host:6379/0",  # a slash ends the address: this is its port
        "redis://:{}@host/0?socket_timeout=x",
        "http://:{}@host/0",
        "redis://:{}@[host/0",
        "{}",
    ],
)
def test_an_address_that_leads_nowhere_is_not_quoted(url, perfguard):
    perfguard(REDIS_URL=url.format(PLANTED["REDIS"]))
    with pytest.raises(PerfguardError) as raised:
        make_client()
    assert Secrets(**PLANTED).found_in(told(raised.value)) == []


def test_a_redis_that_refuses_the_password_does_not_quote_it(
    own_redis, perfguard, caplog
):
    with own_redis.client() as client:
        client.config_set("requirepass", "another-password")
    url = f"redis://:{PLANTED['REDIS']}@127.0.0.1:{own_redis.port}/0"
    perfguard(REDIS_URL=url)
    with pytest.raises(PerfguardError) as raised:
        copy.look(get_client(), Marks("1", "j", "s", 1, None))
    secrets = Secrets(**PLANTED)
    assert secrets.found_in(told(raised.value)) == []
    assert "is away" in caplog.text
    assert secrets.found_in(caplog.text) == []


def test_forms_do_not_quote_a_password_in_their_complaints():
    secrets = Secrets(**PLANTED)
    password = PLANTED["wrong password"]
    for form in (
        SignInSerializer(data={"email": password, "password": [password]}),
        SignInSerializer(data={"email": "a@b.c", "password": password * 100}),
        SignInSerializer(data=[password]),
        PairSerializer(data={"token": [password], "expires_at": password}),
    ):
        assert not form.is_valid()
        assert secrets.found_in(repr(form.errors)) == []


def test_a_credential_shows_its_public_half():
    assert repr(Credential("4fJ2mQ9sT0aB", "x" * 43)) == (
        "Credential(key_id='4fJ2mQ9sT0aB')"
    )


def told(error):
    """All that a log would hold: the causes, and the arguments of each."""
    lines = traceback.format_exception(error)
    while error is not None:
        lines.append(f"{error!r} {error!s} {error.args!r}")
        with suppress(AttributeError):
            lines.append(repr(error.detail))
        is_hidden = error.__suppress_context__
        error = error.__cause__ or (None if is_hidden else error.__context__)
    return "\n".join(lines)
