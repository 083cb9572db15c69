from __future__ import annotations

from traceback import format_exception

import pytest
from django.core.checks import run_checks
from django.http import HttpResponse
from django.test import override_settings
from django.urls import path
from rest_framework.decorators import api_view, throttle_classes
from rest_framework.throttling import UserRateThrottle as PlainThrottle
from rest_framework.views import APIView

from perfguard import checks
from perfguard.exceptions import InvalidSetting
from perfguard.redis.client import get_client
from perfguard.throttling.decorators import throttle
from perfguard.throttling.throttles import (
    AnonRateThrottle,
    ScopedRateThrottle,
    SignInThrottle,
    UserRateThrottle,
)
from project import settings as project_settings

urlpatterns = []


@pytest.fixture(autouse=True)
def _no_views(settings):
    settings.ROOT_URLCONF = __name__


def test_the_project_is_without_fault(settings, perfguard):
    settings.ROOT_URLCONF = "project.urls"
    perfguard(THROTTLE_RATES=project_settings.PERFGUARD["THROTTLE_RATES"])
    deployment = {each.id for each in found(include_deployment_checks=True)}
    assert deployment == {"perfguard.W105", "perfguard.I401"}
    assert found() == []


def found(include_deployment_checks=False):
    messages = run_checks(include_deployment_checks=include_deployment_checks)
    return [each for each in messages if each.id.startswith("perfguard.")]


def ids():
    return [each.id for each in found()]


def test_an_unknown_key_is_met_with_a_suggestion(perfguard):
    perfguard(THROTLE_RATES={})
    (error,) = found()
    assert error.id == "perfguard.E001"
    assert error.hint == "Did you mean 'THROTTLE_RATES'?"


def test_an_unknown_key_that_resembles_nothing(perfguard):
    perfguard(XYZ=1)
    assert "docs/settings.md" in found()[0].hint


@override_settings(PERFGUARD=["REDIS_URL"])
def test_a_setting_that_is_no_dictionary():
    assert ids() == ["perfguard.E002"]


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("REDIS_URL", 1, "a string"),
        ("REDIS_CLUSTER", "yes", "True or False"),
        ("REDIS_READ_TIMEOUT", "0.1", "a number"),
        ("REDIS_READ_TIMEOUT", 0, "a number above 0"),
        ("REDIS_CONNECT_TIMEOUT", None, "a number"),
        ("THROTTLE_EXACT_LIMIT", 10.5, "a whole number"),
        ("THROTTLE_EXACT_LIMIT", True, "a whole number"),
        ("THROTTLE_MEMORY_SIZE", -1, "a whole number above 0"),
        ("THROTTLE_REFUSAL_CACHE_SECONDS", -1, "a number of at least 0"),
        ("THROTTLE_HEADERS", "ietf", "a list of strings"),
        ("THROTTLE_HEADERS", ["x"], "a list of strings among ietf, legacy"),
        ("TRUSTED_PROXIES", "10.0.0.0/8", "a list of strings"),
        ("TRUSTED_PROXIES", [1], "a list of strings"),
        ("THROTTLE_RATES", [], "a dictionary"),
        ("THROTTLE_PATHS", {}, "a list of dictionaries"),
    ],
)
def test_a_value_of_a_wrong_type(perfguard, name, value, wanted):
    perfguard(**{name: value})
    errors = [each for each in found() if each.id == "perfguard.E002"]
    assert [each.hint for each in errors] == [f"Give it {wanted}."]
    assert f"PERFGUARD[{name!r}]" in errors[0].msg


def test_a_password_is_not_shown(perfguard):
    perfguard(REDIS_SENTINEL_PASSWORD=["planted-secret"])
    assert "planted-secret" not in str(found())


def test_a_password_in_a_url_is_not_shown_either(perfguard):
    perfguard(REDIS_URL="redis://x", REDIS_SENTINELS=["redis://:planted-secret@x:1"])
    assert "planted-secret" not in str(found())
    perfguard(REDIS_URL="planted-secret://x", REDIS_SENTINELS=[])
    assert "planted-secret" not in str(found())
    perfguard(REDIS_URL="redis://:planted-secret@x:port/0")
    assert "planted-secret" not in str(found())
    with pytest.raises(InvalidSetting) as caught:
        get_client()
    assert "planted-secret" not in "".join(format_exception(caught.value))


