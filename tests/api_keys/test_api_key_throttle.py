"""A rate of the key's own, beside that of its owner."""

from __future__ import annotations

import pytest
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from perfguard.api_keys import services
from perfguard.api_keys.authentication import ApiKeyAuthentication
from perfguard.throttling.throttles import ApiKeyThrottle, UserRateThrottle

pytestmark = pytest.mark.django_db


class View(APIView):
    authentication_classes = (ApiKeyAuthentication,)
    permission_classes = ()
    throttle_classes = (UserRateThrottle, ApiKeyThrottle)

    def get(self, request):
        return Response({})


@pytest.fixture
def owner(django_user_model):
    return django_user_model.objects.create_user("ada@example.com")


@pytest.fixture
def key(owner):
    """Makes a key with a rate, and returns what asks with it."""

    def make(rate=""):
        text = services.create(owner, "of the test", rate=rate).text
        headers = {"HTTP_AUTHORIZATION": f"Api-Key {text}"}
        request = APIRequestFactory().get
        return lambda: View.as_view()(request("/api/v1/public", **headers))

    return make


def statuses(ask, times):
    return [ask().status_code for _ in range(times)]


def test_a_key_has_a_rate_of_its_own(perfguard, key):
    perfguard(THROTTLE_RATES={"user": None})
    slow, other = key("2/minute"), key("3/minute")
    assert statuses(slow, 3) == [200, 200, 429]
    assert statuses(other, 4) == [200, 200, 200, 429]
    assert int(slow().headers["Retry-After"]) in range(58, 61)


def test_a_key_without_one_has_that_of_the_scope(perfguard, key):
    perfguard(THROTTLE_RATES={"user": None, "api_key": "1/minute"})
    assert statuses(key(), 2) == [200, 429]


def test_keys_are_unlimited_unless_somebody_says_otherwise(perfguard, key):
    perfguard(THROTTLE_RATES={"user": None})
    assert statuses(key(), 30) == [200] * 30


def test_what_the_keys_owner_may_is_counted_apart(perfguard, key):
    perfguard(THROTTLE_RATES={"user": "3/minute"})
    first, second = key("2/minute"), key("2/minute")
    assert statuses(first, 3) == [200, 200, 429]
    # The refused request was counted by nobody: one is left of the owner's three.
    assert statuses(second, 2) == [200, 429]


def test_requests_without_a_key_pass(perfguard):
    perfguard(THROTTLE_RATES={"user": None, "api_key": "1/minute"})
    anonymous = lambda: View.as_view()(APIRequestFactory().get("/"))  # noqa: E731
    assert statuses(anonymous, 3) == [200] * 3
