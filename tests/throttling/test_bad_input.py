"""Garbage, and what is made to look like something else, at every door."""

from __future__ import annotations

import json
import tracemalloc
from itertools import cycle, islice

import pytest
from django.test import Client
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from perfguard.exceptions import InvalidSetting, UnknownScope
from perfguard.throttling.checks import check_rates
from perfguard.throttling.gate import gate
from perfguard.throttling.memory_store import SHARDS, MemoryWindowStore
from perfguard.throttling.plans import Scope, plan_for
from perfguard.throttling.throttles import AnonRateThrottle, SignInThrottle
from project.demo.models import User

SIGN_IN = "/api/v1/auths/signin"
PASSWORD = "correct horse battery"
TIMEOUTS = {"REDIS_CONNECT_TIMEOUT": 10.0, "REDIS_READ_TIMEOUT": 10.0}


@pytest.fixture(params=["memory", "redis"])
def place(request, perfguard):
    """The gate on either store."""
    if request.param == "redis":
        server = request.getfixturevalue("redis_server")
        perfguard(REDIS_URL=server.url, **TIMEOUTS)
    return request.param


def hit(store, scope, cost=1, identity="user:1"):
    return store.hit(((identity, plan_for((scope, cost))),))


# -- rates -------------------------------------------------------------------------

WRONG = [
    *("", " ", "10", "/", "10/", "/minute", "ten/minute", "10/fortnight", "10/month"),
    *("10 per minute", "10/minute/hour", "10,5/minute", "1e3/hour", "-5/minute"),
    *("0/minute", "+5/minute", "0x10/minute", "10/0 minutes", "10/-1 minutes"),
    *(
        "١٠/minute",
        "10/ｍinute",
        "10/wee\u212a",
        "10/minute\x00",
        "10\n/minute;",
        "½/s",
    ),
    *("9" * 100_000 + "/minute", "1/" + "9" * 100_000 + "s", "\ud800/minute"),
    *(10, 1.5, True, False, b"10/minute", ..., {1, 2}, ("10/minute", None)),
    *(["10/minute", "x"], [["10/minute"]], [{}], ["10/minute", 5]),
    {"rate": "10/minute", "bogus": 1},
    {"rate": "10/minute", "count_refused": "yes"},
    {"rate": "10/minute", "count_refused": 1},
    {"rate": "10/minute", "on_redis_failure": "explode"},
    {"rate": "10/minute", "on_redis_failure": None},
    {"rate": {"rate": "10/minute"}},
    {5: "10/minute"},
    # No limit is None, and nothing that a slip of the hand would leave.
    *([], (), {}, {"count_refused": True}, {"rate": []}),
]


def shown(value):
    return ascii(value)[:40]


@pytest.mark.parametrize("value", WRONG, ids=shown)
def test_a_wrong_rate_in_the_settings_is_refused_and_found_by_the_check(
    perfguard, value
):
    perfguard(THROTTLE_RATES={"s": value})
    assert [message.id for message in check_rates()] == ["perfguard.E003"]
    with pytest.raises(InvalidSetting) as caught:
        gate.hit("user:1", "s")
    assert len(str(caught.value)) < 600


class AnonView(APIView):
    authentication_classes = ()
    permission_classes = ()
    throttle_classes = (AnonRateThrottle,)


@pytest.mark.parametrize("value", WRONG, ids=shown)
def test_a_wrong_rate_in_drfs_settings_is_refused_and_found_by_the_check(
    settings, value
):
    settings.REST_FRAMEWORK = {
        "DEFAULT_THROTTLE_RATES": {"anon": value},
        "DEFAULT_THROTTLE_CLASSES": ["perfguard.throttling.throttles.AnonRateThrottle"],
    }
    assert [message.id for message in check_rates()] == ["perfguard.E003"]
    with pytest.raises(InvalidSetting):
        AnonView.as_view()(APIRequestFactory().get("/"))


