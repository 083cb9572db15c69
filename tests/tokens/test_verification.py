"""Tokens that are no good: refused at every door, before anything is looked up."""

from __future__ import annotations

import json
import socket
import time

import pytest
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from jwt import api_jws

from perfguard.exceptions import InvalidCredential
from perfguard.redis.client import get_client
from perfguard.tokens.authentication import presented_token, verify_token
from perfguard.tokens.models import RevokedToken, TokenGeneration
from perfguard.tokens.tokens import AccessToken, RefreshToken
from tests.tokens.doors import (
    BY_HEADER,
    BY_REFRESH,
    BY_TOKEN,
    HEADER,
    REFUSED,
    SIGNING_OUT,
    Mint,
    Pair,
    base64url,
    called,
    changed,
    claims_of,
    counted,
    form,
    get,
    post,
    present,
    segment,
    sign,
    signature,
    site_key,
    written,
)

pytestmark = pytest.mark.django_db(transaction=True)

YEAR = 31_536_000


@pytest.fixture(autouse=True)
def _doors(settings, api):
    settings.ROOT_URLCONF = "tests.tokens.doors"


@pytest.fixture
def mint(user):
    return Mint(user)


@pytest.fixture
def asked(redis):
    """A Redis that is connected already, so that what is counted is asked alone."""
    get_client().read("user:warm", b"*1\r\n$4\r\nPING\r\n")
    return redis


def refused(pair):
    """Everywhere, without a query, without Redis, and without a trace."""
    with CaptureQueriesContext(connection) as queries:
        answers = present(pair)
    assert answers == REFUSED
    assert [each["sql"] for each in queries] == []
    assert written() == 0


def test_a_good_pair_is_good_at_every_door(mint):
    good = mint()
    assert [get(name, good.access).status_code for name in BY_HEADER] == [200] * 3
    assert [post(name, token=good.access) for name in BY_TOKEN] == [200] * 2
    assert [post(name, refresh=good.refresh) for name in BY_REFRESH] == [200] * 3
    assert called(good.access) == 200
    assert post("signout", refresh=good.refresh) == 200
    assert written() == 2
    assert called(good.access) == 401


@pytest.mark.parametrize("door", [*SIGNING_OUT, "signout-header", "signout-form"])
def test_each_way_of_signing_out_ends_the_session(mint, door):
    good = mint()
    assert present_one(door, good) == 200
    assert written() == 2
    assert present(good) == REFUSED


def present_one(door, pair):
    if door == "signout-header":
        return post("signout", authorization=f"Bearer {pair.access}")
    if door == "signout-form":
        return form("signout", token=pair.refresh)
    return post(door, refresh=pair.refresh)


# -- T1 to T3: algorithms --------------------------------------------------------------


@pytest.mark.parametrize("signed", ["", "AAAA", "right"])
@pytest.mark.parametrize(
    "alg",
    ["none", "None", "NONE", "nOnE", "", " none", None, 0, False, [], ["HS256"], {}],
    ids=repr,
)
def test_no_algorithm_is_no_way_in(mint, alg, signed):
    header = {**HEADER, "alg": alg}
    refused(mint.of(lambda claims: with_signature(claims, header, signed)))


def with_signature(claims, header, signed):
    text = f"{segment(header)}.{segment(claims)}"
    ending = signature(text, site_key()) if signed == "right" else signed
    return f"{text}.{ending}"


def test_a_header_without_an_algorithm(mint):
    refused(mint(header={"typ": "JWT"}))


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_another_algorithm_with_the_right_key(mint, algorithm):
    header = {**HEADER, "alg": algorithm}
    refused(mint.of(lambda claims: sign(claims, header, algorithm=algorithm)))


@pytest.mark.parametrize("alg", ["hs256", "HS256 ", "HS257", "RS256", "ES256", "EdDSA"])
def test_another_name_over_the_right_signature(mint, alg):
    refused(mint(header={**HEADER, "alg": alg}))


@pytest.mark.parametrize(
    "key", ["x" * 32, "secret", site_key().upper(), site_key() + "\n", site_key()[:-1]]
)
def test_another_key(mint, key):
    refused(mint(key=key))


