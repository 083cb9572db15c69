"""From settings to a client of the right kind, on real servers."""

from __future__ import annotations

import pytest

from perfguard.exceptions import InvalidSetting
from perfguard.redis.client import get_client, sentinel_address
from perfguard.throttling.gate import gate
from tests.servers import RedisServer


def cache(backend, server, **options):
    return {
        "default": {
            "BACKEND": backend,
            "LOCATION": server.url,
            "OPTIONS": options,
        }
    }


@pytest.mark.parametrize(
    "backend",
    ["django_redis.cache.RedisCache", "django.core.cache.backends.redis.RedisCache"],
)
def test_the_server_of_a_cache_is_used_by_connections_of_its_own(
    settings, perfguard, own_redis, backend
):
    settings.CACHES = cache(backend, own_redis)
    perfguard(REDIS_CACHE_ALIAS="default", THROTTLE_RATES={"api": "1/minute"})
    assert gate.hit("user:1", "api").source == "redis"
    pool = get_client().endpoints()[0]._pool
    assert pool.connection_kwargs["socket_timeout"] == 3.0
    assert own_redis.client().exists("perfguard:{user:1}:throttle:api:60")


def test_the_credentials_of_a_cache_are_used(settings, perfguard, own_redis):
    with own_redis.client() as admin:
        admin.config_set("requirepass", "right")
        settings.CACHES = cache(
            "django_redis.cache.RedisCache", own_redis, PASSWORD="right"
        )
        perfguard(REDIS_CACHE_ALIAS="default", THROTTLE_RATES={"api": "1/minute"})
        assert gate.hit("user:1", "api").source == "redis"


def test_the_key_prefix_is_a_setting(perfguard, redis_server):
    perfguard(
        REDIS_URL=redis_server.url,
        REDIS_KEY_PREFIX="100%",
        THROTTLE_RATES={"api": "1/minute"},
    )
    assert [gate.hit("user:1", "api").allowed for _ in range(2)] == [True, False]
    assert redis_server.client().keys() == [b"100%:{user:1}:throttle:api:60"]


def test_a_unix_socket(perfguard, tmp_path):
    with RedisServer(unixsocket=str(tmp_path / "r.sock")):
        perfguard(
            REDIS_URL=f"unix://{tmp_path / 'r.sock'}",
            THROTTLE_RATES={"api": "1/minute"},
        )
        assert gate.hit("user:1", "api").source == "redis"


def test_no_redis_is_no_client(perfguard):
    perfguard()
    assert get_client() is None


@pytest.mark.parametrize(
    "values", [{"REDIS_URL": "http://x"}, {"REDIS_CACHE_ALIAS": "nowhere"}]
)
def test_a_setting_that_leads_nowhere_is_named(perfguard, values):
    perfguard(**values)
    with pytest.raises(InvalidSetting, match=next(iter(values))):
        get_client()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("a", ("a", 26379)),
        (" a:1 ", ("a", 1)),
        ("[::1]:5", ("::1", 5)),
        ("10.0.0.1:26380", ("10.0.0.1", 26380)),
    ],
)
def test_addresses_of_sentinels(text, address):
    assert sentinel_address(text) == address


@pytest.mark.parametrize("text", ["", ":1", "a:b", "a/b", "redis://a"])
def test_other_text_is_no_address(text):
    with pytest.raises(ValueError, match=r"host|Port"):
        sentinel_address(text)


def test_of_several_servers_of_a_cache_the_first_is_written_to(
    settings, perfguard, own_redis
):
    with RedisServer(replicaof=f"127.0.0.1 {own_redis.port}") as replica:
        settings.CACHES = {
            "default": {
                "BACKEND": "django.core.cache.backends.redis.RedisCache",
                "LOCATION": [own_redis.url, replica.url],
            }
        }
        perfguard(REDIS_CACHE_ALIAS="default", THROTTLE_RATES={"api": "9/minute"})
        assert gate.hit("user:1", "api").source == "redis"
        assert get_client().circuit.server == f"127.0.0.1:{own_redis.port}"


def test_options_of_a_url_do_not_overrule_the_time_outs(perfguard, redis_server):
    perfguard(REDIS_URL=f"{redis_server.url}?socket_timeout=50&max_connections=1")
    options = get_client().endpoints()[0]._pool.connection_kwargs
    assert options["socket_timeout"] == 3.0
    assert get_client().endpoints()[0]._pool.max_connections > 1000
