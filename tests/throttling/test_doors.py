"""The decorator, the middleware and DRF's throttles, on the store in memory."""

from __future__ import annotations

import asyncio
import json

import pytest
from django.http import HttpResponse
from django.test import RequestFactory
from django.utils.decorators import method_decorator
from django.views import View
from rest_framework.decorators import api_view, permission_classes
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory, force_authenticate
from rest_framework.throttling import AnonRateThrottle as PlainThrottle
from rest_framework.views import APIView

from perfguard.exceptions import InvalidRate, InvalidSetting, UnknownScope
from perfguard.signals import throttle_decided
from perfguard.throttling.decorators import throttle
from perfguard.throttling.gate import gate, group
from perfguard.throttling.middleware import ThrottleMiddleware
from perfguard.throttling.requests import recorded
from perfguard.throttling.throttles import (
    AnonRateThrottle,
    ScopedRateThrottle,
    SignInThrottle,
    SimpleRateThrottle,
    UserRateThrottle,
)
from project.demo.models import User

rf = RequestFactory()
arf = APIRequestFactory()


def user(pk=1):
    return User(pk=pk, email=f"{pk}@example.com")


def statuses(call, count):
    return [call().status_code for _ in range(count)]


# -- the decorator ---------------------------------------------------------------


def view_of(*args, **kwargs):
    @throttle(*args, **kwargs)
    def view(request):
        return HttpResponse("ok")

    return view


def test_a_view_with_a_rate_of_its_own():
    view = view_of("2/minute")
    assert statuses(lambda: view(rf.get("/")), 3) == [200, 200, 429]


def test_an_async_view():
    @throttle("2/minute")
    async def view(request):
        return HttpResponse("ok")

    async def ask():
        return [(await view(rf.get("/"))).status_code for _ in range(3)]

    assert asyncio.run(ask()) == [200, 200, 429]


def test_an_async_view_on_redis(perfguard, redis_server):
    perfguard(REDIS_URL=redis_server.url)

    @throttle("2/minute")
    async def view(request):
        return HttpResponse("ok")

    async def ask():
        return [(await view(rf.get("/"))).status_code for _ in range(4)]

    assert asyncio.run(ask()) == [200, 200, 429, 429]
    assert len(redis_server.client().keys("perfguard:{ip:127.0.0.1}:*")) == 1


def test_the_refusal_says_when_and_why():
    view = view_of("1/minute")
    view(rf.get("/"))
    refused = view(rf.get("/"))
    assert json.loads(refused.content) == {
        "detail": "Too many requests. Try again in 60 seconds."
    }
    assert refused.headers["Retry-After"] == "60"
    assert refused.headers["RateLimit"].endswith(";r=0;t=60")
    assert refused.headers["RateLimit-Policy"].endswith(";q=1;w=60")


def test_problem_details_for_whoever_accepts_them(perfguard):
    perfguard(THROTTLE_RATES={"api": ["1/minute", "9/hour"]})
    view = view_of("api")
    view(rf.get("/"))
    refused = view(rf.get("/", headers={"Accept": "application/problem+json"}))
    assert refused.headers["Content-Type"] == "application/problem+json"
    body = json.loads(refused.content)
    assert body["type"].endswith("#quota-exceeded")
    assert body["violated-policies"] == ["api-60"]
    assert body["status"] == 429


def test_by_user_counts_users_and_lets_others_pass():
    view = view_of("1/minute", by="user")

    def ask(who):
        request = rf.get("/")
        request.user = who
        return view(request).status_code

    assert [ask(user(1)), ask(user(1)), ask(user(2))] == [200, 429, 200]
    assert statuses(lambda: view(rf.get("/")), 3) == [200] * 3


def test_by_a_function_and_cost_by_a_function():
    view = view_of(
        "10/minute",
        by=lambda request: request.GET.get("who"),
        cost=lambda request: int(request.GET["cost"]),
    )
    assert view(rf.get("/?who=a&cost=7")).status_code == 200
    assert view(rf.get("/?who=a&cost=4")).status_code == 429
    assert view(rf.get("/?who=b&cost=4")).status_code == 200
    assert view(rf.get("/?cost=99")).status_code == 200


def test_only_the_methods_named_count():
    view = view_of("1/minute", methods=["post"])
    assert statuses(lambda: view(rf.get("/")), 3) == [200] * 3
    assert statuses(lambda: view(rf.post("/")), 2) == [200, 429]