def test_none_is_no_limit_wherever_it_is_written(perfguard, settings):
    settings.REST_FRAMEWORK = {"DEFAULT_THROTTLE_RATES": {"of_drf": None}}
    perfguard(THROTTLE_RATES={"ours": None, "with_options": {"rate": None}})
    for scope in ("of_drf", "ours", "with_options"):
        assert gate.hit("user:1", scope).remaining is None


# -- scopes ------------------------------------------------------------------------

ODD_NAMES = [
    "a b",
    "a:b",
    "a/b",
    "ü",
    "a\n",
    "\n",
    "\x00",
    "{a}",
    "x" * 101,
    '"',
    "a,b",
]


@pytest.mark.parametrize("name", ["nope", "", " ", *ODD_NAMES], ids=shown)
def test_a_scope_that_does_not_exist_is_named(place, name):
    with pytest.raises(UnknownScope, match="THROTTLE_RATES"):
        gate.hit("user:1", name)


@pytest.mark.parametrize("name", ["", *ODD_NAMES], ids=shown)
def test_a_scope_with_an_odd_name_is_refused_and_found_by_the_check(perfguard, name):
    perfguard(THROTTLE_RATES={name: "10/minute"})
    assert [message.id for message in check_rates()] == ["perfguard.E003"]
    with pytest.raises(InvalidSetting):
        gate.hit("user:1", name)


def test_a_hit_without_a_scope_is_allowed_and_counted_nowhere(place):
    verdict = gate.hit("user:1")
    assert (verdict.allowed, verdict.windows, verdict.remaining) == (True, (), None)


# -- identities --------------------------------------------------------------------


def test_an_empty_identity_is_refused(place):
    for ask in (gate.hit, gate.peek, gate.reset, gate.remaining):
        with pytest.raises(ValueError, match="identity"):
            ask("", Scope.read("s", "1/minute"))


LONG = "x" * 1_000_000
DISTINCT = [
    *("user:1", "user:1 ", " user:1", "User:1", "user:01", "user:\uff11", "user:1\x00"),
    *("\x00", "\x00\x00", " ", "  ", "\t", "\u2003", "\n", "\r\n", "\ud800", "\udfff"),
    *("\ud800\udc00", "\U00010000", "é", "e\u0301", "а", "a", "{", "}", "{}", "}{"),
    *("%s", "%d", "%%", "*", "?", "$1", "\\", '"', "'", "user:1}:throttle:s:60"),
    *("x" * 200, "x" * 201, LONG, LONG + "y", "y" + LONG, "\ud800" * 1_000_000),
]


def test_identities_that_look_alike_have_windows_of_their_own(place):
    scope = Scope.read("s", ["1/minute", "2/hour"])
    first = [gate.hit(identity, scope) for identity in DISTINCT]
    second = [gate.hit(identity, scope) for identity in DISTINCT]
    assert [each.allowed for each in first] == [True] * len(DISTINCT)
    assert [each.allowed for each in second] == [False] * len(DISTINCT)
    assert {each.source for each in first} == {place}


def test_odd_identities_can_be_looked_at_and_reset(place):
    scope = Scope.read("s", "1/minute")
    for identity in DISTINCT:
        gate.hit(identity, scope)
        assert gate.remaining(identity, scope) == 0
        assert gate.reset(identity, scope)
        assert gate.remaining(identity, scope) == 1


def test_no_key_is_long(perfguard, redis_server):
    perfguard(REDIS_URL=redis_server.url, **TIMEOUTS)
    for identity in DISTINCT:
        gate.hit(identity, Scope.read("s", "1/minute"))
    # 200 characters of three bytes, the prefix and the scope.
    assert max(map(len, redis_server.client().keys("*"))) < 700


# -- costs -------------------------------------------------------------------------


@pytest.mark.parametrize("cost", [0, -1, 1.5, True, False, "3", None, 1.0, [1], b"1"])
def test_a_cost_that_is_no_whole_number_above_zero_is_refused(place, cost):
    scope = Scope.read("s", "10/minute")
    gate.hit("user:1", scope)  # which 1.0 and True equal
    for ask in (gate.hit, gate.peek):
        with pytest.raises((ValueError, TypeError)):
            ask("user:1", scope, cost=cost)
    assert gate.remaining("user:1", scope) == 9