def test_an_empty_key(mint):
    text = f"{segment(HEADER)}.{segment(mint.access)}"
    refused(Pair.of(f"{text}.{signature(text, b'')}"))


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
@pytest.mark.parametrize("form", ["pem", "pem-stripped", "der", "ssh", "jwk"])
def test_a_public_key_is_no_secret(settings, user, algorithm, form):
    pytest.importorskip("cryptography")
    private, forms = key_pair(algorithm)
    settings.SIMPLE_JWT = {
        **settings.SIMPLE_JWT,
        "ALGORITHM": algorithm,
        "SIGNING_KEY": private,
        "VERIFYING_KEY": forms["pem"].decode(),
    }
    good = RefreshToken.for_user(user)
    assert called(str(good.access_token)) == 200
    claims = [claims_of(good.access_token), claims_of(good)]
    refused(Pair(*(sign(each, key=forms[form]) for each in claims)))
    header = {**HEADER, "alg": algorithm}
    refused(Pair(*(sign(each, header, forms[form]) for each in claims)))


def key_pair(algorithm):
    """A private key, and its public key as every text that it is published in."""
    from cryptography.hazmat.primitives import serialization as out  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec, rsa  # noqa: PLC0415
    from jwt.algorithms import get_default_algorithms  # noqa: PLC0415

    key = {
        "RS256": lambda: rsa.generate_private_key(65537, 2048),
        "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    }[algorithm]()
    private = key.private_bytes(
        out.Encoding.PEM, out.PrivateFormat.PKCS8, out.NoEncryption()
    )
    public = key.public_key()
    whole = out.PublicFormat.SubjectPublicKeyInfo
    pem = public.public_bytes(out.Encoding.PEM, whole)
    return private.decode(), {
        "pem": pem,
        "pem-stripped": pem.strip(),
        "der": public.public_bytes(out.Encoding.DER, whole),
        "ssh": public.public_bytes(out.Encoding.OpenSSH, out.PublicFormat.OpenSSH),
        "jwk": get_default_algorithms()[algorithm].to_jwk(public).encode(),
    }


# -- T4 to T6: headers that point to keys ----------------------------------------------

OWN = "a-key-of-the-attacker-of-32-bytes"
CERTIFICATE = "MIIB" + "A" * 200


@pytest.mark.parametrize(
    "extra",
    [
        {"jwk": {"kty": "oct", "k": base64url(OWN.encode()), "alg": "HS256"}},
        {"jku": "https://attacker.example/keys.json"},
        {"x5u": "https://attacker.example/chain.pem"},
        {"x5c": [CERTIFICATE]},
        {"jku": "file:///dev/null", "kid": ""},
        {"kid": "https://attacker.example/keys.json"},
    ],
    ids=lambda extra: next(iter(extra)),
)
def test_a_key_that_the_token_brings_is_not_used(mint, monkeypatch, extra):
    called_out = []
    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, lambda *args, **kw: called_out.append(args))
    refused(mint(header={**HEADER, **extra}, key=OWN))
    assert called_out == []


KIDS = [
    "../../dev/null",
    "/dev/null",
    "' OR 1=1; --",
    "x" * 4000,
    "\x00",
    "\ud800",
    "main ",
    "MAIN",
    "old\n",
    "__class__",
    "main,old",
    ["main"],
    ["old"],
    {"main": 1},
    {},
    None,
    0,
    1.5,
    True,
]


@pytest.mark.parametrize("kid", KIDS, ids=lambda kid: ascii(kid)[:20])
def test_a_kid_is_one_of_those_that_the_settings_name(mint, perfguard, kid):
    perfguard(TOKEN_KEY_ID="main", TOKEN_OLD_KEYS={"old": "o" * 40})
    refused(mint(header={**HEADER, "kid": kid}))
    refused(mint(header={**HEADER, "kid": kid}, key="o" * 40))


def test_a_kid_of_ten_kilobytes(mint):
    refused(mint(header={**HEADER, "kid": "x" * 10_000}))


def test_a_kid_where_no_ids_are_set(mint):
    refused(mint(header={**HEADER, "kid": "main"}))


def test_no_kid_where_ids_are_set(mint, perfguard):
    perfguard(TOKEN_KEY_ID="main")
    refused(mint())


