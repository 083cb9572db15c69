"""One real server and each way in which it can fail."""

from __future__ import annotations

import logging
import os
import re
import threading

import pytest

from perfguard.exceptions import RedisUnavailable
from perfguard.redis.client import get_client
from perfguard.redis.scripts import Script
from perfguard.signals import circuit_changed
from perfguard.throttling.gate import gate
from tests.servers import ROOT, RedisServer, free_port, wait_until

RATES = {"api": "3/minute"}


@pytest.fixture
def on(perfguard, caplog):
    """``on(server)`` points perfguard at a server, with short waits."""
    caplog.set_level(logging.WARNING, logger="perfguard.redis")

    def configure(url, **settings):
        perfguard(
            **{"REDIS_PROBE_INTERVAL": 0.02, "THROTTLE_RATES": RATES}
            | {"REDIS_CONNECT_TIMEOUT": 1.0, "REDIS_READ_TIMEOUT": 1.0}
            | settings,
            REDIS_URL=url,
        )

    return configure


def is_open():
    return any(each.circuit.is_open for each in get_client().endpoints())


def hits(count=5, identity="user:1"):
    return [gate.hit(identity, "api") for _ in range(count)]


def assert_memory_holds_the_limit(identity="user:1"):
    verdicts = hits(identity=identity)
    assert [each.allowed for each in verdicts] == [True] * 3 + [False] * 2
    assert {each.source for each in verdicts} == {"memory"}
    assert is_open()


def test_killed_and_back(on, own_redis, caplog):
    on(own_redis.url)
    assert gate.hit("user:0", "api").source == "redis"
    own_redis.kill()
    assert_memory_holds_the_limit()
    own_redis.start()
    wait_until(lambda: not is_open(), "the circuit to close")
    assert gate.hit("user:2", "api").source == "redis"
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(" (")[0].split(" after")[0] for line in lines] == [
        f"Redis at 127.0.0.1:{own_redis.port} is away",
        f"Redis at 127.0.0.1:{own_redis.port} is back",
    ]


def test_hung_and_back(on, own_redis):
    on(own_redis.url)
    gate.hit("user:0", "api")
    own_redis.hang()
    assert_memory_holds_the_limit()
    own_redis.resume()
    wait_until(lambda: not is_open(), "the circuit to close")
    assert gate.hit("user:2", "api").source == "redis"


def test_refused_connections(on):
    on(f"redis://127.0.0.1:{free_port()}/0")
    assert_memory_holds_the_limit()


def test_an_unknown_host(on):
    on("redis://nowhere.invalid:6379/0")
    assert_memory_holds_the_limit()


def test_no_room_for_clients(on, own_redis):
    with own_redis.client() as holder:
        holder.config_set("maxclients", 1)
        on(own_redis.url)
        assert_memory_holds_the_limit()
        holder.config_set("maxclients", 100)
        wait_until(lambda: not is_open(), "the circuit to close")
    assert gate.hit("user:2", "api").source == "redis"


def test_a_wrong_password(on, own_redis):
    with own_redis.client() as admin:
        admin.config_set("requirepass", "right")
        on(f"redis://:wrong@127.0.0.1:{own_redis.port}/0")
        assert_memory_holds_the_limit()
        on(f"redis://:right@127.0.0.1:{own_redis.port}/0")
        assert gate.hit("user:1", "api").source == "redis"


def test_a_password_is_never_logged(on, own_redis, caplog):
    with own_redis.client() as admin:
        admin.config_set("requirepass", "right")
        on(f"redis://someone:planted-secret@127.0.0.1:{own_redis.port}/0")
        hits()
    assert caplog.records
    assert "planted-secret" not in caplog.text


def test_a_read_only_replica(on, own_redis):
    with RedisServer(replicaof=f"127.0.0.1 {own_redis.port}") as replica:
        on(replica.url)
        assert_memory_holds_the_limit()
        replica.client().execute_command("REPLICAOF NO ONE")
        wait_until(lambda: not is_open(), "the circuit to close")
        assert gate.hit("user:2", "api").source == "redis"