def test_two_decorators_of_two_rates_both_hold():
    inner = view_of("2/minute")
    view = throttle("3/minute", by=lambda request: "everybody")(inner)
    assert statuses(lambda: view(rf.get("/")), 3) == [200, 200, 429]


def test_rates_of_one_view_are_windows_of_their_own():
    view = throttle("9/hour")(view_of("2/minute"))
    assert statuses(lambda: view(rf.get("/")), 3) == [200, 200, 429]
    view = throttle("4/minute")(view_of("1/minute", methods=["POST"]))
    assert statuses(lambda: view(rf.get("/")), 2) == [200, 200]
    assert statuses(lambda: view(rf.post("/")), 2) == [200, 429]


def test_mistakes_are_found_at_import():
    with pytest.raises(InvalidRate):
        view_of("10/month")
    with pytest.raises(InvalidSetting, match="user_or_address"):
        view_of("1/minute", by="name")


# -- the middleware ----------------------------------------------------------------

RULES = {
    "THROTTLE_RATES": {"api": "2/minute", "write": "1/minute"},
    "THROTTLE_PATHS": [
        {"path": "^/api/", "scope": "api"},
        {"path": "^/api/", "scope": "write", "methods": ["POST"]},
    ],
}


def ok(request):
    return HttpResponse("ok")


def test_paths_are_throttled_by_address(serve, perfguard):
    perfguard(**RULES)

    def ask(path="/api/x", **meta):
        return serve(ThrottleMiddleware, ok, rf.get(path, **meta))

    assert statuses(ask, 3) == [200, 200, 429]
    assert ask(REMOTE_ADDR="203.0.113.7").status_code == 200
    assert ask("/elsewhere").status_code == 200


def test_all_rules_that_match_hold_and_none_counts_what_another_refuses(
    serve, perfguard
):
    perfguard(**RULES)
    posts = statuses(lambda: serve(ThrottleMiddleware, ok, rf.post("/api/x")), 3)
    assert posts == [200, 429, 429]
    assert serve(ThrottleMiddleware, ok, rf.get("/api/x")).status_code == 200


def test_the_answer_carries_the_state(serve, perfguard):
    perfguard(**RULES, THROTTLE_HEADERS=["ietf", "legacy"])
    answer = serve(ThrottleMiddleware, ok, rf.get("/api/x"))
    assert answer.headers["RateLimit"] == '"api";r=1;t=60'
    assert answer.headers["RateLimit-Policy"] == '"api";q=2;w=60'
    assert answer.headers["X-RateLimit-Limit"] == "2"
    assert answer.headers["X-RateLimit-Remaining"] == "1"
    assert answer.headers["X-RateLimit-Reset"] == "60"


def test_no_header_where_none_is_wanted(serve, perfguard):
    perfguard(**RULES, THROTTLE_HEADERS=[])
    answer = serve(ThrottleMiddleware, ok, rf.get("/api/x"))
    assert not [name for name in answer.headers if "RateLimit" in name]


def test_a_path_that_no_rule_matches_is_left_alone(serve, perfguard):
    perfguard(**RULES)
    answer = serve(ThrottleMiddleware, ok, rf.get("/elsewhere"))
    assert "RateLimit" not in answer.headers


def test_a_views_refusal_becomes_problem_details_where_accepted(serve, perfguard):
    perfguard(THROTTLE_RATES={"anon": "1/minute"})

    view = drf_view(AnonRateThrottle)

    def ask():
        accept = "application/json, application/problem+json"
        request = rf.get("/", headers={"Accept": accept})
        return serve(ThrottleMiddleware, lambda it: view(it).render(), request)

    assert ask().status_code == 200
    refused = ask()
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.headers["Retry-After"] == "60"
    assert refused.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert json.loads(refused.content)["violated-policies"] == ["anon"]


def test_a_scope_counts_once_for_a_request(serve, perfguard):
    perfguard(
        THROTTLE_RATES={"api": "2/minute"},
        THROTTLE_PATHS=[{"path": "^/", "scope": "api"}],
    )
    view = throttle("api")(throttle("api")(ok))
    assert statuses(lambda: serve(ThrottleMiddleware, view), 3) == [200, 200, 429]


# -- DRF -----------------------------------------------------------------------------


def drf_view(*classes, **attributes):
    class View(APIView):
        authentication_classes = ()
        permission_classes = ()
        throttle_classes = classes

        def get(self, request):
            return Response({})

    for name, value in attributes.items():
        setattr(View, name, value)
    return View.as_view()