@pytest.mark.parametrize(
    "crit",
    [["exp"], ["x"], ["b64"], [], "exp", None, [5], {"b64": 1}, ["kid"]],
    ids=repr,
)
def test_what_is_critical_and_not_understood(mint, crit):
    refused(mint(header={**HEADER, "crit": crit, "x": 1}))


@pytest.mark.parametrize("extra", [{"b64": False}, {"b64": False, "crit": ["b64"]}])
def test_a_payload_that_is_not_encoded(mint, extra):
    refused(mint(header={**HEADER, **extra}))


@pytest.mark.parametrize("extra", [{"typ": "JWE"}, {"cty": "JWT"}, {"zip": "DEF"}])
def test_other_headers_change_nothing(mint, extra):
    assert called(mint(header={**HEADER, **extra}).access) == 200


# -- T10 to T13: times -----------------------------------------------------------------


def now():
    return int(time.time())


@pytest.mark.parametrize("door", sorted(REFUSED.keys() - {*SIGNING_OUT}))
def test_a_second_after_its_end(mint, door):
    late = mint(exp=now() - 1)
    assert present(late)[door] == REFUSED[door]


def test_a_token_that_ends_now_has_ended(mint):
    assert called(mint(exp=now()).access) == 401
    assert called(mint(exp=now() + 20).access) == 200


def test_the_leeway_is_what_the_setting_says(mint, settings):
    settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, "LEEWAY": 60}
    assert called(mint(exp=now() - 50).access) == 200
    assert called(mint(exp=now() - 61).access) == 401
    assert called(mint(nbf=now() + 50).access) == 200
    assert called(mint(iat=now() + 70).access) == 401


@pytest.mark.parametrize("claim", ["nbf", "iat"])
@pytest.mark.parametrize(
    "value", [30, YEAR, 10**18, float("inf"), float("nan"), "x", [], {}, None], ids=repr
)
def test_a_token_of_the_future(mint, claim, value):
    moved = {30: now() + 30, YEAR: now() + YEAR}
    value = moved.get(value, value) if isinstance(value, int) else value
    refused(mint(**{claim: value}))


EXPS = {
    "missing": ...,
    "null": None,
    "10^18": 10**18,
    "-10^18": -(10**18),
    "10^400": 10**400,
    "the year 10000": 253_402_300_800,
    "the year 10000, in text": "253402300800",
    "next year, in text": str(now() + YEAR),
    "infinite": float("inf"),
    "below": float("-inf"),
    "no number": float("nan"),
    "a fraction": now() + YEAR + 0.5,
    "a float": float(now() + YEAR),
    "text": "abc",
    "empty text": "",
    "-1": -1,
    "0": 0,
    "true": True,
    "false": False,
    "a list": [],
    "a list of one": [now() + YEAR],
    "an object": {},
    "2^63": 2**63,
    "2^64": 2**64,
}


@pytest.mark.parametrize("exp", EXPS.values(), ids=EXPS)
def test_an_exp_that_is_no_time(mint, exp):
    answers = present(mint(exp=exp))
    assert answers == REFUSED


@pytest.mark.parametrize("exp", ["1e309", "1E400", "-1e309", "4e9", "9" * 400, "1e18"])
def test_an_exp_that_json_reads_as_something_odd(mint, exp):
    pair = mint.of(lambda claims: sign(raw(claims, exp=exp)))
    assert present(pair) == REFUSED
    assert written() == 0


def raw(claims, **texts):
    """The claims as JSON, some of them written by hand."""
    rest = json.dumps(changed(claims, dict.fromkeys(texts, ...)))[1:]
    return "{" + "".join(f'"{name}":{text},' for name, text in texts.items()) + rest


@pytest.mark.parametrize("leeway", [0, 60])
def test_the_last_second_that_there_is(mint, settings, leeway):
    settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, "LEEWAY": leeway}
    latest = mint(exp=253_402_300_799)
    answers = {called(latest.access), *present(latest).values()}
    assert answers <= {200, 401}
    assert called(latest.access) == 401  # signed out meanwhile, or refused before


# -- T14 and T15: ids ------------------------------------------------------------------

