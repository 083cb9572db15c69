"""A real master, replica and three sentinels; the master dies under load."""

from __future__ import annotations

import threading

import pytest

from perfguard.redis.client import get_client
from perfguard.throttling.gate import gate
from tests.servers import sentinel_group, wait_until

RATES = {"api": "5/minute"}


@pytest.fixture
def group(perfguard):
    with sentinel_group() as (servers, sentinels):
        perfguard(
            REDIS_URL="redis://mymaster/0",
            REDIS_SENTINELS=[f"127.0.0.1:{each.port}" for each in sentinels],
            REDIS_PROBE_INTERVAL=0.05,
            THROTTLE_RATES=RATES,
        )
        yield servers


def is_open():
    return any(each.circuit.is_open for each in get_client().endpoints())


def test_the_master_is_asked(group):
    master, _replica = group
    assert [gate.hit("user:1", "api").source for _ in range(3)] == ["redis"] * 3
    assert master.client().exists("perfguard:{user:1}:throttle:api:60")


def test_a_fail_over_under_load_refuses_nobody_who_had_room(group):
    master, replica = group
    verdicts, stop = [], threading.Event()

    def load(worker):
        number = 0
        while not stop.is_set() and number < 200_000:
            number += 1
            verdicts.append(gate.hit(f"user:{worker}-{number // 5}", "api"))

    threads = [threading.Thread(target=load, args=(each,)) for each in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(verdicts) > 100, "some load")
    master.kill()
    wait_until(is_open, "the circuit to open")
    wait_until(lambda: replica.client().role()[0] == b"master", "the fail-over", 30)
    wait_until(lambda: not is_open(), "the circuit to close", 30)
    before = len(verdicts)
    wait_until(lambda: len(verdicts) > before + 100, "more load")
    stop.set()
    for thread in threads:
        thread.join()
    assert all(verdict.allowed for verdict in verdicts)
    assert {verdict.source for verdict in verdicts} == {"redis", "memory"}
    # A sentinel may doubt the new master for a moment after the fail-over.
    wait_until(lambda: gate.hit("user:after", "api").source == "redis", "Redis")
    assert replica.client().exists("perfguard:{user:after}:throttle:api:60")


def test_the_sentinels_of_a_cache_are_asked_within_own_time_outs(
    group, settings, perfguard
):
    sentinels = [
        tuple(each.rsplit(":", 1)) for each in settings.PERFGUARD["REDIS_SENTINELS"]
    ]
    settings.DJANGO_REDIS_CONNECTION_FACTORY = (
        "django_redis.pool.SentinelConnectionFactory"
    )
    settings.CACHES = {
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": "redis://mymaster/0",
            "OPTIONS": {
                "CLIENT_CLASS": "django_redis.client.SentinelClient",
                "SENTINELS": sentinels,
            },
        }
    }
    perfguard(REDIS_CACHE_ALIAS="default", REDIS_URL="", REDIS_SENTINELS=[])
    assert gate.hit("user:1", "api").source == "redis"
    manager = get_client().endpoints()[0]._pool.sentinel_manager
    for sentinel in manager.sentinels:
        assert sentinel.connection_pool.connection_kwargs["socket_timeout"] == 3.0
