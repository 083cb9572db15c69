"""Mistakes in the settings of tokens, found before the first request."""

from __future__ import annotations

import tomllib
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.core.checks import run_checks
from django.test import override_settings
from django.urls import path
from rest_framework.authentication import SessionAuthentication
from rest_framework.decorators import api_view, authentication_classes
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet
from rest_framework_simplejwt import authentication as stock
from rest_framework_simplejwt import tokens as stock_tokens
from rest_framework_simplejwt import views as stock_views

from perfguard.exceptions import InvalidSetting
from perfguard.redis.client import close_client
from perfguard.tokens import checks
from perfguard.tokens.authentication import JWTAuthentication, verify_token
from perfguard.tokens.simplejwt import TOKEN_CLASSES
from tests.tokens.doors import plain

ROOT = Path(__file__).resolve().parent.parent.parent
urlpatterns = []
KEY = "vMXIyH2b3tTQy5HcJ4d8eQ0pKz9wLrU7aBfNsGjZo1WqEiXcRt"  # 50 bytes
BLACKLIST = "rest_framework_simplejwt.token_blacklist"


class Mine(JWTAuthentication):
    pass


class Theirs(stock.JWTAuthentication):
    pass


@pytest.fixture(autouse=True)
def _site(settings, perfguard):
    settings.ROOT_URLCONF = __name__
    settings.SIMPLE_JWT = {**TOKEN_CLASSES, "SIGNING_KEY": KEY}
    perfguard()


def found(*, deploy=False):
    messages = run_checks(include_deployment_checks=deploy)
    return [each for each in messages if each.id[10:12] in {"E4", "W4", "I4"}]


def ids(*, deploy=False):
    return [each.id.removeprefix("perfguard.") for each in found(deploy=deploy)]


def only(number, *, deploy=False):
    (message,) = found(deploy=deploy)
    assert message.id == f"perfguard.{number}"
    assert message.hint or number == "E401"
    return message


@pytest.fixture
def short(perfguard):
    """With which no check has anything to say."""
    perfguard(TOKEN_ACCESS_LIFETIME="30m")


def test_a_site_without_fault(short):
    assert ids(deploy=True) == []


# -- E401 and E402: lifetimes ----------------------------------------------------------

LIFETIMES = [f"TOKEN_{kind}_LIFETIME" for kind in ("ACCESS", "REFRESH", "SESSION")]
each_lifetime = pytest.mark.parametrize("name", LIFETIMES)


@each_lifetime
@pytest.mark.parametrize("text", ["1month", "4W", "0", "0s", "", "-5m", "11h junk"])
def test_a_lifetime_that_is_none_is_named(perfguard, name, text):
    perfguard(**{name: text})
    message = only("E401")
    assert f"PERFGUARD[{name!r}]" in message.msg
    assert repr(text) in message.msg
    assert "'4w'" in message.msg


@each_lifetime
def test_a_lifetime_longer_than_ten_years(perfguard, name):
    perfguard(**{name: "522w"})
    assert "longer than ten years" in only("E401").msg


@each_lifetime
@pytest.mark.parametrize("text", ["1s", "500ms", "1d12h", "4w"])
def test_good_lifetimes(perfguard, name, text):
    perfguard(**{name: text})
    assert ids() == []


@each_lifetime
def test_without_end_must_be_allowed(perfguard, name):
    perfguard(**{name: "-1"})
    assert name in only("E402").msg
    perfguard(TOKEN_ALLOW_NEVER_EXPIRES=True)
    assert ids() == []


def test_every_wrong_lifetime_is_told(perfguard):
    perfguard(**dict.fromkeys(LIFETIMES, "x"))
    assert ids() == ["E401"] * 3


WRONG_TYPES = [None, 5, 1.5, True, [], {}, ["x"], {"a": 1}, timedelta(days=1), object()]