IDS = [
    ...,
    None,
    "",
    " ",
    5,
    0,
    True,
    1.5,
    [],
    ["a"],
    {},
    {"a": "b"},
    "x" * 65,
    "x" * 5000,
    "a b",
    "a.b",
    "a:b",
    "a/b",
    "a*",
    "a\n",
    "\x00",
    "a\x00b",
    "{a}",
    "é",
    "ａ",
    "\ud800",
    "'; DROP TABLE perfguard_revokedtoken; --",
    "../revoked:x",
]


@pytest.mark.parametrize("jti", IDS, ids=lambda jti: ascii(jti)[:20])
def test_a_jti_that_is_none(mint, jti):
    refused(mint(jti=jti))


@pytest.mark.parametrize("sid", IDS[1:], ids=lambda sid: ascii(sid)[:20])
def test_a_sid_that_is_none(mint, sid):
    refused(mint(sid=sid))


@pytest.mark.parametrize(
    "gen",
    [..., None, 0, -1, True, 1.5, 1e30, "1", "", [], {}, 2**63, 2**64, 10**40],
    ids=repr,
)
def test_a_generation_that_is_none(mint, gen):
    refused(mint(gen=gen))


@pytest.mark.parametrize("jti", ["a", "x" * 64, "-", "_", "0", "A-Z_09"])
def test_ids_may_be_these(mint, jti):
    assert called(mint(jti=jti).access) == 200


USERS = [
    ...,
    None,
    "",
    5,
    0,
    -1,
    1.5,
    True,
    [],
    ["1"],
    {},
    {"pk": 1},
    "9" * 256,
    "x" * 5000,
    "\x00",
    "1\x00",
    "1\n",
    "\ud800",
    "\u202e1",
]


@pytest.mark.parametrize("sub", USERS, ids=lambda sub: ascii(sub)[:20])
def test_a_user_that_is_no_text(mint, sub):
    refused(mint(sub=sub))


ODD_USERS = [
    "1" * 40,
    "9" * 19,
    "9223372036854775808",
    "-1",
    "0",
    "1.5",
    "1e3",
    "abc",
    "None",
    "null",
    "True",
    "ada@example.com",
    "'; DROP TABLE demo_user; --",
    "{1}",
    "}",
    "{",
    "%s",
    "%00",
    "x" * 64,
]


@pytest.mark.parametrize("sub", ODD_USERS, ids=lambda sub: sub[:20])
def test_a_user_that_there_is_not(mint, sub):
    assert present(mint(sub=sub)) == REFUSED


@pytest.mark.parametrize("sub", ODD_USERS, ids=lambda sub: sub[:20])
def test_a_user_that_there_is_not_and_that_has_had_tokens(mint, sub):
    TokenGeneration.objects.create(user_key=sub, generation=1)
    assert present(mint(sub=sub, sid=...)) == REFUSED


@pytest.mark.parametrize("sub", ODD_USERS, ids=lambda sub: sub[:20])
def test_an_odd_user_on_redis(mint, redis, sub):
    TokenGeneration.objects.create(user_key=sub, generation=1)
    assert present(mint(sub=sub, sid=...)) == REFUSED


@pytest.mark.parametrize("spelling", [" {}", "{} ", "+{}", "0{}", "{}.0", "０{}"])
def test_another_spelling_of_a_user_is_not_the_user(mint, user, spelling):
    assert present(mint(sub=spelling.format(user.pk))) == REFUSED


def test_a_token_of_one_user_is_not_that_of_another(mint, user, other):
    _, token = verify_token(mint().access)
    assert token["sub"] == str(user.pk)
    assert verify_token(Mint(other)().access)[0] == other


# -- T16: types ------------------------------------------------------------------------


@pytest.mark.parametrize("door", [*BY_HEADER, "verify_token"])
def test_a_refresh_token_gives_no_access(mint, door):
    good = mint()
    assert present(Pair(good.refresh, good.access))[door] == 401


@pytest.mark.parametrize("door", BY_REFRESH)
def test_an_access_token_does_not_refresh(mint, door):
    assert post(door, refresh=mint().access) == 401


@pytest.mark.parametrize(
    "kind", [..., None, "", "Access", "ACCESS", "sliding", "untyped", 5, [], {}, True]
)
def test_a_type_that_is_neither(mint, kind):
    odd = mint(token_type=kind)
    assert [get(name, odd.access).status_code for name in BY_HEADER] == [401] * 3
    assert [post(name, refresh=odd.refresh) for name in BY_REFRESH] == [401] * 3
    assert called(odd.access) == 401