def get(view, who=None, **meta):
    request = arf.get("/", **meta)
    if who is not None:
        force_authenticate(request, who)
    return view(request)


def test_drf_rates_and_scopes_work_as_they_are(settings):
    settings.REST_FRAMEWORK = {"DEFAULT_THROTTLE_RATES": {"anon": "2/min"}}
    view = drf_view(AnonRateThrottle)
    assert statuses(lambda: get(view), 3) == [200, 200, 429]


def test_a_refusal_of_drf_carries_the_wait_and_the_state(perfguard):
    perfguard(THROTTLE_RATES={"anon": "1/minute"})
    view = drf_view(AnonRateThrottle)
    assert get(view).headers["RateLimit"] == '"anon";r=0;t=60'
    refused = get(view)
    assert refused.headers["Retry-After"] == "60"
    assert refused.headers["RateLimit"] == '"anon";r=0;t=60'
    assert "60 seconds" in refused.data["detail"]


def test_anon_counts_no_user_and_user_counts_both(perfguard):
    perfguard(THROTTLE_RATES={"anon": "1/minute", "user": "1/minute"})
    anon, users = drf_view(AnonRateThrottle), drf_view(UserRateThrottle)
    assert statuses(lambda: get(anon, user()), 3) == [200] * 3
    assert statuses(lambda: get(users, user(1)), 2) == [200, 429]
    assert statuses(lambda: get(users, user(2)), 2) == [200, 429]
    assert statuses(lambda: get(users), 2) == [200, 429]


def test_the_view_names_its_scope(perfguard):
    perfguard(THROTTLE_RATES={"upload": "1/minute"})
    view = drf_view(ScopedRateThrottle, throttle_scope="upload")
    assert statuses(lambda: get(view), 2) == [200, 429]
    assert statuses(lambda: get(drf_view(ScopedRateThrottle)), 3) == [200] * 3


def test_a_class_with_its_own_rate_and_cost():
    class Costly(UserRateThrottle):
        scope = "costly"
        rate = "10/minute"
        cost = 4

    view = drf_view(Costly)
    assert statuses(lambda: get(view), 3) == [200, 200, 429]


def test_a_class_with_rates_of_its_own():
    class Own(AnonRateThrottle):
        THROTTLE_RATES = {"anon": {"rate": ["2/minute", "5/hour"]}}  # noqa: RUF012

    assert statuses(lambda: get(drf_view(Own)), 3) == [200, 200, 429]


def test_get_rate_of_a_subclass_is_asked():
    class Dynamic(AnonRateThrottle):
        def get_rate(self):
            return "1/minute"

    assert statuses(lambda: get(drf_view(Dynamic)), 2) == [200, 429]


def test_get_cache_key_of_a_subclass_is_asked():
    class ByTenant(UserRateThrottle):
        rate = "1/minute"

        def get_cache_key(self, request, view):
            tenant = request.META.get("HTTP_TENANT")
            return tenant and f"{super().get_cache_key(request, view)}:{tenant}"

    view = drf_view(ByTenant)
    assert statuses(lambda: get(view, HTTP_TENANT="a"), 2) == [200, 429]
    assert get(view, HTTP_TENANT="b").status_code == 200
    assert statuses(lambda: get(view), 2) == [200, 200]


def test_an_identity_longer_than_a_key_may_be_is_still_counted():
    class Long(UserRateThrottle):
        rate = "1/minute"

        def get_identity(self, request, view):
            return "x" * 100_000

    assert statuses(lambda: get(drf_view(Long)), 2) == [200, 429]


def test_one_throttle_refuses_and_the_others_count_nothing(perfguard):
    perfguard(THROTTLE_RATES={"anon": "1/minute", "user": "9/minute"})
    view = drf_view(AnonRateThrottle, UserRateThrottle)
    assert statuses(lambda: get(view), 4) == [200, 429, 429, 429]
    assert gate.remaining("ip:127.0.0.1", "user") == 8


def test_several_throttles_are_one_decision(perfguard):
    perfguard(
        THROTTLE_RATES={"anon": "5/minute", "user": "9/minute", "upload": "7/hour"}
    )
    decided = []

    def receiver(**kwargs):
        decided.append(kwargs["verdict"])

    throttle_decided.connect(receiver)
    view = drf_view(
        AnonRateThrottle, UserRateThrottle, ScopedRateThrottle, throttle_scope="upload"
    )
    answer = get(view)
    throttle_decided.disconnect(receiver)
    assert len(decided) == 1
    assert answer.headers["RateLimit"].count(";r=") == 3