@pytest.mark.parametrize(
    "rate",
    [
        "10/month",
        "",
        ["1/m", "x"],
        {"rate": "x"},
        {"rate": "1/m", "burst": 3},
        {"rate": "1/m", "on_redis_failure": "panic"},
        {"rate": "1/m", "count_refused": "no"},
        7,
    ],
)
def test_a_wrong_rate_names_its_scope(perfguard, rate):
    perfguard(THROTTLE_RATES={"api": rate})
    (error,) = found()
    assert error.id == "perfguard.E003"
    assert "PERFGUARD['THROTTLE_RATES']['api']" in error.msg


def test_a_scope_with_an_odd_name(perfguard):
    perfguard(THROTTLE_RATES={'a"b': "1/m"})
    assert ids() == ["perfguard.E003"]


def test_a_wrong_rate_of_drf_counts_where_perfguard_throttles():
    rest = {
        "DEFAULT_THROTTLE_CLASSES": ["perfguard.throttling.throttles.AnonRateThrottle"],
        "DEFAULT_THROTTLE_RATES": {"anon": "10/month"},
    }
    with override_settings(REST_FRAMEWORK=rest):
        assert "perfguard.E003" in ids()


@pytest.mark.parametrize(
    "values",
    [
        {"REDIS_URL": "http://localhost"},
        {"REDIS_URL": "localhost:6379"},
        {"REDIS_URL": "redis://x", "REDIS_CACHE_ALIAS": "default"},
        {"REDIS_CACHE_ALIAS": "nowhere"},
        {"REDIS_CACHE_ALIAS": "default"},
        {"REDIS_CLUSTER": True},
        {"REDIS_SENTINELS": ["a:1"]},
        {"REDIS_URL": "redis://x", "REDIS_SENTINELS": ["a:1"], "REDIS_CLUSTER": True},
        {"REDIS_URL": "redis://x", "REDIS_SENTINELS": ["a:b"]},
        {"REDIS_URL": "redis://x", "REDIS_SENTINELS": [""]},
        {"REDIS_URL": "redis://x", "REDIS_SENTINELS": ["user:pw@a:1"]},
        {"REDIS_URL": "redis://x", "REDIS_KEY_PREFIX": "{x}"},
        {"REDIS_URL": "redis://x:port/0"},
        {"REDIS_URL": "redis://x?nonsense=1"},
        {"REDIS_URL": "redis://x?ssl_cert_reqs=none"},
        {"REDIS_URL": "redis://x?nonsense=1", "REDIS_CLUSTER": True},
    ],
)
def test_a_redis_that_cannot_be(perfguard, values):
    perfguard(**values)
    assert set(ids()) == {"perfguard.E004"}


def cache(url="redis://localhost:6379/0", **options):
    return {
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        "redis": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": url,
            "OPTIONS": options,
        },
    }


def test_a_cache_without_time_outs(settings, perfguard):
    settings.CACHES = cache()
    perfguard(REDIS_CACHE_ALIAS="redis")
    assert ids() == ["perfguard.W102"]


def test_a_cache_with_time_outs(settings, perfguard):
    # Another database: django-redis keeps the first pool of each URL for good.
    settings.CACHES = cache(
        "redis://localhost:6379/1", SOCKET_TIMEOUT=1, SOCKET_CONNECT_TIMEOUT=1
    )
    perfguard(REDIS_CACHE_ALIAS="redis")
    assert ids() == []


@pytest.mark.parametrize("entry", ["10.0.0.0/8/8", "proxy", "10.0.0.1/8", ""])
def test_a_proxy_that_is_no_network(perfguard, entry):
    perfguard(TRUSTED_PROXIES=[entry])
    (error,) = found()
    assert error.id == "perfguard.E005"
    assert repr(entry) in error.msg


def test_num_proxies_of_drf_is_not_used():
    with override_settings(REST_FRAMEWORK={"NUM_PROXIES": 1}):
        assert "perfguard.W101" in ids()


MIDDLEWARE = ["perfguard.throttling.middleware.ThrottleMiddleware"]


@pytest.mark.parametrize(
    "rule",
    [
        {"path": "("},
        {"path": "(", "scope": "sign_in"},
        {"path": 1, "scope": "sign_in"},
        {"path": "^/", "scope": "nowhere"},
        {"path": "^/", "scope": "sign_in", "method": "POST"},
        {"path": "^/", "scope": "sign_in", "methods": "POST"},
        "^/",
    ],
)
def test_a_path_rule_that_cannot_be(perfguard, rule):
    perfguard(THROTTLE_PATHS=[rule])
    assert "perfguard.E006" in ids()