@pytest.mark.parametrize("door", BY_HEADER)
def test_an_api_key_is_no_token(mint, door):
    key = "pgk_abcdefgh_" + "x" * 43
    answer = get(door, key)
    assert answer.status_code == 401
    assert presented_token(bearing(f"Bearer {key}")) is None
    assert called(key) == 401


def bearing(value):
    return RequestFactory().get("/", headers={"Authorization": value})


# -- T17: issuer and audience ----------------------------------------------------------

ISSUER = "https://here.example"
OTHER_ISSUERS = [
    ...,
    None,
    "",
    "https://here.exampl",
    "https://here.example/",
    "here",
    "https://HERE.example",
    "https://there.example",
    5,
    [],
    [ISSUER],
    {ISSUER: 1},
    True,
]
AUDIENCE = "api"
OTHER_AUDIENCES = [..., None, "", "ap", "api2", "API", 5, [], ["x"], ["ap", "i"], {}]


@pytest.mark.parametrize("iss", OTHER_ISSUERS, ids=repr)
def test_another_site_with_the_same_key(mint, settings, iss):
    settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, "ISSUER": ISSUER}
    assert called(mint(iss=ISSUER).access) == 200
    refused(mint(iss=iss))


@pytest.mark.parametrize("aud", [*OTHER_AUDIENCES, [5, "api"], {"api": 1}], ids=repr)
def test_another_audience_with_the_same_key(mint, settings, aud):
    settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, "AUDIENCE": AUDIENCE}
    refused(mint(aud=aud))


@pytest.mark.parametrize("aud", ["api", ["api"], ["web", "api"]])
def test_an_audience_may_be_a_list(mint, settings, aud):
    settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, "AUDIENCE": AUDIENCE}
    assert called(mint(aud=aud).access) == 200


def test_own_tokens_name_issuer_and_audience(user, settings):
    settings.SIMPLE_JWT = {
        **settings.SIMPLE_JWT,
        "ISSUER": ISSUER,
        "AUDIENCE": ["api", "web"],
    }
    claims = claims_of(RefreshToken.for_user(user).access_token)
    assert (claims["iss"], claims["aud"]) == (ISSUER, ["api", "web"])
    assert called(sign(claims)) == 200


# -- T18: the same thing twice ---------------------------------------------------------


def test_of_two_claims_of_one_name_the_last_is_what_all_read(mint, user, other):
    mine, theirs = f'"{user.pk}"', f'"{other.pk}"'
    first = sign(raw(mint.access, sub=f'{theirs},"sub":{mine}'))
    last = sign(raw(mint.access, sub=f'{mine},"sub":{theirs}'))
    assert verify_token(first)[0] == user
    assert called(last) == 401  # the other has no such generation


def test_a_revoked_jti_beside_another_is_what_is_asked_for(mint):
    gone = mint(jti="gone")
    assert post("signout", token=mint(jti="gone", sid=...).access) == 200
    assert called(gone.access) == 401
    before = raw(mint.access, jti='"fresh","jti":"gone"')
    after = raw(mint.access, jti='"gone","jti":"fresh"')
    assert [called(sign(before)), called(sign(after))] == [401, 200]
    assert verify_token(sign(after))[1].marks.jti == "fresh"


@pytest.mark.parametrize(
    "header",
    [
        '{"alg":"HS256","alg":"none"}',
        '{"alg":"HS256","alg":"HS512"}',
        '{"alg":"HS256","kid":"main","kid":"x"}',
    ],
)
def test_of_two_headers_the_last_is_read(mint, header):
    refused(mint(header=header))


# -- T19 and T20: what is too long, and what is no JWT ---------------------------------

MEGABYTE = 1_000_000


@pytest.fixture
def decoded(monkeypatch):
    """What was decoded of base64."""
    pieces = []
    original = api_jws.base64url_decode

    def spy(piece):
        pieces.append(piece)
        return original(piece)

    monkeypatch.setattr(api_jws, "base64url_decode", spy)
    return pieces


def test_a_token_of_a_megabyte_is_not_even_decoded(mint, decoded):
    refused(mint(padding="x" * MEGABYTE))
    assert decoded == []
    assert called(mint().access) == 200
    assert decoded != []