@pytest.mark.parametrize("value", WRONG_TYPES, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize(
    "name",
    [
        *LIFETIMES,
        "TOKEN_ALLOW_NEVER_EXPIRES",
        "TOKEN_REUSE_GRACE",
        "TOKEN_MAX_BYTES",
        "TOKEN_KEY_ID",
        "TOKEN_OLD_KEYS",
        "REVOCATION_ON_REDIS_FAILURE",
    ],
)
def test_a_value_of_a_wrong_type_breaks_no_check(perfguard, name, value):
    perfguard(**{name: value})
    run_checks(include_deployment_checks=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TOKEN_MAX_BYTES", 0),
        ("TOKEN_REUSE_GRACE", -1),
        ("TOKEN_KEY_ID", 5),
        ("TOKEN_OLD_KEYS", ["a"]),
        ("TOKEN_ACCESS_LIFETIME", timedelta(minutes=5)),
        ("TOKEN_ALLOW_NEVER_EXPIRES", "yes"),
        ("REVOCATION_ON_REDIS_FAILURE", "open"),
    ],
)
def test_a_value_that_cannot_be_is_named(perfguard, name, value):
    perfguard(**{name: value})
    messages = [each for each in run_checks() if each.id == "perfguard.E002"]
    assert [f"PERFGUARD[{name!r}]" in each.msg for each in messages] == [True]


# -- E403: the classes of SIMPLE_JWT ---------------------------------------------------


@pytest.mark.parametrize("name", TOKEN_CLASSES)
def test_a_class_that_is_missing(settings, name):
    settings.SIMPLE_JWT = {
        key: value for key, value in settings.SIMPLE_JWT.items() if key != name
    }
    assert name in only("E403").msg


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUTH_TOKEN_CLASSES", ("rest_framework_simplejwt.tokens.AccessToken",)),
        ("AUTH_TOKEN_CLASSES", (stock_tokens.AccessToken,)),
        ("AUTH_TOKEN_CLASSES", ["rest_framework_simplejwt.tokens.SlidingToken"]),
        (
            "AUTH_TOKEN_CLASSES",
            (
                "perfguard.tokens.tokens.AccessToken",
                "rest_framework_simplejwt.tokens.SlidingToken",
            ),
        ),
        (
            "TOKEN_REFRESH_SERIALIZER",
            "rest_framework_simplejwt.serializers.TokenRefreshSerializer",
        ),
        ("TOKEN_VERIFY_SERIALIZER", ""),
        ("TOKEN_BLACKLIST_SERIALIZER", None),
    ],
)
def test_a_class_of_simplejwts_own(settings, name, value):
    settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, name: value}
    message = only("E403")
    assert name in message.msg
    assert str(TOKEN_CLASSES[name]) in message.hint


def test_a_subclass_is_welcome(settings):
    settings.SIMPLE_JWT = {
        **settings.SIMPLE_JWT,
        "AUTH_TOKEN_CLASSES": ("shop.tokens.AccessToken",),
        "TOKEN_OBTAIN_SERIALIZER": "shop.tokens.TokenObtainPairSerializer",
    }
    assert ids() == []


@pytest.mark.parametrize(
    "classes",
    [
        ("rest_framework_simplejwt.tokens.AccessToken",),
        ("rest_framework_simplejwt.tokens.UntypedToken",),
        ("rest_framework_simplejwt.tokens.SlidingToken",),
    ],
)
def test_a_class_that_takes_revoked_tokens_takes_none(settings, classes):
    settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, "AUTH_TOKEN_CLASSES": classes}
    with pytest.raises(InvalidSetting, match="takes revoked tokens"):
        verify_token("a.b.c")


def test_without_the_token_classes_no_token_is_taken(settings):
    settings.SIMPLE_JWT = {"SIGNING_KEY": KEY}
    with pytest.raises(InvalidSetting, match="TOKEN_CLASSES"):
        verify_token("a.b.c")


class Guarded(APIView):
    authentication_classes = (SessionAuthentication, Mine)


@pytest.mark.parametrize("simple_jwt", [{}, None])
def test_a_single_view_is_enough_to_need_them(settings, monkeypatch, simple_jwt):
    settings.REST_FRAMEWORK = {}
    settings.SIMPLE_JWT = simple_jwt
    monkeypatch.setattr(f"{__name__}.urlpatterns", [path("", Guarded.as_view())])
    assert ids() == ["E403"] * len(TOKEN_CLASSES)