def test_a_throttle_of_another_make_beside_ours(perfguard):
    class Other(PlainThrottle):
        rate = "100/minute"

    perfguard(THROTTLE_RATES={"anon": "1/minute"})
    view = drf_view(Other, AnonRateThrottle)
    assert statuses(lambda: get(view), 2) == [200, 429]


def test_a_scope_without_redis_that_refuses_answers_503(perfguard):
    perfguard(
        REDIS_URL="redis://127.0.0.1:1/0",
        THROTTLE_RATES={"anon": {"rate": "1/minute", "on_redis_failure": "refuse"}},
    )
    answer = get(drf_view(AnonRateThrottle))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    plain = view_of("anon", by="address")(rf.get("/"))
    assert (plain.status_code, plain.headers["Retry-After"]) == (503, "1")


def test_throttles_may_be_asked_without_a_view(perfguard):
    perfguard(THROTTLE_RATES={"anon": "1/minute"})
    throttle_of_anon = AnonRateThrottle()
    request = arf.get("/")
    request.user = None
    assert throttle_of_anon.allow_request(request, None)
    assert throttle_of_anon.wait() is None
    assert recorded(request).verdicts[0].allowed


def test_a_throttle_without_scope_or_rate_says_so():
    class Nameless(SimpleRateThrottle):
        def get_identity(self, request, view):
            return "somebody"

    with pytest.raises(InvalidSetting, match="Nameless"):
        get(drf_view(Nameless))


def test_a_disabled_scope_never_limits(perfguard):
    perfguard(THROTTLE_RATES={"anon": None})
    assert statuses(lambda: get(drf_view(AnonRateThrottle)), 5) == [200] * 5
    assert gate.remaining("ip:127.0.0.1", "anon") is None


def test_a_disabled_scope_leaves_the_others_in_force(perfguard, redis_server):
    perfguard(
        REDIS_URL=redis_server.url,
        THROTTLE_RATES={"anon": None, "sign_in": "1/minute"},
    )
    groups = (group("ip:1", "anon"), group("account:1", "sign_in"))
    verdicts = [gate.decide(groups) for _ in range(2)]
    assert [each.allowed for each in verdicts] == [True, False]
    assert verdicts[0].source == "redis"


def test_throttling_switched_off_never_limits(perfguard):
    perfguard(THROTTLE_ENABLED=False, THROTTLE_RATES={"anon": "1/minute"})
    assert statuses(lambda: get(drf_view(AnonRateThrottle)), 5) == [200] * 5
    assert gate.remaining("ip:127.0.0.1", "anon") == 1


def test_a_throttle_with_an_allow_request_of_its_own_is_asked_by_itself(perfguard):
    class Posts(UserRateThrottle):
        scope = "posts"

        def allow_request(self, request, view):
            return request.method == "GET" or super().allow_request(request, view)

    perfguard(THROTTLE_RATES={"anon": "5/minute", "posts": "1/minute"})
    view = drf_view(AnonRateThrottle, Posts)
    assert statuses(lambda: get(view), 7) == [200] * 5 + [429] * 2
    assert gate.remaining("ip:127.0.0.1", "posts") == 1


def test_nothing_decided_is_nothing_told(perfguard):
    perfguard(THROTTLE_RATES={"anon": None, "user": "2/minute"})
    assert "RateLimit" not in get(drf_view(AnonRateThrottle)).headers
    both = get(drf_view(AnonRateThrottle, UserRateThrottle))
    assert both.headers["RateLimit"] == '"user";r=1;t=60'
    perfguard(THROTTLE_ENABLED=False)
    assert "RateLimit" not in get(drf_view(UserRateThrottle)).headers


def test_a_scope_that_allows_without_redis_tells_nothing(perfguard):
    perfguard(
        REDIS_URL="redis://127.0.0.1:1/0",
        THROTTLE_RATES={
            "anon": {"rate": "1/minute", "on_redis_failure": "allow"},
            "user": "2/minute",
        },
    )
    assert "RateLimit" not in get(drf_view(AnonRateThrottle)).headers
    both = get(drf_view(AnonRateThrottle, UserRateThrottle))
    assert both.headers["RateLimit"] == '"user";r=1;t=60'