@pytest.mark.parametrize(
    "text",
    ["." * MEGABYTE, "A" * MEGABYTE, f"{'A' * MEGABYTE}.A.A", "A.A." + "A" * 8192],
)
def test_a_long_text_that_is_no_token_is_not_decoded(mint, decoded, text):
    refused(Pair.of(text))
    assert decoded == []


def of_length(mint, wanted, **changes):
    """An access token of exactly that many bytes."""
    for padding in range(wanted):
        token = mint(padding="x" * padding, **changes).access
        if len(token) >= wanted:
            return token
    raise AssertionError("There is no such token.")


def test_the_length_that_is_allowed_is_exact(mint, perfguard):
    token = mint(padding="x" * 500).access
    perfguard(TOKEN_MAX_BYTES=len(token))
    assert called(token) == 200
    perfguard(TOKEN_MAX_BYTES=len(token) - 1)
    assert called(token) == 401


DEEP = "[" * 2500 + "]" * 2500
ODD_JSON = {
    "deep lists": DEEP,
    "deep objects": '{"a":' * 1000 + "1" + "}" * 1000,
    "an object in which all is deep": '{"jti":' + DEEP + "}",
    "only the opening": "[" * 5000,
    "not UTF-8": b'{"alg":"HS256","sub":"\xff\xfe"}',
    "NUL": b"\x00",
    "NUL inside": b'{"alg":"HS256\x00"}',
    "nothing": "",
    "null": "null",
    "a number": "5",
    "a number without end": "9" * 5000,
    "text": '"HS256"',
    "a list": "[]",
    "an empty object": "{}",
    "half": '{"alg":"HS256"',
    "two": '{"alg":"HS256"}{"alg":"HS256"}',
    "NaN": "NaN",
    "a comment": '{"alg":"HS256"}//',
}


@pytest.mark.parametrize("odd", ODD_JSON.values(), ids=ODD_JSON)
def test_a_header_that_is_none(mint, odd):
    refused(mint.of(lambda claims: sign(claims, odd)))


@pytest.mark.parametrize("odd", ODD_JSON.values(), ids=ODD_JSON)
def test_a_payload_that_is_none(mint, odd):
    refused(Pair.of(sign(odd)))


def test_nesting_in_a_claim_that_nobody_reads(mint):
    pair = mint.of(lambda claims: sign(raw(claims, x=DEEP)))
    assert set(present(pair).values()) <= {200, 401}


TEXTS = [
    "x",
    ".",
    "..",
    "...",
    "....",
    "a.b",
    "a.b.c",
    "a.b.c.d",
    "a.b.c.d.e",
    "-",
    "null",
    "undefined",
    "{}",
    "%2e%2e",
    "eyJhbGciOiJub25lIn0.e30.",
    "\\x00.\\x00.\\x00",
    "=.=.=",
    "====.====.====",
]


@pytest.mark.parametrize("text", TEXTS)
def test_text_that_is_no_token(user, text):
    refused(Pair.of(text))


@pytest.mark.parametrize(
    "text",
    ["", " ", "\x00", "a.b.c\x00", "é.é.é", "\ud800..", "１.２.３", b"\xff..", b""],
)
def test_text_that_no_header_can_carry(user, text):
    assert called(text) == 401


@pytest.mark.parametrize("thing", [None, 5, 2**70, 10**12, 1.5, [], {}, True])
def test_a_thing_that_is_no_text(user, thing):
    assert called(thing) == 401


def cut(token, *places):
    header, payload, signed = token.split(".")
    return {
        "no signature": f"{header}.{payload}.",
        "no payload": f"{header}..{signed}",
        "no header": f".{payload}.{signed}",
        "two parts": f"{header}.{payload}",
        "four parts": f"{token}.",
        "five parts": f"{header}..{payload}..{signed}",
        "a part before": f".{token}",
        "another payload": f"{header}.{segment({'sub': '1'})}.{signed}",
        "half a signature": token[:-20],
        "a longer signature": f"{token}AAAA",
        "a signature of zeros": f"{header}.{payload}.{'A' * 43}",
        "a blank inside": f"{header}. {payload}.{signed}",
        "a tab inside": f"{header}.\t{payload}.{signed}",
        "standard base64": f"{header}.{payload}.{signed[:-1]}+",
        "a slash": f"{header}.{payload}.{signed[:-1]}/",
        "a backslash": f"{header}.{payload}\\.{signed}",
        "quoted": f'"{token}"',
        "twice": token + token,
        "upper case": token.upper(),
    }