@pytest.mark.parametrize("view", [plain, stock_views.TokenObtainPairView.as_view()])
def test_other_views_do_not_need_them(settings, monkeypatch, view):
    settings.REST_FRAMEWORK = {}
    settings.SIMPLE_JWT = {}
    monkeypatch.setattr(f"{__name__}.urlpatterns", [path("", view)])
    assert ids(deploy=True) in ([], ["I401"])


def test_a_project_that_has_no_tokens_hears_nothing(settings, monkeypatch):
    settings.REST_FRAMEWORK = {}
    settings.SIMPLE_JWT = {"LEEWAY": 3600, "SIGNING_KEY": "short"}
    monkeypatch.setattr(django_settings, "INSTALLED_APPS", [BLACKLIST])
    assert ids(deploy=True) == []


# -- E404 and W401: the key that signs -------------------------------------------------


@pytest.mark.parametrize(
    ("algorithm", "length"), [("HS256", 32), ("HS384", 48), ("HS512", 64)]
)
def test_a_key_is_as_long_as_the_hash(settings, algorithm, length):
    change = {"ALGORITHM": algorithm}
    settings.SIMPLE_JWT = {
        **settings.SIMPLE_JWT,
        **change,
        "SIGNING_KEY": (KEY * 2)[: length - 1],
    }
    assert algorithm in only("E404").msg
    settings.SIMPLE_JWT = {
        **settings.SIMPLE_JWT,
        **change,
        "SIGNING_KEY": (KEY * 2)[:length],
    }
    assert ids() == []


@pytest.mark.parametrize(
    "key",
    [
        "",
        None,
        "secret",
        "your-256-bit-secret",
        "a-string-secret-at-least-256-bits-long",
        "A-String-Secret-At-Least-256-Bits-Long",
        "a-valid-string-secret-that-is-at-least-384-bits-long",
        "a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",
        "x" * 64,
        "0123" * 16,
        b"short",
        b"x" * 31,
    ],
    ids=lambda key: repr(key)[:20],
)
def test_a_key_that_everybody_knows_or_guesses(settings, key):
    settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, "SIGNING_KEY": key}
    message = only("E404")
    assert "secrets.token_urlsafe" in message.hint
    assert not key or repr(key) not in message.msg + message.hint


def test_bytes_are_counted_and_not_letters(settings):
    settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, "SIGNING_KEY": "äöüßéàèñ" * 2}
    assert ids() == []
    settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, "SIGNING_KEY": KEY.encode()[:32]}
    assert ids() == []


@override_settings(SECRET_KEY="short")
def test_the_secret_key_is_the_key_where_none_is_set(settings):
    settings.SIMPLE_JWT = dict(TOKEN_CLASSES)
    assert ids() == ["E404"]


def test_a_pair_of_keys_is_not_measured(settings):
    settings.SIMPLE_JWT = {
        **settings.SIMPLE_JWT,
        "ALGORITHM": "ES256",
        "SIGNING_KEY": "short",
    }
    assert ids() == []


@pytest.mark.parametrize("old", ["short", "x" * 64, "your-256-bit-secret"])
def test_an_old_key_that_is_weak_lets_anybody_in_as_well(perfguard, old):
    perfguard(TOKEN_OLD_KEYS={"a": KEY[::-1], "b": old})
    message = only("E404")
    assert "'b'" in message.msg
    assert old not in message.msg


def test_the_secret_key_has_other_uses(settings, short):
    settings.SIMPLE_JWT = dict(TOKEN_CLASSES)
    assert ids() == []
    assert "SECRET_KEY" in only("W401", deploy=True).msg
    settings.SIMPLE_JWT = {**TOKEN_CLASSES, "SIGNING_KEY": settings.SECRET_KEY}
    assert ids(deploy=True) == ["W401"]