@pytest.mark.parametrize("cost", [11, 2**31, 2**32, 2**48, 2**53, 2**64, 10**30])
@pytest.mark.parametrize("rate", ["10/minute", "2000/minute"])
def test_a_cost_above_the_limit_never_fits_and_counts_nothing(store, rate, cost):
    scope = Scope.read("s", rate)
    limit = scope.rates[0].limit
    huge = cost * limit  # also where the limit is large
    for _ in range(3):
        assert list(hit(store, scope, huge)) == [0, limit, 60_000]
    assert hit(store, scope)[0] == 1


def test_a_huge_cost_does_not_wrap_a_window_round_that_counts_refusals(store):
    # Counters of Redis have 48 bits here: hits beyond them must not be forgiven.
    scope = Scope.read("s", {"rate": "2000/minute", "count_refused": True})
    assert hit(store, scope, 2000)[0] == 1
    for cost in (2**48 - 2000, 2**48, 2**53, 2**63, 10**30):
        assert hit(store, scope, cost)[0] == 0
        assert hit(store, scope)[0] == 0


def test_a_huge_cost_does_not_break_the_buckets_after_it(store, clock):
    scope = Scope.read("s", {"rate": "2000/minute", "count_refused": True})
    for _ in range(3):
        assert hit(store, scope, 10**30)[0] == 0
        clock.advance(1)
    clock.advance(61)
    assert hit(store, scope)[0] == 1