def test_a_full_memory(on, own_redis):
    own_redis.client().config_set("maxmemory", 1)
    on(own_redis.url)
    assert_memory_holds_the_limit()
    own_redis.client().config_set("maxmemory", 0)
    wait_until(lambda: not is_open(), "the circuit to close")


def test_a_missing_permission(on, own_redis):
    own_redis.client().execute_command(
        "ACL SETUSER weak on >pw ~* +@all -eval -evalsha"
    )
    on(f"redis://weak:pw@127.0.0.1:{own_redis.port}/0")
    assert_memory_holds_the_limit()


def permissions():
    page = (ROOT / "docs" / "redis-failure.md").read_text()
    return re.search(r"~perfguard:\* ([^\n`]*)", page)[1]


def test_the_permissions_that_the_manual_names_are_enough(on, own_redis):
    own_redis.client().execute_command(
        f"ACL SETUSER guard on >pw ~perfguard:* {permissions()}"
    )
    on(f"redis://guard:pw@127.0.0.1:{own_redis.port}/0")
    assert [each.allowed for each in hits()] == [True] * 3 + [False] * 2
    assert gate.reset("user:1", "api")
    assert gate.hit("user:1", "api").source == "redis"
    assert not is_open()


def test_flushall_empties_the_windows_and_nothing_else(on, own_redis):
    on(own_redis.url, THROTTLE_REFUSAL_CACHE_SECONDS=0.0)
    hits()
    own_redis.client().flushall()
    assert [each.source for each in hits(3)] == ["redis"] * 3
    assert not is_open()


def test_script_flush_is_mended_by_the_next_call(on, own_redis):
    on(own_redis.url)
    hits(1)
    own_redis.client().script_flush()
    assert [(each.allowed, each.source) for each in hits(2)] == [(True, "redis")] * 2
    assert not is_open()


def test_idle_connections_that_the_server_closed_are_replaced(on, own_redis):
    on(own_redis.url)
    hits(1)
    own_redis.client().client_kill_filter(_type="normal", skipme=True)
    assert gate.hit("user:1", "api").source == "redis"
    assert not is_open()


def test_a_restart_between_two_requests_is_not_noticed(on, own_redis):
    on(own_redis.url)
    hits(1)
    own_redis.kill()
    own_redis.start()
    assert gate.hit("user:1", "api").source == "redis"
    assert not is_open()


def test_scopes_choose_what_happens_without_redis(on):
    on(
        f"redis://127.0.0.1:{free_port()}/0",
        THROTTLE_RATES={
            "closed": {"rate": "3/minute", "on_redis_failure": "refuse"},
            "open": {"rate": "3/minute", "on_redis_failure": "allow"},
            "api": "3/minute",
        },
    )
    closed = gate.hit("user:1", "closed", "api")
    assert (closed.allowed, closed.unavailable, closed.retry_after) == (False, True, 1)
    assert all(gate.hit("user:1", "open").allowed for _ in range(9))
    mixed = [gate.hit("user:1", "open", "api").allowed for _ in range(4)]
    assert mixed == [True, True, True, False]


def test_peek_and_reset_work_without_redis(on):
    on(f"redis://127.0.0.1:{free_port()}/0")
    hits()
    assert gate.remaining("user:1", "api") == 0
    assert gate.reset("user:1", "api") is False
    assert gate.remaining("user:1", "api") == 3


def test_the_signal_tells_each_change_once(on, own_redis):
    told = []

    def receiver(**kwargs):
        told.append((kwargs["server"], kwargs["is_open"]))

    circuit_changed.connect(receiver)
    on(own_redis.url)
    own_redis.kill()
    hits()
    own_redis.start()
    wait_until(lambda: not is_open(), "the circuit to close")
    circuit_changed.disconnect(receiver)
    server = f"127.0.0.1:{own_redis.port}"
    assert told == [(server, True), (server, False)]


