"""What clients are told: status, headers and bodies of answers about tokens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlencode

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from django.http import JsonResponse
from django.test import Client
from django.urls import path
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import AllowAny
from rest_framework.response import Response
from rest_framework.views import APIView

from perfguard.exceptions import InvalidCredential, TruthUnavailable
from perfguard.signals import credential_refused
from perfguard.tokens.authentication import JWTAuthentication, verify_token
from perfguard.tokens.decorators import token_required
from perfguard.tokens.models import RevokedToken, TokenSession
from tests.tokens import doors
from tests.tokens.conftest import PASSWORD
from tests.tokens.doors import (
    BY_HEADER,
    BY_REFRESH,
    BY_TOKEN,
    HEADER,
    SIGNING_OUT,
    Mint,
    called,
    claims_of,
    form,
    get,
    post,
    send,
    sign,
    written,
)

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parent.parent.parent
REALM = 'Bearer realm="api"'
BAD = f'{REALM}, error="invalid_token"'


class Open(APIView):
    permission_classes = (AllowAny,)

    def get(self, request):
        return Response({"user": request.user.pk})


class SessionsToo(APIView):
    authentication_classes = (JWTAuthentication, SessionAuthentication)

    def get(self, request):
        return Response({"user": request.user.pk})


@token_required
async def whoever(request):
    user = await request.auser()
    return JsonResponse({"user": request.user.pk, "auser": user.pk})


@token_required
def whose(request):
    return JsonResponse({"jti": request.auth["jti"], "user": request.user.pk})


urlpatterns = [
    *doors.urlpatterns,
    path("open", Open.as_view()),
    path("sessions-too", SessionsToo.as_view()),
    path("whoever", whoever),
    path("whose", whose),
]


@pytest.fixture(autouse=True)
def _doors(settings, api):
    settings.ROOT_URLCONF = __name__


@pytest.fixture
def mint(user):
    return Mint(user)


def late(mint):
    return mint(exp=int(time.time()) - 1)


# -- 401: RFC 6750 ---------------------------------------------------------------------


@pytest.mark.parametrize("door", BY_HEADER)
def test_who_presents_nothing_is_told_how_to_and_of_no_error(user, door):
    answer = Client().get(f"/{door}")
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, REALM)
    assert answer["Content-Type"] == "application/json"
    assert answer.json()["detail"] == "Authentication credentials were not provided."


@pytest.mark.parametrize(
    "value",
    ["Bearer", "Bearer x", "bearer a.b.c", "Bearer a b", "Bearer a,b", "Bearer \xe9"],
)
@pytest.mark.parametrize("door", BY_HEADER)
def test_who_presents_a_bad_token_is_told_so(user, door, value):
    answer = Client().get(f"/{door}", headers={"Authorization": value})
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, BAD)
    assert answer["Content-Type"] == "application/json"


@pytest.mark.parametrize("value", ["", "Basic eA==", "Bearer pgk_x", "Digest a, b"])
@pytest.mark.parametrize("door", ["sync", "async"])
def test_other_credentials_are_no_bad_token(user, door, value):
    answer = Client().get(f"/{door}", headers={"Authorization": value})
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, REALM)


@pytest.mark.parametrize("door", BY_HEADER)
def test_expired_and_revoked_tokens_are_bad_tokens(mint, door):
    assert get(door, late(mint).access)["WWW-Authenticate"] == BAD
    post("signout", refresh=mint().refresh)
    assert get(door, mint().access)["WWW-Authenticate"] == BAD


@pytest.mark.parametrize("field", ["is_active", "gone"])
@pytest.mark.parametrize("door", BY_HEADER)
def test_a_user_who_may_not_sign_in_is_refused_with_a_good_token(
    mint, user, django_user_model, door, field
):
    good = mint().access
    everyone = django_user_model.objects.filter(pk=user.pk)
    # Without signals: nothing is revoked.
    changes = {
        "is_active": lambda: everyone.update(is_active=False),
        "gone": lambda: everyone._raw_delete("default"),
    }
    TokenSession.objects.update(user=None)
    changes[field]()
    answer = get(door, good)
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, BAD)
    assert [post(name, token=good) for name in BY_TOKEN] == [401] * 2
    assert [post(name, refresh=mint().refresh) for name in BY_REFRESH] == [401] * 3


def test_the_answer_is_401_whichever_permission_refuses(user):
    assert Client().get("/sessions-too").status_code == 401
    client = Client()
    client.force_login(user)
    assert client.get("/sessions-too").json() == {"user": user.pk}


def test_a_bad_token_is_refused_where_none_is_needed(mint):
    assert get("open", mint().access).json() == {"user": int(mint.access["sub"])}
    assert Client().get("/open").json() == {"user": None}
    answer = get("open", "a.b.c")
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, BAD)


@pytest.mark.parametrize("door", [*BY_REFRESH, *BY_TOKEN])
@pytest.mark.parametrize("text", ["x", "a.b.c"])
def test_a_bad_token_in_a_body_is_401_with_the_scheme(user, door, text):
    answer = send(door, {"refresh": text, "token": text})
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith(REALM)
    assert answer["Content-Type"] == "application/json"


@pytest.mark.parametrize("door", [*BY_REFRESH, *BY_TOKEN])
@pytest.mark.parametrize(
    "body", [{}, [], "x", 5, None, {"refresh": {}, "token": {}}, {"refresh": None}]
)
def test_a_body_without_a_token_is_the_clients_mistake(user, door, body):
    assert send(door, body).status_code == 400


# -- what a machine is told ------------------------------------------------------------


def codes(answer):
    """simplejwt's code, and perfguard's."""
    body = answer.json()
    return body["code"], [each["code"] for each in body["messages"]]


def test_the_holder_is_told_what_is_wrong_with_a_token(mint):
    assert codes(get("drf", late(mint).access)) == (
        "token_not_valid",
        ["token_expired"],
    )
    wrong_kind = get("drf", mint().refresh)
    assert codes(wrong_kind) == ("token_not_valid", ["token_invalid"])
    post("signout", refresh=mint().refresh)
    revoked = get("drf", mint().access)
    assert codes(revoked) == ("token_not_valid", ["token_revoked"])


@pytest.mark.parametrize("door", ["sync", "async"])
def test_the_holder_is_told_the_same_by_plain_views(mint, door):
    assert get(door, late(mint).access).json()["code"] == "token_expired"
    assert get(door, mint().refresh).json()["code"] == "token_invalid"
    assert get(door, "x").json()["code"] == "token_invalid"
    assert Client().get(f"/{door}").json()["code"] == "not_authenticated"
    post("signout", refresh=mint().refresh)
    assert get(door, mint().access).json()["code"] == "token_revoked"


def test_the_body_has_simplejwts_shape(mint):
    body = get("drf", late(mint).access).json()
    (message,) = body.pop("messages")
    assert body == {
        "detail": "Given token not valid for any token type",
        "code": "token_not_valid",
    }
    assert message == {
        "token_class": "AccessToken",
        "token_type": "access",
        "message": "Token is expired",
        "code": "token_expired",
    }


def strangers(mint):
    """Texts of one token as somebody without the key would make them: with the very
    claims of good, expired and revoked ones."""
    post("signout", refresh=mint(jti="gone").refresh)
    expired = int(time.time()) - 1
    return [
        mint(key="x" * 40),
        mint(key="x" * 40, exp=expired),
        mint(key="x" * 40, jti="gone"),
        mint(key="x" * 40, sub="nobody"),
        mint(header={**HEADER, "alg": "none"}, exp=expired),
        mint(header={**HEADER, "kid": "x"}, jti="gone"),
    ]


@pytest.mark.parametrize("door", BY_HEADER)
def test_a_stranger_learns_nothing_of_a_token(mint, door):
    answers = [get(door, pair.access) for pair in strangers(mint)]
    for each in answers:
        del each.headers["X-Request-ID"], each.headers["X-Process-Time"]
    seen = {(each.content, str(sorted(each.headers.items()))) for each in answers}
    assert len(seen) == 1
    assert "token_invalid" in str(seen)


@pytest.mark.parametrize("door", [*BY_REFRESH, *BY_TOKEN, *SIGNING_OUT])
def test_a_stranger_learns_nothing_by_a_body(mint, door):
    pairs = strangers(mint)
    answers = [
        send(door, {"refresh": pair.refresh, "token": pair.refresh}) for pair in pairs
    ]
    assert len({(each.status_code, each.content) for each in answers}) == 1


@pytest.mark.parametrize("door", [*BY_REFRESH, *BY_TOKEN])
def test_refusals_of_bodies_have_simplejwts_shape(mint, door):
    body = send(door, {"refresh": "a.b.c", "token": "a.b.c"}).json()
    assert body == {"detail": "Token is invalid", "code": "token_not_valid"}


def test_verify_token_says_why(mint):
    with pytest.raises(InvalidCredential) as expired:
        verify_token(late(mint).access)
    with pytest.raises(InvalidCredential) as forged:
        verify_token(mint(key="x" * 40, exp=1).access)
    post("signout", refresh=mint().refresh)
    with pytest.raises(InvalidCredential) as revoked:
        verify_token(mint().access)
    with pytest.raises(InvalidCredential) as nobody:
        verify_token(mint(sub="nobody").access)
    caught = [each.value.code for each in (expired, forged, revoked, nobody)]
    assert caught == [
        "token_expired",
        "token_invalid",
        "token_revoked",
        "token_revoked",
    ]


@pytest.fixture
def told():
    events = []

    def receive(sender, **event):
        events.append((event["kind"], event["code"]))

    credential_refused.connect(receive)
    yield events
    credential_refused.disconnect(receive)


def test_each_refusal_is_told_once_with_its_code(mint, told):
    get("drf", "x")
    get("sync", late(mint).access)
    get("async", mint().refresh)
    get("drf", mint().access)
    Client().get("/drf")
    assert told == [
        ("token", "token_invalid"),
        ("token", "token_expired"),
        ("token", "token_invalid"),
    ]


@pytest.mark.parametrize("door", BY_HEADER)
def test_a_malformed_header_is_told_too(user, told, door):
    get(door, "a b")
    assert told == [("token", "invalid")]


# -- 503 -------------------------------------------------------------------------------


@pytest.fixture
def unknown(perfguard):
    """Nobody can say whether a token was revoked."""

    def away():
        perfguard(REDIS_URL="redis://127.0.0.1:1", REVOCATION_ON_REDIS_FAILURE="deny")

    return away


@pytest.mark.parametrize("door", BY_HEADER)
def test_what_cannot_be_known_is_503_with_a_time_to_try_again(mint, unknown, door):
    unknown()
    answer = get(door, mint().access)
    assert answer.status_code == 503
    assert answer["Retry-After"] == "1"
    assert "WWW-Authenticate" not in answer.headers
    assert answer["Content-Type"] == "application/json"


@pytest.mark.parametrize("door", [*BY_REFRESH, *BY_TOKEN])
def test_what_cannot_be_known_of_a_body_is_503_too(mint, unknown, door):
    unknown()
    answer = send(door, dict.fromkeys(("refresh", "token"), mint().refresh))
    assert (answer.status_code, answer["Retry-After"]) == (503, "1")


@pytest.mark.parametrize("door", BY_HEADER)
def test_garbage_is_401_also_while_nothing_can_be_known(mint, unknown, door):
    unknown()
    assert get(door, mint(key="x" * 40).access).status_code == 401
    assert get(door, late(mint).access).status_code == 401


def test_verify_token_tells_the_two_apart(mint, unknown):
    unknown()
    assert (called(mint().access), called("a.b.c")) == (503, 401)
    with pytest.raises(TruthUnavailable):
        verify_token(mint().access)


# -- answers that nobody may keep ------------------------------------------------------


@pytest.mark.parametrize(
    ("door", "status"),
    [
        ("demo-refresh", 200),
        ("refresh", 200),
        ("verify", 200),
        ("signout", 200),
        ("blacklist", 200),
        ("obtain", 200),
    ],
)
def test_an_answer_that_holds_tokens_is_kept_by_nobody(mint, door, status):
    token = mint().refresh
    body = {"email": "ada@example.com", "password": PASSWORD}
    answer = send(door, {**body, "refresh": token, "token": token})
    assert (answer.status_code, answer["Cache-Control"]) == (status, "no-store")
    assert answer["Content-Type"] == "application/json"
    refusal = send(door, {"refresh": "x", "token": "x", "email": "x"})
    assert refusal["Cache-Control"] == "no-store"
    assert send(door, [])["Cache-Control"] == "no-store"


def test_no_answer_echoes_what_was_presented(mint):
    pairs = [mint(), late(mint), mint(key="x" * 40), mint(jti="a b"), mint(kid=1)]
    presented = [text for pair in pairs for text in pair] + ["planted.secret.text"]
    answers = [
        *(get(door, text) for door in BY_HEADER for text in presented),
        *(
            send(door, {"refresh": text, "token": text})
            for door in (*BY_TOKEN, *SIGNING_OUT, *BY_REFRESH)
            for text in presented
        ),
    ]
    shown = [each.content.decode() + str(each.headers) for each in answers]
    assert {each.status_code for each in answers} == {200, 401}
    assert [text for text in presented if any(text in each for each in shown)] == []
    assert not any("Set-Cookie" in each.headers for each in answers)


def test_a_refusal_shows_nothing_of_the_claims(mint):
    answer = get("drf", mint(sub="planted-" * 20, jti="planted jti").access)
    assert "planted" not in answer.content.decode() + str(answer.headers)


# -- signing out: RFC 7009 -------------------------------------------------------------


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "nonsense", ""])
@pytest.mark.parametrize("kind", ["access", "refresh"])
def test_the_hint_may_be_wrong(mint, kind, hint):
    token = getattr(mint(), kind)
    assert form("signout", token=token, token_type_hint=hint) == 200
    assert called(mint().access) == 401


@pytest.mark.parametrize("hint", [None, "refresh_token"])
def test_an_unknown_token_is_200(user, hint):
    assert post("signout", token="unknown", token_type_hint=hint) == 200
    assert written() == 0


@pytest.mark.parametrize(
    "body", [{}, {"refresh": ""}, {"token": None}, {"refresh": None, "token": ""}]
)
def test_who_has_nothing_to_revoke_is_signed_out(user, body):
    answer = send("signout", body)
    assert (answer.status_code, answer.json()["code"]) == (200, "signed_out")
    assert written() == 0


@pytest.mark.parametrize("body", [{"refresh": ""}, {"token": None}, {"refresh": "x"}])
def test_an_empty_field_does_not_keep_the_token_of_the_header(mint, body):
    good = mint().access
    assert send("signout", body, f"Bearer {good}").status_code == 200
    assert called(good) == 401


def test_an_empty_form_is_200(user):
    empty = Client().post(
        "/signout", "", content_type="application/x-www-form-urlencoded"
    )
    assert empty.status_code == 200


def test_two_tokens_of_one_name_in_a_form(mint):
    body = urlencode([("token", "x"), ("token", mint().access)])
    kind = "application/x-www-form-urlencoded"
    assert Client().post("/signout", body, content_type=kind).status_code == 200
    assert called(mint().access) == 401  # the last one, as everywhere in Django


@pytest.mark.parametrize("age", [1, 10**9])
def test_signing_out_with_an_expired_token_ends_its_session_and_lists_no_token(
    mint, age
):
    late = mint(exp=int(time.time()) - age)
    assert post("signout", refresh=late.refresh) == 200
    assert not RevokedToken.objects.exists()
    assert TokenSession.objects.get().end_reason == "sign_out"


@pytest.mark.parametrize("method", ["get", "put", "delete", "patch"])
def test_signing_out_is_a_post(user, method):
    assert getattr(Client(), method)("/signout").status_code == 405


def test_signing_out_leaves_other_sessions_alone(mint, user, other):
    mine, theirs = Mint(user), Mint(other)
    assert post("signout", refresh=mint().refresh) == 200
    assert [called(each().access) for each in (mint, mine, theirs)] == [401, 200, 200]


def test_signing_out_needs_no_csrf_token_and_reads_no_session(mint, user):
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    answer = client.post(
        "/signout",
        json.dumps({"refresh": mint().refresh}),
        content_type="application/json",
    )
    assert answer.status_code == 200


# -- passwords -------------------------------------------------------------------------


def test_a_wrong_current_password_revokes_nothing(mint, settings, api):
    settings.ROOT_URLCONF = "project.urls"
    body = {"password": "wrong", "new_password": "another-long-password"}
    assert api.post("auths/password", body, mint().access).status_code == 400
    assert (called(mint().access), written()) == (200, 0)


def test_a_bad_new_password_revokes_nothing(mint, settings, api):
    settings.ROOT_URLCONF = "project.urls"
    body = {"password": PASSWORD, "new_password": "short"}
    assert api.post("auths/password", body, mint().access).status_code == 400
    assert (called(mint().access), written()) == (200, 0)


# -- plain views -----------------------------------------------------------------------


@pytest.mark.parametrize("door", ["whoever", "whose"])
def test_a_plain_view_knows_the_user_and_the_token(mint, user, door):
    answer = get(door, mint().access).json()
    assert answer["user"] == user.pk
    assert answer.get("jti", mint.access["jti"]) == mint.access["jti"]


def test_an_async_view_finds_the_tokens_user_whoever_has_a_cookie(mint, user, other):
    client = Client()
    client.force_login(other)
    answer = client.get(
        "/whoever", headers={"Authorization": f"Bearer {mint().access}"}
    )
    assert answer.json() == {"user": user.pk, "auser": user.pk}


@pytest.mark.parametrize("door", ["sync", "async"])
def test_a_cookie_is_no_token(user, door):
    client = Client()
    client.force_login(user)
    assert client.get(f"/{door}").status_code == 401


@pytest.mark.parametrize("door", ["sync", "async"])
def test_a_token_needs_no_csrf_token(mint, door):
    client = Client(enforce_csrf_checks=True)
    bearer = {"Authorization": f"Bearer {mint().access}"}
    assert client.post(f"/{door}", headers=bearer).status_code == 200


# -- simplejwt's settings --------------------------------------------------------------


PROGRAM = """
import os, django
os.environ["DJANGO_SETTINGS_MODULE"] = "own_settings"
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from tests.tokens import doors
from project.demo.models import User
body = {"email": "ada@example.com", "password": "a-long-demo-password"}
User.objects.create_user(*body.values())
first = doors.send("stock-obtain", body).json()
second = doors.send("stock-refresh", {"refresh": first["refresh"]}).json()
good = [doors.called(pair["access"]) for pair in (first, second)]
wrong = doors.called(second["refresh"])
signed_out = doors.post("signout", refresh=second["refresh"])
gone = [doors.called(pair["access"]) for pair in (first, second)]
print(good, wrong, signed_out, gone, *sorted(doors.claims_of(first["access"])))
"""


@pytest.mark.parametrize(
    ("change", "claims"),
    [
        ({"JTI_CLAIM": "tid"}, "exp gen iat jti sid sub token_type"),
        ({"USER_ID_CLAIM": "user_id"}, "exp gen iat jti sid token_type user_id"),
        ({"TOKEN_TYPE_CLAIM": "kind"}, "exp gen iat jti kind sid sub"),
        ({"USER_ID_FIELD": "email"}, "exp gen iat jti sid sub token_type"),
        (
            {"ALGORITHM": "HS512", "ISSUER": "x", "AUDIENCE": "y", "LEEWAY": 10},
            "aud exp gen iat iss jti sid sub token_type",
        ),
    ],
    ids=str,
)
def test_other_settings_of_simplejwt_keep_their_meaning(tmp_path, change, claims):
    """In a process of their own: simplejwt reads its settings once."""
    (tmp_path / "own_settings.py").write_text(
        f"from tests.settings import *\n"
        f"SIMPLE_JWT = {{**SIMPLE_JWT, **{change!r}}}\n"
        f"ROOT_URLCONF = 'tests.tokens.doors'\n"
        f"ALLOWED_HOSTS = ['testserver']\n"
        f"PERFGUARD = {{'THROTTLE_RATES': {{'user': None, 'anon': None}}}}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == f"[200, 200] 401 200 [401, 401] {claims}\n", done.stderr


def test_no_type_claim_means_no_types(mint, settings):
    settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, "TOKEN_TYPE_CLAIM": None}
    untyped = claims_of(mint().access)
    del untyped["token_type"]
    assert called(sign(untyped)) == 200


# -- signing in ------------------------------------------------------------------------

WRONG = "E-mail address or password is wrong."


@pytest.fixture
def hashed(monkeypatch):
    """One entry for each password that was hashed."""
    runs = []
    encode = MD5PasswordHasher.encode

    def spy(self, *args):
        runs.append(1)
        return encode(self, *args)

    monkeypatch.setattr(MD5PasswordHasher, "encode", spy)
    return runs


@pytest.fixture
def accounts(user, django_user_model, settings):
    settings.ROOT_URLCONF = "project.urls"
    create = django_user_model.objects.create_user
    create("inactive@example.com", PASSWORD, is_active=False)
    create("unusable@example.com", None)


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("ada@example.com", "wrong"),
        ("nobody@example.com", PASSWORD),
        ("inactive@example.com", PASSWORD),
        ("inactive@example.com", "wrong"),
        ("unusable@example.com", PASSWORD),
        ("unusable@example.com", "!"),
    ],
)
def test_a_sign_in_that_fails_does_not_say_why(accounts, api, hashed, email, password):
    answer = api.post("auths/signin", {"email": email, "password": password})
    assert answer.json() == {"detail": WRONG}
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, REALM)
    assert answer["Cache-Control"] == "no-store"
    # The work is what takes the time: as much for an account that there is not.
    assert len(hashed) == 1
    stranger = {"email": "stranger@example.com", "password": "x"}
    reference = api.post("auths/signin", stranger)
    assert sorted(answer.headers) == sorted(reference.headers)


@pytest.mark.parametrize("email", ["ada@example.com", "nobody@example.com"])
def test_the_sixteenth_try_is_refused_before_any_hashing(
    accounts, api, perfguard, hashed, email
):
    perfguard(THROTTLE_RATES={"sign_in": "15/3 minutes", "sign_in_address": None})
    body = {"email": email, "password": "wrong"}
    answers = [api.post("auths/signin", body).status_code for _ in range(16)]
    assert answers == [401] * 15 + [429]
    assert len(hashed) == 15
    last = api.post("auths/signin", body)
    assert 0 < int(last["Retry-After"]) <= 180
    assert "nobody" not in last.content.decode()
    right = {"email": email, "password": PASSWORD}
    assert api.post("auths/signin", right).status_code == 429


@pytest.mark.parametrize("length", [1001, 5000, 1_000_000])
def test_a_long_password_is_refused_before_any_hashing(accounts, api, hashed, length):
    body = {"email": "ada@example.com", "password": "x" * length}
    assert api.post("auths/signin", body).status_code == 400
    assert hashed == []


@pytest.mark.parametrize(
    ("path", "scope", "body"),
    [
        ("auths/refresh", "refresh", {"refresh": "x"}),
        ("auths/signout", "user", {"refresh": "x"}),
        ("auths/password", "password", {"password": "x", "new_password": "y"}),
    ],
)
def test_each_door_has_a_limit_of_its_own(
    accounts, mint, api, perfguard, path, scope, body
):
    scopes = ("anon", "user", "sign_in", "sign_in_address", "refresh", "password")
    perfguard(THROTTLE_RATES={**dict.fromkeys(scopes), scope: "2/minute"})
    answers = [api.post(path, body, mint().access).status_code for _ in range(3)]
    assert answers[2] == 429
    assert 429 not in answers[:2]


def test_a_signed_in_pair_is_the_only_thing_in_the_answer_that_is_secret(accounts, api):
    answer = api.sign_in()
    assert set(answer) == {"token", "token_type", "expires_at", "refresh", "user"}
    assert answer["token_type"] == "Bearer"
    assert set(answer["user"]) == {"id", "email", "name", "role"}