# -- E405: views -----------------------------------------------------------------------


def view_of(*classes):
    class View(APIView):
        authentication_classes = classes

    return View.as_view()


class Set(ViewSet):
    authentication_classes = (stock.JWTStatelessUserAuthentication,)

    def list(self, request):
        return Response()


@api_view()
@authentication_classes([stock.JWTAuthentication])
def function(request):
    return Response()


@pytest.mark.parametrize(
    "view",
    [
        view_of(stock.JWTAuthentication),
        view_of(SessionAuthentication, stock.JWTAuthentication),
        view_of(stock.JWTStatelessUserAuthentication),
        view_of(stock.JWTTokenUserAuthentication),
        view_of(Theirs),
        view_of(Mine, Theirs),
        APIView.as_view(authentication_classes=[stock.JWTAuthentication]),
        Set.as_view({"get": "list"}),
        function,
    ],
)
def test_a_view_that_takes_revoked_tokens(monkeypatch, view):
    monkeypatch.setattr(f"{__name__}.urlpatterns", [path("", view)])
    message = only("E405")
    assert __name__ in message.msg or "APIView" in message.msg


@pytest.mark.parametrize(
    "view",
    [
        view_of(),
        view_of(SessionAuthentication),
        view_of(JWTAuthentication),
        view_of(Mine),
        APIView.as_view(),
        stock_views.TokenRefreshView.as_view(),
        Set.as_view({"get": "list"}, authentication_classes=[Mine]),
        plain,
    ],
)
def test_a_view_that_does_not(monkeypatch, view):
    monkeypatch.setattr(f"{__name__}.urlpatterns", [path("", view)])
    assert ids() == []


@override_settings(ROOT_URLCONF=None)
def test_without_views_there_is_none():
    assert checks.check_views() == checks.check_classes() == []


# -- E406: ids of keys -----------------------------------------------------------------

OLD = KEY[::-1]


@pytest.mark.parametrize(
    "old",
    [
        {"a": ""},
        {"a": None},
        {"a": 5},
        {"a": ["x"]},
        {"a": OLD, "b": ""},
        {5: OLD},
        {None: OLD},
        {"now": OLD},
        {"a": "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n"},
        {"a": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJxvB2NqkYhS0bVb4PfF"},
    ],
    ids=repr,
)
def test_an_entry_of_the_old_keys_that_is_none(perfguard, old):
    perfguard(TOKEN_KEY_ID="now", TOKEN_OLD_KEYS=old)
    message = only("E406")
    assert OLD not in message.msg
    assert "MII" not in message.msg


def test_the_id_of_a_key_that_has_none(perfguard):
    perfguard(TOKEN_OLD_KEYS={"": OLD})
    assert "TOKEN_KEY_ID" in only("E406").msg
    perfguard(TOKEN_KEY_ID="now")
    assert ids() == []


def test_old_keys_that_may_be(perfguard, settings):
    perfguard(TOKEN_KEY_ID="c", TOKEN_OLD_KEYS={"": OLD, "a": OLD, "b": f"{OLD}x"})
    assert ids() == []
    settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, "ALGORITHM": "RS256"}
    perfguard(TOKEN_OLD_KEYS={"a": "-----BEGIN PUBLIC KEY-----\n"})
    assert ids() == []


# -- E407, E408 ------------------------------------------------------------------------


@pytest.mark.parametrize("leeway", [61, 60.5, timedelta(seconds=61), timedelta(days=9)])
def test_a_leeway_that_is_no_matter_of_clocks(settings, leeway):
    settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, "LEEWAY": leeway}
    assert "LEEWAY" in only("E407").msg


@pytest.mark.parametrize("leeway", [0, None, 30, 60, 59.5, timedelta(seconds=60)])
def test_a_leeway_for_clocks_that_differ(settings, leeway):
    settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, "LEEWAY": leeway}
    assert ids() == []


@pytest.mark.parametrize("leeway", ["10", "x", [5], float("inf"), float("nan"), 10**30])
def test_a_leeway_that_is_none_is_an_error_and_no_exception(settings, leeway):
    settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, "LEEWAY": leeway}
    assert ids() == ["E407"]