@pytest.mark.parametrize("how", cut("a.b.c"))
def test_a_token_that_was_cut_or_put_together(mint, how):
    refused(mint.of(lambda claims: cut(sign(claims), 0)[how]))


# -- T21: other texts of a revoked token -----------------------------------------------


def variants(token):
    """Texts that a lenient decoder would read as the same token."""
    header, payload, signed = token.split(".")
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    place = last.index(signed[-1])
    unused = last[place ^ 1]  # the two last bits of 43 characters say nothing
    return [
        token,
        f"{token}=",
        f"{token}==",
        f"{header}=.{payload}.{signed}",
        f"{header}.{payload}=.{signed}",
        f"{header}.{payload}.{signed[:-1]}{unused}",
        f"{token}\n",
        f"\n{token}",
        f"{token}\r\n",
        f"{header}\n.{payload}.{signed}",
        f" {token}",
        f"{token} ",
        f"{header}.{payload}.{signed[:20]}\n{signed[20:]}",
        f"{header}.{payload}.{signed[:20]} {signed[20:]}",
        token.replace("-", "+").replace("_", "/"),
        f"{token}%3D",
    ]


def test_no_other_text_of_a_revoked_token_is_good(mint, redis):
    good = mint()
    assert post("signout", refresh=good.refresh) == 200
    for text in variants(good.access):
        assert called(text) == 401
        assert called(text.encode()) == 401
        assert [get(door, text.strip()).status_code for door in BY_HEADER] == [401] * 3
        assert [post(door, token=text) for door in BY_TOKEN] == [401] * 2
    for text in variants(good.refresh):
        assert [post(door, refresh=text) for door in BY_REFRESH] == [401] * 3


def test_a_token_that_was_written_anew_is_as_revoked(mint):
    assert post("signout", refresh=mint().refresh) == 200
    anew = [
        sign(json.dumps(mint.access, indent=1)),
        sign(mint.access, {**HEADER, "x": 1}),
        sign({**mint.access, "x": 1}),
        sign({**mint.access, "sid": "another"}),
        sign(changed(mint.access, {"sid": ..., "jti": mint.refresh["jti"]})),
    ]
    assert [called(text) for text in anew[:3]] == [401] * 3
    assert RevokedToken.objects.filter(jti=mint.refresh["jti"]).exists()
    assert called(anew[4]) == 401


# -- T22 and T23: where a token is presented -------------------------------------------


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
@pytest.mark.parametrize("door", BY_HEADER)
def test_the_scheme_is_one_in_any_case(mint, door, scheme):
    assert ask(door, f"{scheme} {mint().access}") == 200


@pytest.mark.parametrize("door", BY_HEADER)
def test_blanks_around_the_token_do_no_harm(mint, door):
    assert ask(door, f"  Bearer   {mint().access}  ") == 200


def ask(door, value):
    return Client().get(f"/{door}", headers={"Authorization": value}).status_code


@pytest.mark.parametrize(
    "value",
    [
        "Bearer {0},Bearer {0}",
        "Bearer {0}, Bearer {0}",
        "Bearer {0},{0}",
        "Bearer {0} {0}",
        "Bearer {0},",
        "Bearer ,{0}",
        "Bearer",
        "Bearer ",
        "Bearer\t{0}",
        "Bearer,{0}",
        "Bearer:{0}",
        "Bearer={0}",
        "Bearer {0};x=1",
        "Bearer \x00{0}",
        "Bearer {0}\x7f",
        "Bearer \xe9{0}",
        "Bearer {0}\xa0",
        "Bearer Bearer {0}",
        "Basic {0}",
        "JWT {0}",
        "Token {0}",
        "{0}",
        "",
        "Bearerr {0}",
        "Basic x, Bearer {0}",
        "Bearer pgk_x,Bearer {0}",
        "Bearer pgk_x Bearer {0}",
        "\xa0",
        "Bearer token={0}",
        'Bearer "{0}"',
    ],
    ids=ascii,
)
@pytest.mark.parametrize("door", BY_HEADER)
def test_a_header_that_does_not_hold_one_token(mint, door, value):
    good = mint().access
    assert ask(door, value.format(good)) == 401


