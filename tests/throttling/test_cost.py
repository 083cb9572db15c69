"""What a hit costs Redis: commands, round trips, keys and bytes, all counted."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from itertools import pairwise

import pytest
from redis.crc import key_slot
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from perfguard.redis.client import get_client
from perfguard.throttling.gate import fit, gate
from perfguard.throttling.plans import Scope, plan_for
from perfguard.throttling.redis_store import RedisWindowStore
from perfguard.throttling.throttles import AnonRateThrottle, UserRateThrottle
from tests.servers import RedisServer, redis_binaries

END = "the end of what is counted"
ONE = ["100/minute"]
THREE = ["100/minute", "1000/hour", "5000/day"]
SIX = ["10/second", *THREE, "20000/week", "50000/30 days"]
TIMEOUTS = {"REDIS_CONNECT_TIMEOUT": 10.0, "REDIS_READ_TIMEOUT": 10.0}


@pytest.fixture(params=list(redis_binaries()))
def server(request):
    with RedisServer(redis_binaries()[request.param]) as server:
        yield server


@pytest.fixture
def asked(server, perfguard):
    """The gate on that server, which has the script and a connection already."""
    perfguard(REDIS_URL=server.url, **TIMEOUTS)
    assert gate.hit("warm:up", Scope.read("s", "1/second")).source == "redis"
    server.client().flushall()
    return server


@contextmanager
def commands(server):
    """The commands that clients send, without those that scripts run."""
    seen = []
    client = server.client()
    with client.monitor() as monitor:
        yield seen
        server.client().echo(END)
        for line in monitor.listen():
            if END in line["command"]:
                break
            if line["client_type"] != "lua":
                seen.append(line["command"].split()[0].upper())
    # Those of the client that sent the end.
    seen[:] = [name for name in seen if name not in {"CLIENT", "HELLO"}]


class Proxy:
    """Passes bytes to a server and back, and notes which way each piece went."""

    def __init__(self, port):
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.pieces = []  # "query" or "reply"
        self._sockets = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def round_trips(self):
        """How often a reply was followed by another query, and the first of them."""
        turns = [
            after
            for before, after in pairwise(["reply", *self.pieces])
            if before != after
        ]
        return turns.count("query")

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._port))
            self._sockets += [near, far]
            for source, target, name in (near, far, "query"), (far, near, "reply"):
                threading.Thread(
                    target=self._pass, args=(source, target, name), daemon=True
                ).start()

    def _pass(self, source, target, name):
        try:
            while piece := source.recv(1 << 20):
                self.pieces.append(name)  # before it can be answered
                target.sendall(piece)
        except OSError:
            return

    def close(self):
        for each in (self._listener, *self._sockets):
            each.close()


@pytest.fixture
def proxy(redis_server):
    proxy = Proxy(redis_server.port)
    yield proxy
    proxy.close()


def scopes_of(rates):
    return Scope.read("s", list(rates))


def groups_of(*identities):
    plan = plan_for((Scope.read("s", THREE), 1))
    return tuple((identity, plan) for identity in identities)


# -- commands ----------------------------------------------------------------------


@pytest.mark.parametrize("rates", [ONE, THREE, SIX], ids=len)
def test_an_allowed_hit_is_one_command_whatever_the_number_of_limits(asked, rates):
    with commands(asked) as seen:
        assert gate.hit("user:1", scopes_of(rates)).allowed
    assert seen == ["EVALSHA"]


def test_a_hit_for_two_identities_is_one_command(asked):
    with commands(asked) as seen:
        assert gate.decide(groups_of("ip:203.0.113.7", "account:1")).allowed
    assert seen == ["EVALSHA"]


def test_a_look_and_a_reset_are_one_command_each(asked):
    gate.reset("warm:up", scopes_of(SIX))
    with commands(asked) as seen:
        gate.peek("user:1", scopes_of(SIX))
        gate.reset("user:1", scopes_of(SIX))
    assert seen == ["EVALSHA", "EVALSHA"]


def test_a_refused_hit_is_no_command_within_its_refusal_time(asked):
    scope = Scope.read("s", ["1/minute", "5/hour"])
    gate.hit("user:1", scope)
    with commands(asked) as seen:
        assert gate.hit("user:1", scope).source == "redis"
        assert [gate.hit("user:1", scope).source for _ in range(100)] == (
            ["refusals"] * 100
        )
    assert seen == ["EVALSHA"]


def test_a_refusal_is_asked_for_again_after_its_stretch(asked, clock):
    scope = Scope.read("s", "1/minute")
    gate.refusals.clock = clock
    gate.hit("user:1", scope)
    sources = []
    with commands(asked) as seen:
        for wait in (0, 0.999, 0.001, 0.5, 0.5, 0.5):
            clock.advance(wait)
            sources.append(gate.hit("user:1", scope).source)
    assert sources == ["redis", "refusals", "redis", "refusals", "redis", "refusals"]
    assert seen == ["EVALSHA"] * 3


def test_a_refusal_is_not_repeated_beyond_the_time_of_room(server, perfguard, clock):
    # Ten seconds of a stretch, and room after a half.
    perfguard(REDIS_URL=server.url, THROTTLE_REFUSAL_CACHE_SECONDS=10.0, **TIMEOUTS)
    gate._redis = RedisWindowStore(get_client(), clock=clock)
    gate.refusals.clock = clock
    scope = Scope.read("s", "1/second")
    gate.hit("user:1", scope)
    clock.advance(0.5)
    assert not gate.hit("user:1", scope).allowed
    clock.advance(0.499)
    assert gate.hit("user:1", scope).source == "refusals"
    clock.advance(0.001)
    assert gate.hit("user:1", scope).allowed


def test_the_wait_of_a_repeated_refusal_goes_down(asked, clock):
    scope = Scope.read("s", "1/minute")
    gate.refusals.clock = clock
    gate.hit("user:1", scope)
    first = gate.hit("user:1", scope).reset_after
    clock.advance(0.75)
    assert gate.hit("user:1", scope).reset_after == pytest.approx(first - 0.75)


def test_a_cheaper_hit_is_not_refused_for_a_costly_one(asked):
    scope = Scope.read("s", "10/minute")
    gate.hit("user:1", scope, cost=7)
    assert not gate.hit("user:1", scope, cost=4).allowed
    assert gate.hit("user:1", scope, cost=3).allowed


def test_a_hit_where_no_limit_is_set_is_no_command(asked):
    with commands(asked) as seen:
        assert gate.hit("user:1", Scope.read("s", None)).allowed
    assert seen == []


class OwnThrottle(UserRateThrottle):
    scope = "own"
    rate = "30/hour"


class ThreeThrottles(APIView):
    authentication_classes = ()
    permission_classes = ()
    throttle_classes = (AnonRateThrottle, UserRateThrottle, OwnThrottle)

    def get(self, request):
        return Response("ok")


def test_a_view_with_three_throttles_is_one_command_in_all(asked, perfguard):
    perfguard(THROTTLE_RATES={"anon": "60/minute", "user": THREE})
    view, requests = ThreeThrottles.as_view(), APIRequestFactory()
    view(requests.get("/"))
    with commands(asked) as seen:
        assert view(requests.get("/")).status_code == 200
    assert seen == ["EVALSHA"]


def test_a_server_that_lost_its_scripts_is_given_them_once(asked):
    asked.client().script_flush()
    with commands(asked) as seen:
        for _ in range(3):
            gate.hit("user:1", scopes_of(THREE))
    assert seen == ["EVALSHA", "EVAL", "EVALSHA", "EVALSHA"]


# -- round trips -------------------------------------------------------------------


@pytest.mark.parametrize("rates", [ONE, THREE, SIX], ids=len)
def test_an_allowed_hit_is_one_round_trip(proxy, perfguard, rates):
    perfguard(REDIS_URL=f"redis://127.0.0.1:{proxy.port}/0", **TIMEOUTS)
    gate.hit("warm:up", scopes_of(rates))
    proxy.pieces.clear()
    assert gate.hit("user:1", scopes_of(rates)).source == "redis"
    assert proxy.pieces == ["query", "reply"]


def test_a_hit_for_two_identities_is_one_round_trip(proxy, perfguard):
    perfguard(REDIS_URL=f"redis://127.0.0.1:{proxy.port}/0", **TIMEOUTS)
    gate.hit("warm:up", scopes_of(THREE))
    proxy.pieces.clear()
    assert gate.decide(groups_of("ip:203.0.113.7", "account:1")).source == "redis"
    assert proxy.round_trips == 1


def test_a_hundred_hits_are_a_hundred_round_trips_on_one_connection(proxy, perfguard):
    perfguard(REDIS_URL=f"redis://127.0.0.1:{proxy.port}/0", **TIMEOUTS)
    gate.hit("warm:up", scopes_of(SIX))
    proxy.pieces.clear()
    for number in range(100):
        gate.hit(f"user:{number}", scopes_of(SIX))
    assert proxy.round_trips == 100
    assert len(proxy._sockets) == 2


# -- keys --------------------------------------------------------------------------

ODD = ["user:42", "a}b", "{a}", "a{b", "}", "}a", "{}", "{", "ü\x00\n", "\ud800", " "]


@pytest.mark.parametrize("identity", ODD, ids=ascii)
def test_all_keys_of_an_identity_share_a_slot(perfguard, redis_server, identity):
    perfguard(REDIS_URL=redis_server.url)
    store = RedisWindowStore(get_client())
    plan = plan_for((Scope.read("s", SIX), 1), (Scope.read("t", THREE), 1))
    keys = [store.key(fit(identity), scoped.suffix) for scoped, _ in plan.limits]
    assert len(set(map(key_slot, keys))) == 1


@pytest.mark.parametrize("identity", ODD, ids=ascii)
def test_the_slot_of_the_keys_is_the_one_that_the_identity_is_sent_to(
    perfguard, redis_server, identity
):
    # Cluster finds the node by the identity alone.
    perfguard(REDIS_URL=redis_server.url)
    store = RedisWindowStore(get_client())
    sent_to = key_slot(fit(identity).encode(errors="surrogatepass"))
    assert key_slot(store.key(fit(identity), "throttle:s:60")) == sent_to


def test_every_key_ends_when_its_last_hit_has_left(asked):
    # Once with room, once without.
    for _ in range(2):
        gate.hit("user:1", scopes_of([*SIX, "1/2 hours"]))
    client = asked.client()
    lives = {key: client.pttl(key) for key in client.keys("*")}
    assert len(lives) == 7
    for key, left in lives.items():
        _, _, period = key.decode().rpartition(":")
        seconds = int(period.removesuffix("b"))
        step = 10 * seconds if period.endswith("b") else 1
        assert 0 < left <= 1000 * seconds + step


def test_keys_begin_with_the_prefix_of_the_settings(server, perfguard):
    perfguard(REDIS_URL=server.url, REDIS_KEY_PREFIX="shop")
    gate.hit("user:1", scopes_of(THREE))
    keys = server.client().keys("*")
    assert len(keys) == 3
    assert all(key.startswith(b"shop:{user:1}:throttle:s:") for key in keys)


@pytest.mark.parametrize(
    "prefix", ["fields", "%s", "a%b", "é", "", "a b", "{}", "a{}b"]
)
def test_a_prefix_may_be_any_text(server, perfguard, prefix):
    perfguard(REDIS_URL=server.url, REDIS_KEY_PREFIX=prefix, **TIMEOUTS)
    perfguard(THROTTLE_RATES={"anon": "2/minute"})
    view = ThreeThrottles.as_view(throttle_classes=[AnonRateThrottle])
    requests = APIRequestFactory()
    statuses = [view(requests.get("/")).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert gate.remaining("ip:127.0.0.1", "anon") == 0
    assert server.client().dbsize() == 1


@pytest.mark.parametrize("prefix", ["perfguard", "%s", "a%%b", "é", "%b", ""])
@pytest.mark.parametrize("rates", [ONE, THREE, SIX], ids=len)
def test_the_command_packed_beforehand_is_the_one_packed_on_the_spot(
    perfguard, redis_server, prefix, rates
):
    perfguard(REDIS_URL=redis_server.url, REDIS_KEY_PREFIX=prefix)
    store = RedisWindowStore(get_client())
    plan = plan_for((scopes_of(rates), 3))
    for identity in (*map(fit, ODD), "%b", "%s", "%%", "$1\r\n", "é" * 200):
        on_the_spot = store._command(((identity, plan),), b"1")
        assert store._packed(identity, plan) == on_the_spot


# -- bytes -------------------------------------------------------------------------


def bytes_when_full(server, clock, rate, hits):
    """The largest size of the key, over two periods of evenly spaced hits."""
    store = RedisWindowStore(get_client(), clock=clock)
    scope = Scope.read("s", rate)
    groups = (("user:1234", plan_for((scope, 1))),)
    client = server.client()
    largest = 0
    for number in range(2 * hits):
        assert store.hit(groups)[0] == 1
        clock.advance(scope.rates[0].period / hits)
        if number % 50 == 0 or number > 2 * hits - 20:
            (key,) = client.keys("*")
            largest = max(largest, client.memory_usage(key, samples=0))
    return largest


@pytest.mark.parametrize(
    ("rate", "hits", "most"),
    [
        ("15/3 minutes", 15, 350),
        ("1000/hour", 1000, 12_000),
        ("100000/day", 2000, 2000),  # buckets: bounded, whatever the limit
    ],
)
def test_the_bytes_of_a_full_window(asked, clock, rate, hits, most):
    assert bytes_when_full(asked, clock, rate, hits) <= most


@pytest.mark.parametrize("count_refused", [False, True])
@pytest.mark.parametrize("rate", ["15/3 minutes", "2000/3 minutes"])
def test_refused_hits_do_not_grow_a_key(asked, clock, rate, count_refused):
    store = RedisWindowStore(get_client(), clock=clock)
    scope = Scope.read("s", {"rate": rate, "count_refused": count_refused})
    limit = scope.rates[0].limit
    fill = (("user:1", plan_for((scope, limit // 5))),)
    one = (("user:1", plan_for((scope, 1))),)
    for _ in range(5):
        store.hit(fill)
    (key,) = asked.client().keys("*")
    before = len(asked.client().dump(key))
    for _ in range(500):
        assert store.hit(one)[0] == 0
    assert len(asked.client().dump(key)) == before


def test_a_refused_hit_does_not_prolong_the_life_of_a_key(asked):
    scope = Scope.read("s", "1/hour")
    gate.hit("user:1", scope)
    (key,) = asked.client().keys("*")
    asked.client().pexpire(key, 5_000_000)
    gate.refusals.clock = iter(range(0, 10_000, 2)).__next__
    for _ in range(20):
        assert not gate.hit("user:1", scope).allowed
    # A write would have set an hour.
    assert asked.client().pttl(key) > 4_000_000