def test_a_failing_receiver_hurts_nobody(on, own_redis, caplog):
    def receiver(**kwargs):
        raise RuntimeError("mine")

    circuit_changed.connect(receiver)
    on(own_redis.url)
    own_redis.kill()
    assert_memory_holds_the_limit()
    own_redis.start()
    wait_until(lambda: not is_open(), "the circuit to close")
    circuit_changed.disconnect(receiver)
    assert "RuntimeError: mine" in caplog.text


def test_a_forked_child_has_connections_and_probes_of_its_own(on, own_redis):
    on(own_redis.url)
    hits(1)
    own_redis.kill()
    hits(1)  # the parent's circuit is open, and its probe thread runs
    own_redis.start()
    child = os.fork()
    if child == 0:
        os._exit(0 if gate.hit("user:9", "api").source == "redis" else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    wait_until(lambda: not is_open(), "the parent's circuit to close")
    assert gate.hit("user:1", "api").source == "redis"


def test_connections_that_failed_are_not_kept(on, own_redis):
    on(own_redis.url)
    for _ in range(5):
        hits(1)
        own_redis.client().client_kill_filter(_type="normal", skipme=True)
    hits(1)
    (endpoint,) = get_client().endpoints()
    pool = endpoint._pool
    assert len(pool._in_use_connections) + len(pool._available_connections) == 1


def test_more_threads_than_a_pool_of_redis_py_has_connections(on, own_redis):
    on(own_redis.url, REDIS_READ_TIMEOUT=20.0, REDIS_CONNECT_TIMEOUT=20.0)
    barrier, sources = threading.Barrier(150), []

    def hit(number):
        barrier.wait(20)
        sources.append(gate.hit(f"user:{number}", "api").source)

    threads = [threading.Thread(target=hit, args=(each,)) for each in range(150)]
    own_redis.hang()
    for thread in threads:
        thread.start()
    wait_until(lambda: barrier.n_waiting == 0, "all to be on their way")
    own_redis.resume()
    for thread in threads:
        thread.join()
    assert sources == ["redis"] * 150


def test_a_server_that_passes_probes_and_fails_calls_is_probed_less_and_less(
    on, own_redis
):
    own_redis.client().execute_command(
        "ACL SETUSER weak on >pw ~perfguard:* +eval +evalsha +del +lpush +time +pexpire"
    )
    on(f"redis://weak:pw@127.0.0.1:{own_redis.port}/0")
    (endpoint,) = get_client().endpoints()
    pauses = []
    for _ in range(4):
        gate.hit("user:1", "api")
        pauses.append(endpoint.circuit._pause)
        wait_until(lambda: not is_open(), "a probe to pass")
    assert pauses == [0.02, 0.04, 0.08, 0.16]


def test_a_refused_asking_leaves_no_reply_for_the_next_call(on, own_redis):
    own_redis.client().execute_command("ACL SETUSER weak on >pw ~* +@all -asking")
    on(f"redis://weak:pw@127.0.0.1:{own_redis.port}/0")
    (endpoint,) = get_client().endpoints()
    echo = Script("return ARGV[1]")
    assert endpoint.call(echo, echo.command([], [])) is None
    with pytest.raises(RedisUnavailable):
        endpoint.call(
            echo, b"".join([echo.head(2), b"$1\r\n0\r\n$1\r\na\r\n"]), asking=True
        )
    after = b"".join([echo.head(2), b"$1\r\n0\r\n$1\r\nb\r\n"])
    assert endpoint.call(echo, after) == b"b"


def test_a_circuit_whose_thread_cannot_start_stays_closed(on, own_redis, monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    on(f"redis://127.0.0.1:{free_port()}/0")
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert gate.hit("user:1", "api").source == "memory"
    assert not is_open()