@pytest.mark.parametrize("value", ["Bearer", "Bearer a b", "Bearer a,b", "Bearer é"])
def test_a_malformed_header_is_told_as_such(user, value):
    with pytest.raises(InvalidCredential):
        presented_token(bearing(value))


def test_a_header_without_a_token_is_none(user):
    values = ["", " ", "Basic eA==", "Digest a, b", "Bearer pgk_x", "Token x"]
    assert [presented_token(bearing(value)) for value in values] == [None] * 6


def test_the_settings_name_schemes_and_header(mint, settings):
    settings.SIMPLE_JWT = {
        **settings.SIMPLE_JWT,
        "AUTH_HEADER_TYPES": ("JWT", "Bearer"),
        "AUTH_HEADER_NAME": "HTTP_X_ACCESS_TOKEN",
    }
    token = mint().access
    headers = [{"X-Access-Token": f"jwt {token}"}, {"Authorization": f"JWT {token}"}]
    answers = [Client().get("/drf", headers=each).status_code for each in headers]
    assert answers == [200, 401]


@pytest.mark.parametrize("name", ["access_token", "token", "jwt", "Authorization"])
@pytest.mark.parametrize("door", BY_HEADER)
def test_a_token_in_the_address_is_no_token(mint, door, name):
    answer = Client().get(f"/{door}", {name: mint().access})
    assert answer.status_code == 401


@pytest.mark.parametrize("name", ["access_token", "token", "jwt", "access"])
@pytest.mark.parametrize("door", ["sync", "async"])
def test_a_token_in_a_body_is_no_token(mint, door, name):
    assert form(door, **{name: mint().access}) == 401
    assert post(door, **{name: mint().access}) == 401


@pytest.mark.parametrize(
    "name", ["access_token", "token", "jwt", "access", "sessionid"]
)
@pytest.mark.parametrize("door", BY_HEADER)
def test_a_token_in_a_cookie_is_no_token(mint, door, name):
    client = Client()
    client.cookies[name] = mint().access
    assert client.get(f"/{door}").status_code == 401


# -- T24: what a token says ------------------------------------------------------------


def test_a_token_says_who_and_when_and_no_more(mint, user):
    common = {"token_type", "exp", "iat", "jti", "sub", "gen", "sid"}
    assert set(mint.access) == set(mint.refresh) == common
    assert mint.access["sub"] == str(user.pk)
    assert "example.com" not in json.dumps([mint.access, mint.refresh])
    assert user.password not in json.dumps([mint.access, mint.refresh])


def test_a_token_without_a_session_says_less(user):
    claims = claims_of(AccessToken.for_user(user))
    assert set(claims) == {"token_type", "exp", "iat", "jti", "sub", "gen"}


# -- what garbage costs ----------------------------------------------------------------


def test_garbage_costs_redis_nothing(mint, asked):
    good = mint()
    garbage = [
        *map(Pair.of, [*TEXTS, *ODD_JSON_TEXTS]),
        mint(key="x" * 40),
        mint(header={**HEADER, "alg": "none"}),
        mint(header={**HEADER, "kid": "x"}),
        *(mint(jti=jti) for jti in IDS),
        *(mint(sub=sub) for sub in USERS),
        *(mint(gen=gen) for gen in (..., 0, "1")),
        *(mint(exp=exp) for exp in (..., 10**18, "abc")),
    ]
    with counted(asked) as commands:
        answers = [present(pair) for pair in garbage]
    assert answers == [REFUSED] * len(garbage)
    assert commands == []
    with counted(asked) as commands:
        assert called(good.access) == 200
    assert commands != []


ODD_JSON_TEXTS = [f"{segment(HEADER)}.{segment(odd)}." for odd in ODD_JSON.values()]


def test_an_expired_token_costs_nothing_where_it_would_give_access(mint, asked):
    late = mint(exp=now() - 1).access
    with counted(asked) as commands, CaptureQueriesContext(connection) as queries:
        answers = [*(get(door, late).status_code for door in BY_HEADER), called(late)]
    assert answers == [401] * 4
    assert (commands, len(queries)) == ([], 0)