@pytest.mark.parametrize("found", ["2.12.9", "2.0.0", "1.7.1", "2.9"])
def test_an_old_pyjwt(monkeypatch, found):
    monkeypatch.setattr(checks, "version", lambda name: found)
    assert found in only("E408").msg


@pytest.mark.parametrize("found", ["2.13.0", "2.15.1", "3.0.0", "2.13.0rc1", "10.0"])
def test_a_pyjwt_that_will_do(monkeypatch, found):
    monkeypatch.setattr(checks, "version", lambda name: found)
    assert ids() == []


def test_a_pyjwt_that_there_is_not(monkeypatch):
    def missing(name):
        raise checks.PackageNotFoundError(name)

    monkeypatch.setattr(checks, "version", missing)
    assert ids() == []


# -- warnings --------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["database", "deny"])
def test_what_happens_without_redis(perfguard, mode):
    perfguard(REVOCATION_ON_REDIS_FAILURE="allow")
    assert "'allow'" in only("W402").msg
    perfguard(REVOCATION_ON_REDIS_FAILURE=mode)
    assert ids() == []


def test_tokens_without_end_are_a_warning_at_deployment(perfguard, short):
    perfguard(TOKEN_ALLOW_NEVER_EXPIRES=True)
    assert ids() == []
    assert "TOKEN_ALLOW_NEVER_EXPIRES" in only("W403", deploy=True).msg


def test_simplejwts_blacklist_is_not_needed(monkeypatch):
    # Not by the fixture, which would load the app and its admin as well.
    monkeypatch.setattr(django_settings, "INSTALLED_APPS", [BLACKLIST])
    assert "token_blacklist" in only("W404").msg


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", "volatile-lru"])
def test_a_redis_that_evicts(own_redis, perfguard, short, policy):
    perfguard(REDIS_URL=own_redis.url)
    assert ids(deploy=True) == []
    close_client()
    own_redis.client().config_set("maxmemory", "100mb")
    own_redis.client().config_set("maxmemory-policy", policy)
    assert ids() == []
    assert "noeviction" in only("W405", deploy=True).hint


def test_a_redis_that_does_not_answer_is_no_matter_of_checks(perfguard, short):
    perfguard(REDIS_URL="redis://127.0.0.1:1", REDIS_CONNECT_TIMEOUT=0.2)
    assert ids(deploy=True) == []


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ({}, {}, ["I401"]),
        ({"TOKEN_ACCESS_LIFETIME": "25h"}, {}, ["I401"]),
        ({"TOKEN_ACCESS_LIFETIME": "1d"}, {}, []),
        ({}, {"ACCESS_TOKEN_LIFETIME": timedelta(minutes=5)}, []),
        ({}, {"ACCESS_TOKEN_LIFETIME": timedelta(days=2)}, ["I401"]),
        (
            {"TOKEN_ACCESS_LIFETIME": "4w"},
            {"ACCESS_TOKEN_LIFETIME": timedelta(minutes=5)},
            ["I401"],
        ),
    ],
)
def test_long_access_tokens_are_a_hint_at_deployment(
    settings, perfguard, ours, theirs, expected
):
    settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, **theirs}
    perfguard(**ours)
    assert ids() == []
    assert ids(deploy=True) == expected


def test_no_message_shows_a_key(settings, perfguard):
    planted = "planted-key-"
    settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, "SIGNING_KEY": planted}
    perfguard(TOKEN_OLD_KEYS={"a": planted, "": planted, "b": [planted]})
    messages = run_checks(include_deployment_checks=True)
    assert {"perfguard.E404", "perfguard.E406"} <= {each.id for each in messages}
    assert planted not in str(messages)


def test_the_metadata_asks_for_the_pyjwt_that_the_check_asks_for():
    page = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = page["project"]["optional-dependencies"]["jwt"]
    assert f"pyjwt>={'.'.join(map(str, checks.OLDEST_PYJWT))}" in wanted
