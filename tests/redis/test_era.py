"""The era of a real server: it changes with all that may lose a key without a word."""

from __future__ import annotations

import pytest

from perfguard.exceptions import RedisUnavailable
from perfguard.redis.client import get_client
from perfguard.redis.era import era_of
from perfguard.redis.scripts import packed
from tests.servers import RedisServer, redis_binaries, wait_until

MGET = packed(b"MGET", b"perfguard:{user:1}:a", b"perfguard:{user:1}:b")


@pytest.fixture(params=redis_binaries().values(), ids=redis_binaries())
def server(request):
    with RedisServer(request.param) as server:
        yield server


@pytest.fixture
def on(perfguard):
    """``on(server)`` is a reader of its era."""

    def configure(server):
        perfguard(REDIS_URL=server.url, REDIS_PROBE_INTERVAL=0.02)
        return lambda: get_client().read("user:1", MGET).era

    return configure


@pytest.fixture
def era(on, server):
    return on(server)


def test_a_read_tells_what_is_there_and_the_era(era, server):
    server.client().set("perfguard:{user:1}:b", "2")
    reading = get_client().read("user:1", MGET)
    assert reading.reply == [None, b"2"]
    assert len(reading.era) == 16


def test_the_era_stays_as_long_as_nothing_can_be_lost(era, server):
    before = era()
    server.client().set("a", "1")
    server.client().delete("a")
    server.client().client_kill_filter(_type="normal", skipme=True)
    assert era() == before


def test_a_restart_is_another_era(era, server):
    before = era()
    server.kill()
    server.start()
    assert era() not in {before, ""}


def test_a_restart_that_loads_its_data_is_another_era(era, server):
    before = era()
    server.client().set("a", "1")
    server.client().save()
    server.kill()
    server.start()
    assert server.client().get("a") == b"1"
    assert era() not in {before, ""}


@pytest.mark.parametrize(
    "policy", ["allkeys-lru", "allkeys-random", "volatile-ttl", "volatile-lfu"]
)
def test_a_server_that_may_evict_has_none_from_that_moment_on(era, server, policy):
    assert era()  # and the connection is kept
    server.client().config_set("maxmemory", "1gb")
    assert era()
    server.client().config_set("maxmemory-policy", policy)
    assert era() == ""
    server.client().config_set("maxmemory", 0)
    assert era()


def test_an_eviction_of_the_past_is_another_era(era, server):
    before = era()
    admin = server.client()
    admin.set("perfguard:{user:1}:a", "1")
    admin.config_set("maxmemory-policy", "allkeys-lru")
    admin.config_set("maxmemory", 1)
    wait_until(lambda: not admin.dbsize(), "the eviction")
    admin.config_set("maxmemory", 0)
    admin.config_set("maxmemory-policy", "noeviction")
    assert era() not in {before, ""}


def test_a_replica_has_none_though_the_connection_stays(era, server):
    assert era()
    with RedisServer(server.binary) as other:
        server.client().replicaof("127.0.0.1", other.port)
        assert era() == ""


def test_master_again_without_a_restart_is_another_era(era, server):
    before = era()
    with RedisServer(server.binary) as other:
        server.client().replicaof("127.0.0.1", other.port)
        wait_until(
            lambda: server.client().info("replication")["master_link_status"] == "up",
            "the link",
        )
    server.client().replicaof("no", "one")
    assert era() not in {before, ""}


def test_a_replica_that_takes_over_is_another_era(on, server):
    before = on(server)()
    with RedisServer(server.binary, replicaof=f"127.0.0.1 {server.port}") as replica:
        wait_until(
            lambda: replica.client().info("replication")["master_link_status"] == "up",
            "the link",
        )
        replica.client().replicaof("no", "one")
        assert on(replica)() not in {before, ""}


@pytest.mark.parametrize(
    "missing", ["run_id", "master_replid", "role", "maxmemory_policy", "evicted_keys"]
)
def test_a_server_that_does_not_tell_all_has_none(missing):
    facts = {
        "run_id": "a" * 40,
        "maxmemory": "5",
        "maxmemory_policy": "noeviction",
        "evicted_keys": "0",
        "role": "master",
        "master_replid": "b" * 40,
    }
    info = "# All\r\n" + "".join(f"{k}:{v}\r\n" for k, v in facts.items())
    assert era_of(info.encode())
    del facts[missing]
    info = "# All\r\n" + "".join(f"{k}:{v}\r\n" for k, v in facts.items())
    assert era_of(info.encode()) == ""


@pytest.fixture
def weak(server, perfguard):
    """``weak("-command")`` is the client of an account that may not do that."""

    def configure(rule):
        server.client().execute_command(f"ACL SETUSER weak on >pw ~* +@all {rule}")
        perfguard(
            REDIS_URL=f"redis://weak:pw@127.0.0.1:{server.port}/0",
            REDIS_PROBE_INTERVAL=0.02,
        )
        return get_client()

    return configure


def test_an_account_that_may_not_ask_has_no_era(weak, server):
    client = weak("-info")
    server.client().set("perfguard:{user:1}:b", "2")
    for _ in range(2):  # each reply is that of its own question
        assert client.read("user:1", MGET) == ([None, b"2"], "")
    assert not client.is_away("user:1")


def test_a_refused_read_leaves_no_reply_for_the_next(weak, server):
    """Another user's state would be taken for the next one's."""
    client = weak("-mget")
    with pytest.raises(RedisUnavailable, match=r"(?i)mget|permission"):
        client.read("user:1", MGET)
    server.client().execute_command("ACL SETUSER weak +mget")
    server.client().set("perfguard:{user:2}:a", "7")
    wait_until(lambda: not client.is_away("user:1"), "the circuit to close")
    other = packed(b"MGET", b"perfguard:{user:2}:a")
    assert client.read("user:2", other).reply == [b"7"]


def test_a_connection_asks_for_the_era_once_a_second(era, server, monkeypatch):
    monkeypatch.setattr("perfguard.redis.endpoint.ERA_SECONDS", 3600.0)
    first = era()
    assert {era() for _ in range(50)} == {first}
    assert server.client().info("commandstats")["cmdstat_info"]["calls"] == 1


def test_a_connection_to_another_server_asks_at_once(era, server, monkeypatch):
    monkeypatch.setattr("perfguard.redis.endpoint.ERA_SECONDS", 3600.0)
    before = era()
    server.kill()
    server.start()
    assert era() not in {before, ""}