@pytest.mark.parametrize("reset", [True, False])
def test_a_good_sign_in_empties_the_window_where_that_is_wanted(perfguard, reset):
    perfguard(THROTTLE_SIGN_IN_RESET=reset)

    class SignIn(APIView):
        authentication_classes = permission_classes = ()
        throttle_classes = (SignInThrottle,)

        def post(self, request):
            SignInThrottle().signed_in(request)
            return Response({})

    def ask():
        return SignIn.as_view()(arf.post("/", {"email": "a@b.c"}, format="json"))

    last = 200 if reset else 429
    assert statuses(ask, 16) == [200] * 15 + [last]


def test_a_class_of_async_views_is_throttled_on_the_loop():
    @method_decorator(throttle("1/minute"), name="dispatch")
    class Later(View):
        async def get(self, request):
            return HttpResponse("ok")

    async def ask():
        view = Later.as_view()
        return [(await view(rf.get("/"))).status_code for _ in range(2)]

    assert asyncio.run(ask()) == [200, 429]


def test_a_class_of_views_is_throttled():
    @method_decorator(throttle("1/minute"), name="dispatch")
    class Now(View):
        def get(self, request):
            return HttpResponse("ok")

    assert statuses(lambda: Now.as_view()(rf.get("/")), 2) == [200, 429]


def test_a_refusal_varies_by_what_is_accepted():
    view = view_of("1/minute")
    view(rf.get("/"))
    assert view(rf.get("/")).headers["Vary"] == "Accept"


def test_a_rate_in_place_of_a_scope_is_explained():
    with pytest.raises(UnknownScope, match="is a rate and not the name"):
        gate.hit("user:1", "5/minute")


def test_an_empty_identity_passes():
    view = view_of("1/minute", by=lambda request: "")
    assert statuses(lambda: view(rf.get("/")), 3) == [200] * 3


def test_rates_of_two_views_of_one_kind_are_their_own(perfguard):
    perfguard(THROTTLE_RATES={"user": "99/minute"})  # DRF's default throttle here

    class One(View):
        def get(self, request):
            return HttpResponse("one")

    class Two(One):
        pass

    @method_decorator(throttle("1/minute"), name="dispatch")
    class Five(One):
        pass

    @method_decorator(throttle("1/minute"), name="dispatch")
    class Six(One):
        pass

    @api_view()
    @permission_classes([])
    def three(request):
        return Response("three")

    @api_view()
    @permission_classes([])
    def four(request):
        return Response("four")

    views = [One.as_view(), Two.as_view(), three, four]
    views = [throttle("1/minute")(view) for view in views]
    views += [Five.as_view(), Six.as_view()]
    views.append(throttle("1/minute")(lambda request: HttpResponse("a lambda")))
    for view in views:
        assert statuses(lambda view=view: view(rf.get("/")), 2) == [200, 429]


def test_head_counts_where_get_does(perfguard, serve):
    view = view_of("1/minute", methods=["GET"])
    assert statuses(lambda: view(rf.head("/")), 2) == [200, 429]
    perfguard(
        THROTTLE_RATES={"api": "1/minute"},
        THROTTLE_PATHS=[{"path": "^/", "scope": "api", "methods": ["get"]}],
    )
    heads = statuses(lambda: serve(ThrottleMiddleware, ok, rf.head("/")), 2)
    assert heads == [200, 429]


def test_a_receiver_that_waits_hurts_no_async_view():
    told = []

    async def receiver(**kwargs):
        await asyncio.sleep(0)
        told.append(kwargs["verdict"].allowed)

    @throttle("1/minute")
    async def view(request):
        return HttpResponse("ok")

    async def ask():
        return [(await view(rf.get("/"))).status_code for _ in range(2)]

    throttle_decided.connect(receiver)
    try:
        assert asyncio.run(ask()) == [200, 429]
    finally:
        throttle_decided.disconnect(receiver)
    assert told == [True, False]


def test_a_stricter_rate_that_counts_refused_hits_leaves_others_of_its_scope(perfguard):
    perfguard(THROTTLE_RATES={"user": "9/minute"})

    class Strict(UserRateThrottle):
        rate = {"rate": "2/minute", "count_refused": True}  # noqa: RUF012

    wide, strict = drf_view(UserRateThrottle), drf_view(Strict)
    assert statuses(lambda: get(wide), 10) == [200] * 9 + [429]
    statuses(lambda: get(strict), 5)
    assert get(wide).status_code == 429