@override_settings(MIDDLEWARE=[])
def test_path_rules_that_nobody_reads(perfguard):
    perfguard(THROTTLE_PATHS=[{"path": "^/", "scope": "sign_in_address"}])
    assert "perfguard.E006" in ids()


# -- the views -------------------------------------------------------------------------


class Twice(APIView):
    throttle_classes = (UserRateThrottle, ScopedRateThrottle)
    throttle_scope = "user"


class Mixed(APIView):
    throttle_classes = (UserRateThrottle, PlainThrottle)


class Nowhere(APIView):
    throttle_classes = (ScopedRateThrottle,)
    throttle_scope = "nowhere"


class Wrong(APIView):
    class Own(AnonRateThrottle):
        rate = "10/month"

    throttle_classes = (Own,)


class Good(APIView):
    class Own(AnonRateThrottle):
        rate = "10/minute"

    throttle_classes = (Own, UserRateThrottle)


class Misspelt(APIView):
    class Own(SignInThrottle):
        address_scope = "nowhere"

    throttle_classes = (Own,)


@api_view()
@throttle_classes([AnonRateThrottle])
def without_rate(request):
    return HttpResponse("ok")


@api_view()
@throttle_classes([UserRateThrottle])
def with_rate(request):
    return HttpResponse("ok")


@throttle("user")
@throttle("user", "1/minute")
def plain(request):
    return HttpResponse("ok")


@throttle("nowhere")
def unknown(request):
    return HttpResponse("ok")


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (Twice.as_view(), ["perfguard.W103"]),
        (Mixed.as_view(), ["perfguard.W104"]),
        (Nowhere.as_view(), ["perfguard.E007"]),
        (Wrong.as_view(), ["perfguard.E007"]),
        (Good.as_view(), []),
        (plain, ["perfguard.W103"]),
        (unknown, ["perfguard.E007"]),
        (Good.as_view(throttle_classes=Twice.throttle_classes), []),
        (Good.as_view(throttle_classes=[Wrong.Own]), ["perfguard.E007"]),
        (Misspelt.as_view(), ["perfguard.E007"]),
    ],
)
def test_throttles_of_views(perfguard, monkeypatch, view, expected):
    monkeypatch.setattr(f"{__name__}.urlpatterns", [path("", view)])
    perfguard(THROTTLE_RATES={"user": "10/minute"})
    assert ids() == expected


def test_functions_of_one_module_are_views_of_their_own(perfguard, monkeypatch):
    views = [path("a", without_rate), path("b", with_rate)]
    monkeypatch.setattr(f"{__name__}.urlpatterns", views)
    perfguard(THROTTLE_RATES={"user": "10/minute"})
    (error,) = found()
    assert error.id == "perfguard.E007"
    assert "without_rate" in error.msg


def test_a_path_rule_that_meets_no_such_view_is_no_fault(perfguard, monkeypatch):
    monkeypatch.setattr(
        f"{__name__}.urlpatterns", [path("notes/<int:pk>", Good.as_view())]
    )
    rates = {"THROTTLE_RATES": {"user": "10/minute"}}
    perfguard(**rates, THROTTLE_PATHS=[{"path": "^/admin/", "scope": "user"}])
    assert ids() == []
    perfguard(**rates, THROTTLE_PATHS=[{"path": r"^/notes/\d+$", "scope": "user"}])
    assert ids() == ["perfguard.W103"]


def test_a_scope_that_would_refuse_and_no_redis(perfguard):
    rates = {"pay": {"rate": "1/minute", "on_redis_failure": "refuse"}}
    perfguard(THROTTLE_RATES=rates)
    assert ids() == ["perfguard.W106"]
    perfguard(REDIS_URL="redis://localhost")
    assert ids() == []


def test_a_scope_of_a_path_and_of_a_view(perfguard, monkeypatch):
    monkeypatch.setattr(f"{__name__}.urlpatterns", [path("", Good.as_view())])
    perfguard(
        THROTTLE_RATES={"user": "10/minute"},
        THROTTLE_PATHS=[{"path": "^/", "scope": "user"}],
    )
    assert ids() == ["perfguard.W103"]


def test_memory_alone_is_a_warning_at_deployment(perfguard):
    perfguard(TOKEN_ACCESS_LIFETIME="30m")
    deployment = [each.id for each in found(include_deployment_checks=True)]
    assert deployment == ["perfguard.W105"]
    perfguard(REDIS_URL="redis://localhost")
    assert found(include_deployment_checks=True) == []


def test_every_check_is_registered_once():
    assert len({*checks.ALL, *checks.DEPLOY}) == len(checks.ALL) + len(checks.DEPLOY)