def test_a_large_cost_takes_no_memory_of_the_process(clock):
    store = MemoryWindowStore(clock=clock)
    scope = Scope.read("s", {"rate": "5/minute", "count_refused": True})
    hit(store, scope)
    tracemalloc.start()
    hit(store, scope, 500_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000


def test_a_large_cost_takes_no_memory_of_redis(perfguard, own_redis):
    perfguard(REDIS_URL=own_redis.url, **TIMEOUTS)
    scope = Scope.read("s", {"rate": "5/minute", "count_refused": True})
    gate.hit("user:1", scope)
    before = own_redis.client().info("memory")["used_memory_lua"]
    gate.hit("user:1", scope, cost=500_000)
    after = own_redis.client().info("memory")["used_memory_lua"]
    assert after - before < 100_000


# -- the sign-in end point ---------------------------------------------------------


@pytest.fixture
def post():
    client = Client(raise_request_exception=False)

    def send(body, content_type="application/json", **headers):
        if not isinstance(body, str | bytes):
            body = json.dumps(body)
        raw = body.encode() if isinstance(body, str) else body
        return client.generic("POST", SIGN_IN, raw, content_type, **headers)

    return send


NINES = "9" * 4000
GARBAGE = [
    *("", " ", "{", "}", "nonsense", "'", '{"email":', '{"email"}', "[", "]", "\x00"),
    *("null", "true", "false", "5", "-1.5", '""', '"email"', '"username"', "[]", "{}"),
    *('["email"]', '["email", "password"]', "[[]]", '[{"email": "a@b.example"}]'),
    *("NaN", "Infinity", '{"email": NaN, "password": "x"}', NINES, NINES * 3),
    '{"email": 1e400, "password": "x"}',
    f'{{"email": {NINES}, "password": {NINES}}}',
    f'{{"email": {NINES * 3}, "password": "x"}}',
    b'{"email": "\xff\xfe@b.example", "password": "x"}',
    b"\xff\xfe\x00",
    b"\xef\xbb\xbf{}",
    '{"email": "a\\u0000@b.example", "password": "x"}',
    '{"email": "a@b.example", "password": "\\u0000"}',
    '{"email": "\\ud800@b.example", "password": "x"}',
    '{"email": "a@\\ud800.example", "password": "x"}',
    '{"email": "a@b.example", "password": "\\ud800"}',
    {"email": {"email": "a@b.example"}, "password": "x"},
    {"email": ["a@b.example"], "password": "x"},
    *({"email": value, "password": "x"} for value in (None, True, 0, -1, 1.5, "", " ")),
    *({"email": value, "password": "x"} for value in ("a", "@", "a@", "@b", "a b@c.d")),
    *({"email": "a@b.example", "password": value} for value in (None, [], {}, True)),
    {"email": "a@b.example"},
    {"password": "x"},
    {"username": {"a": 1}, "password": "x"},
    {"Email": "a@b.example", "Password": "x"},
    {"email": "a" * 1_000_000 + "@b.example", "password": "x"},
    {"email": "a@b.example", "password": "x" * 1_000_000},
    {"email": "\ufdfa" * 100_000, "password": "x"},
    {"email": "a\u0301" * 100_000, "password": "x"},
]


@pytest.mark.django_db
@pytest.mark.parametrize("body", GARBAGE, ids=shown)
def test_garbage_is_the_clients_mistake_and_counts_for_the_address(post, body):
    assert post(body).status_code in {400, 401}
    assert gate.remaining("ip:127.0.0.1", "sign_in_address") == 99


@pytest.mark.django_db
@pytest.mark.parametrize("opening", ["[", '{"email":'])
def test_nesting_without_end_is_the_clients_mistake_and_counts(post, opening):
    assert post(opening * 100_000).status_code == 400
    assert gate.remaining("ip:127.0.0.1", "sign_in_address") == 99


@pytest.mark.django_db
@pytest.mark.parametrize(
    "content_type",
    [
        *("", "/", "text/plain", "application/x-www-form-urlencoded", "x" * 10_000),
        *("multipart/form-data", "multipart/form-data; boundary=x", "application/xml"),
    ],
    ids=shown,
)
def test_a_wrong_content_type_is_the_clients_mistake_and_counts(post, content_type):
    body = {"email": "a@b.example", "password": "x"}
    assert post(body, content_type).status_code == 415
    assert gate.remaining("ip:127.0.0.1", "sign_in_address") == 99


@pytest.mark.django_db
@pytest.mark.parametrize(
    "charset",
    [
        *("nonsense", "rot13", "zlib", "bz2", "base64", "hex", "uu", "punycode"),
        *("idna", "undefined", "utf-16", "utf-7", "unicode_escape"),
    ],
)
def test_an_odd_character_set_is_no_way_round(post, charset):
    body = {"email": "a@b.example", "password": "x"}
    response = post(body, f"application/json; charset={charset}")
    assert response.status_code in {400, 401}
    assert gate.remaining("ip:127.0.0.1", "sign_in_address") == 99


@pytest.mark.django_db
def test_a_body_that_cannot_be_read_is_answered_with_what_is_wrong_with_it(post):
    assert "JSON parse error" in post("{").json()["detail"]


@pytest.mark.django_db
def test_garbage_is_refused_when_the_address_has_used_up_its_hits(post):
    bodies = islice(cycle(["{", "[]", "null", b"\xff", '"email"']), 100)
    assert {post(body).status_code for body in bodies} == {400}
    refused = post("{")
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 180


EMAIL = "kiss@example.com"
VARIANTS = [
    EMAIL,
    EMAIL.upper(),
    "Kiss@Example.Com",
    f" {EMAIL}",
    f"{EMAIL} \t\r\n",
    f"\u2003{EMAIL}\u3000",
    f"\x1f{EMAIL}\x85",
    "\u212aiss@example.com",  # the sign of the Kelvin
    "ki\u017f\u017f@example.com",  # the long s
    "kiss@\uff45xample.com",  # a full-width e
    "kiss@e\u02e3ample.com",  # a raised x
    " " * 300 + EMAIL,
    " " * 310 + EMAIL,
    " " * 320 + EMAIL,
    " " * 100_000 + EMAIL,
    EMAIL + " " * 100_000,
]


@pytest.fixture
def account(db):
    return User.objects.create_user(EMAIL, PASSWORD)


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize("email", VARIANTS, ids=shown)
def test_every_spelling_signs_in(post, email):
    assert post({"email": email, "password": PASSWORD}).status_code == 200


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize("email", VARIANTS, ids=shown)
def test_every_spelling_counts_for_the_one_account(post, email):
    for _ in range(15):
        assert post({"email": EMAIL, "password": "wrong"}).status_code == 401
    assert post({"email": email, "password": PASSWORD}).status_code == 429


@pytest.mark.usefixtures("account")
def test_an_account_is_tried_fifteen_times_by_all_its_spellings(post):
    spellings = islice(cycle(VARIANTS), 60)
    statuses = [
        post({"email": email, "password": "wrong"}).status_code for email in spellings
    ]
    assert statuses == [401] * 15 + [429] * 45


@pytest.mark.usefixtures("account")
def test_a_second_name_in_the_body_is_no_way_round(post):
    statuses = [
        post(
            {"email": EMAIL, "password": "wrong", "username": f"user-{number}"}
        ).status_code
        for number in range(20)
    ]
    assert statuses == [401] * 15 + [429] * 5


def sign_in_by_username():
    """A view that knows accounts by user name, under the throttle as it comes."""

    class View(APIView):
        authentication_classes = ()
        permission_classes = ()
        throttle_classes = (SignInThrottle,)

        def post(self, request):
            return None

    view, requests = View(), APIRequestFactory()

    def attempt(**body):
        request = view.initialize_request(requests.post("/", body, format="json"))
        return SignInThrottle().allow_request(request, view)

    return attempt


def test_a_name_that_the_view_does_not_read_is_no_way_round():
    attempt = sign_in_by_username()
    allowed = [
        attempt(username="victim", email=f"{number}@example.com", password="wrong")
        for number in range(20)
    ]
    assert allowed == [True] * 15 + [False] * 5


@pytest.mark.usefixtures("account")
def test_the_account_is_counted_where_a_path_rule_has_counted_the_address(
    post, perfguard
):
    perfguard(THROTTLE_PATHS=[{"path": "/auths/signin$", "scope": "sign_in_address"}])
    statuses = [
        post({"email": EMAIL, "password": "wrong"}).status_code for _ in range(20)
    ]
    assert statuses == [401] * 15 + [429] * 5


@pytest.mark.usefixtures("account")
def test_the_account_is_counted_where_the_address_has_no_limit(post, perfguard):
    perfguard(THROTTLE_RATES={"sign_in_address": None})
    statuses = [
        post({"email": EMAIL, "password": "wrong"}).status_code for _ in range(20)
    ]
    assert statuses == [401] * 15 + [429] * 5


@pytest.mark.usefixtures("account")
def test_the_address_is_counted_where_the_account_has_no_limit(post, perfguard, place):
    perfguard(THROTTLE_RATES={"sign_in": None, "sign_in_address": "5/minute"})
    statuses = [
        post({"email": EMAIL, "password": "wrong"}).status_code for _ in range(8)
    ]
    assert statuses == [401] * 5 + [429] * 3


@pytest.mark.usefixtures("account")
def test_a_forwarding_header_is_no_way_round(post):
    statuses = [
        post("{", HTTP_X_FORWARDED_FOR=f"203.0.113.{number}").status_code
        for number in range(101)
    ]
    assert statuses == [400] * 100 + [429]


# -- the memory of one process -----------------------------------------------------


def test_a_million_names_stay_under_the_cap(perfguard, clock):
    perfguard(THROTTLE_MEMORY_SIZE=100_000)
    store = MemoryWindowStore(clock=clock)
    plan = plan_for((Scope.read("s", "10/minute"), 1))
    for number in range(1_000_000):
        store.hit(((f"user:{number}", plan),))
    assert 90_000 < len(store) <= 100_000


@pytest.mark.parametrize("size", [1, 15, 16, 17, 31, 1000])
def test_the_cap_is_rounded_to_the_shards(clock, size):
    store = MemoryWindowStore(clock=clock, size=size)
    plan = plan_for((Scope.read("s", ["1/minute", "10/hour"]), 1))
    for number in range(5_000):
        store.hit(((f"user:{number}", plan),))
    assert len(store) <= max(SHARDS, size)


def test_looks_and_refusals_take_no_memory(clock):
    store = MemoryWindowStore(clock=clock, size=1000)
    scope = Scope.read("s", "10/minute")
    for number in range(5_000):
        identity = f"user:{number}"
        store.peek(((identity, plan_for((scope, 1))),))
        store.hit(((identity, plan_for((scope, 11))),))
    assert len(store) == 0


def fill(store, scope, names, hits):
    plan = plan_for((scope, 1))
    for name in names:
        for _ in range(hits):
            store.hit(((name, plan),))


def test_a_blocked_name_is_still_blocked_after_a_hundred_thousand_others(clock):
    store = MemoryWindowStore(clock=clock)
    scope = Scope.read("s", "3/hour")
    blocked = [f"blocked:{number}" for number in range(100)]
    fill(store, scope, blocked, hits=3)
    fill(store, scope, (f"other:{number}" for number in range(100_000)), hits=2)
    fill(store, scope, (f"more:{number}" for number in range(100_000)), hits=1)
    assert not any(hit(store, scope, identity=name)[0] for name in blocked)


def test_windows_that_have_emptied_make_room_before_those_that_refuse(clock):
    store = MemoryWindowStore(clock=clock, size=1000)
    daily = Scope.read("daily", "1/day")
    blocked = [f"blocked:{number}" for number in range(300)]
    fill(store, daily, blocked, hits=1)
    for wave in range(10):
        names = (f"wave:{wave}:{number}" for number in range(300))
        fill(store, Scope.read("brief", "1/second"), names, hits=1)
        clock.advance(2)
    assert not any(hit(store, daily, identity=name)[0] for name in blocked)


def test_a_limit_holds_while_memory_is_full_of_windows_that_refused_long_ago(clock):
    # One that refuses for a day, then as many as there is room for, in one shard.
    store = MemoryWindowStore(clock=clock, size=10 * SHARDS)
    names = (f"name:{number}" for number in range(10_000))
    near = [name for name in names if store._shard(name) is store._shard("user:1")]
    fill(store, Scope.read("daily", "1/day"), near[:1], hits=1)
    fill(store, Scope.read("brief", "1/second"), near[1:10], hits=1)
    clock.advance(60)
    scope = Scope.read("s", "5/hour")
    admitted = [hit(store, scope)[0] for _ in range(10)]
    assert admitted == [1] * 5 + [0] * 5


def test_a_limit_holds_while_memory_is_full_of_windows_that_refuse(clock):
    store = MemoryWindowStore(clock=clock, size=1000)
    fill(store, Scope.read("daily", "1/day"), (f"d:{n}" for n in range(5000)), hits=1)
    scope = Scope.read("s", "5/hour")
    admitted = [hit(store, scope)[0] for _ in range(10)]
    assert admitted == [1] * 5 + [0] * 5


def test_a_newcomer_is_counted_however_soon_it_will_be_free(clock):
    # Of all that refuse it empties first, and is the one that was just counted.
    store = MemoryWindowStore(clock=clock, size=1000)
    fill(store, Scope.read("daily", "1/day"), (f"d:{n}" for n in range(5000)), hits=1)
    scope = Scope.read("s", "1/minute")
    assert [hit(store, scope)[0] for _ in range(3)] == [1, 0, 0]


@pytest.mark.parametrize(
    ("count_refused", "wait"), [(False, 1), (True, 1), (True, 0.5), (True, 0)]
)
def test_a_window_that_fills_again_and_again_takes_no_memory(
    clock, count_refused, wait
):
    store = MemoryWindowStore(clock=clock, size=160)
    rate = {"rate": "1/second", "count_refused": count_refused}
    groups = (("user:1", plan_for((Scope.read("s", rate), 1))),)
    store.hit(groups)
    tracemalloc.start()
    for _ in range(20_000):
        clock.advance(wait)
        store.hit(groups)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 100_000


def test_a_window_that_is_reset_again_and_again_takes_no_memory(clock):
    store = MemoryWindowStore(clock=clock, size=160)
    group = ("user:1", plan_for((Scope.read("s", "1/hour"), 1)))
    tracemalloc.start()
    for _ in range(20_000):
        assert store.hit((group,))[0] == 1
        store.reset(*group)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 100_000
