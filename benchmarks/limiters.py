"""What is measured: perfguard, its peers, and the floors below them.

A check is one hit of one address; it says whether the hit was allowed. The name of
each check is that of the load it is for: "short" (15/3 minutes, allowed), "long"
(1000/hour, allowed) and "refused" (15/3 minutes, the window full).
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import redis
from django.conf import settings
from django.test import RequestFactory
from django_ratelimit.core import is_ratelimited
from limits import RateLimitItemPerHour, RateLimitItemPerMinute
from limits.storage import storage_from_string
from limits.strategies import MovingWindowRateLimiter
from rest_framework import throttling as of_drf
from rest_framework.exceptions import Throttled
from rest_framework.views import APIView
from throttled import RedisStore, per_duration
from throttled import Throttled as OfThrottledPy

from perfguard.redis.scripts import Script
from perfguard.throttling import throttles
from perfguard.throttling.gate import gate, group
from perfguard.throttling.memory_store import MemoryWindowStore
from perfguard.throttling.rates import Rate
from perfguard.throttling.requests import ATTRIBUTE

Check = Callable[[str], bool]
RATES = {"short": Rate.parse("15/3 minutes"), "long": Rate.parse("1000/hour")}


@dataclass(frozen=True)
class Limiter:
    name: str
    checks: Mapping[str, Check]
    options: Mapping[str, Any] = field(default_factory=dict)  # laid over PERFGUARD


def floors() -> list[Limiter]:
    return [
        # With perfguard's own time-outs: a client in production needs some, and
        # waiting for a socket within a time costs a system call more each way.
        Limiter("floor: redis-py EVALSHA", {"short": redis_py(socket_timeout=0.1)}),
        Limiter("floor: the same, no time-outs", {"short": redis_py()}),
        Limiter("floor: bare socket EVALSHA", {"short": bare_socket()}),
        Limiter(
            "floor: DRF, idle throttle",
            {"short": drf(AllowingThrottle), "refused": drf(RefusingThrottle)},
        ),
    ]


def in_redis() -> list[Limiter]:
    ours = loads(lambda scope: drf(perfguard_throttle(scope)))
    three = perfguard_gate("three")
    return [
        Limiter("perfguard, DRF throttle", ours),
        Limiter("perfguard, DRF, no headers", ours, {"THROTTLE_HEADERS": ()}),
        Limiter("perfguard, gate.hit", loads(perfguard_gate)),
        Limiter("perfguard, gate.hit, 3 limits", {"short": three, "refused": three}),
        Limiter("DRF AnonRateThrottle", loads(lambda scope: drf(drf_throttle(scope)))),
        Limiter("django-ratelimit", loads(django_ratelimit)),
        Limiter("limits, moving window", loads(limits_moving_window)),
        Limiter("throttled-py, sliding window", loads(throttled_py)),
    ]


def without_redis() -> list[Limiter]:
    ours = loads(lambda scope: drf(perfguard_throttle(scope)))
    away = {"REDIS_URL": settings.REDIS_AWAY_URL}
    return [
        Limiter("perfguard, memory store", loads(perfguard_memory)),
        Limiter("perfguard, DRF, no Redis set", ours, {"REDIS_URL": ""}),
        # The first hit, which is not timed, opens the circuit.
        Limiter("perfguard, DRF, circuit open", ours, away),
        Limiter("perfguard, gate.hit, circuit open", loads(perfguard_gate), away),
    ]


def loads(make: Callable[[str], Check]) -> dict[str, Check]:
    short = make("short")
    return {"short": short, "long": make("long"), "refused": short}


def redis_py(**options: float) -> Check:
    client = redis.Redis.from_url(settings.REDIS_URL, **options)
    digest = client.script_load("return 1")
    return lambda address: client.evalsha(digest, 0) == 1


def bare_socket() -> Check:
    connection = socket.create_connection(("127.0.0.1", settings.REDIS_PORT))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    command = Script("return 1").command([], [])

    def check(address: str) -> bool:
        connection.sendall(command)
        return connection.recv(64) == b":1\r\n"

    return check


class AllowingThrottle(of_drf.BaseThrottle):
    def allow_request(self, request: Any, view: APIView) -> bool:
        return True


class RefusingThrottle(of_drf.BaseThrottle):
    def allow_request(self, request: Any, view: APIView) -> bool:
        return False

    def wait(self) -> float:
        return 100.0


def drf(throttle: type[of_drf.BaseThrottle]) -> Check:
    """What a view does about throttles, on a request that is authenticated."""
    http = RequestFactory().get("/")
    view = APIView(throttle_classes=[throttle], authentication_classes=[])
    request = view.initialize_request(http)
    view.headers = view.default_response_headers
    assert request.user.is_anonymous

    def check(address: str) -> bool:
        http.META["REMOTE_ADDR"] = address
        # perfguard counts a scope once for a request; this is a new one.
        vars(http).pop(ATTRIBUTE, None)
        try:
            view.check_throttles(request)
        except Throttled:
            return False
        return True

    return check


def perfguard_throttle(scope: str) -> type[throttles.AnonRateThrottle]:
    return type("PerfguardThrottle", (throttles.AnonRateThrottle,), {"scope": scope})


def drf_throttle(scope: str) -> type[of_drf.AnonRateThrottle]:
    wanted = RATES[scope]

    class DrfThrottle(of_drf.AnonRateThrottle):
        rate = str(wanted)

        def parse_rate(self, rate: str) -> tuple[int, int]:
            # DRF itself cannot write "3 minutes".
            return wanted.limit, wanted.period

    return DrfThrottle


def perfguard_gate(scope: str) -> Check:
    return lambda address: gate.hit(address, scope).allowed


def perfguard_memory(scope: str) -> Check:
    store = MemoryWindowStore()
    _, plan = group("anyone", scope)
    return lambda address: store.hit(((address, plan),))[0] == 1


def django_ratelimit(scope: str) -> Check:
    http = RequestFactory().get("/")
    rate = (RATES[scope].limit, RATES[scope].period)

    def check(address: str) -> bool:
        http.META["REMOTE_ADDR"] = address
        return not is_ratelimited(http, scope, key="ip", rate=rate, increment=True)

    return check


def limits_moving_window(scope: str) -> Check:
    limiter = MovingWindowRateLimiter(storage_from_string(settings.REDIS_URL))
    items = {
        "short": RateLimitItemPerMinute(15, 3),
        "long": RateLimitItemPerHour(1000),
    }
    return lambda address: limiter.hit(items[scope], address)


def throttled_py(scope: str) -> Check:
    wanted = RATES[scope]
    limiter = OfThrottledPy(
        using="sliding_window",
        quota=per_duration(timedelta(seconds=wanted.period), wanted.limit),
        store=RedisStore(server=settings.REDIS_URL),
    )
    return lambda address: not limiter.limit(address).limited
