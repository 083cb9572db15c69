"""A real cluster of three masters; a slot moves, and a master dies, under load."""

from __future__ import annotations

import threading

import pytest
from redis.crc import key_slot

from perfguard.redis.client import get_client
from perfguard.throttling.gate import gate, group
from tests.servers import RedisServer, cluster, wait_until

RATES = {"api": "5/minute", "wide": "50/hour"}


@pytest.fixture
def nodes(perfguard):
    with cluster() as nodes:
        perfguard(
            REDIS_URL=nodes[0].url,
            REDIS_CLUSTER=True,
            REDIS_PROBE_INTERVAL=0.05,
            THROTTLE_RATES=RATES,
        )
        yield nodes


def owner(nodes, identity):
    slot = key_slot(identity.encode())
    share = 16384 // len(nodes) + 1
    return nodes[slot // share]


def elsewhere(nodes, identity):
    """Another identity, on another node."""
    others = (f"user:{number}" for number in range(99))
    return next(
        each for each in others if owner(nodes, each) is not owner(nodes, identity)
    )


def test_identities_are_spread_and_each_has_one_slot(nodes):
    for number in range(30):
        verdict = gate.hit(f"user:{number}", "api", "wide")
        assert (verdict.allowed, verdict.source) == (True, "redis")
    sizes = [node.client().dbsize() for node in nodes]
    assert sum(sizes) == 60
    assert all(size and size % 2 == 0 for size in sizes)


def test_limits_hold(nodes):
    allowed = [gate.hit("user:1", "api").allowed for _ in range(7)]
    assert allowed == [True] * 5 + [False] * 2


def test_two_identities_in_two_slots_are_all_or_nothing(nodes):
    other = elsewhere(nodes, "user:1")
    groups = (group("user:1", "api"), group(other, "wide"))
    assert [gate.decide(groups).allowed for _ in range(7)] == [True] * 5 + [False] * 2
    assert gate.remaining(other, "wide") == 45


def test_reset_finds_the_slot(nodes):
    for _ in range(5):
        gate.hit("user:1", "api")
    assert gate.reset("user:1", "api")
    assert gate.remaining("user:1", "api") == 5


def move_slot(source, target, slot, *, before_the_end=lambda: None):
    """What redis-cli --cluster reshard does with one slot."""
    ids = {
        each: each.client().execute_command("CLUSTER MYID").decode()
        for each in (source, target)
    }
    target.client().execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[source])
    source.client().execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[target])
    before_the_end()
    while keys := source.client().execute_command("CLUSTER GETKEYSINSLOT", slot, 100):
        source.client().execute_command(
            "MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys
        )
    for each in (target, source):
        each.client().execute_command("CLUSTER SETSLOT", slot, "NODE", ids[target])


def test_a_slot_that_moves_keeps_its_windows(nodes):
    source = owner(nodes, "user:1")
    target = next(node for node in nodes if node is not source)
    for _ in range(3):
        gate.hit("user:1", "api")
    move_slot(source, target, key_slot(b"user:1"))
    verdicts = [gate.hit("user:1", "api") for _ in range(3)]
    assert [each.allowed for each in verdicts] == [True, True, False]
    assert {each.source for each in verdicts} == {"redis"}


def test_a_new_window_in_a_slot_on_the_move_is_made_at_the_target(nodes):
    source = owner(nodes, "user:1")
    target = next(node for node in nodes if node is not source)
    gate.hit("user:1", "wide")  # learns the map; and this key stays with the source
    asked = []
    move_slot(
        source,
        target,
        key_slot(b"user:1"),
        before_the_end=lambda: asked.append(gate.hit("user:1", "api")),
    )
    assert [(each.allowed, each.source) for each in asked] == [(True, "redis")]
    assert gate.remaining("user:1", "api") == 4


def test_windows_half_moved_are_kept_in_memory_for_the_while(nodes):
    source = owner(nodes, "user:1")
    target = next(node for node in nodes if node is not source)
    gate.hit("user:1", "wide")
    asked = []
    move_slot(
        source,
        target,
        key_slot(b"user:1"),
        before_the_end=lambda: asked.append(gate.hit("user:1", "wide", "api")),
    )
    assert [(each.allowed, each.source) for each in asked] == [(True, "memory")]
    assert not any(each.circuit.is_open for each in get_client().endpoints())
    wait_until(lambda: gate.peek("user:1", "wide", "api").source == "redis", "the slot")


def test_a_slot_moved_under_load_loses_and_admits_nothing(nodes):
    source = owner(nodes, "user:1")
    target = next(node for node in nodes if node is not source)
    verdicts, stop = [], threading.Event()

    def load():
        while not stop.is_set() and len(verdicts) < 100_000:
            verdicts.append(gate.hit("user:1", "wide"))

    gate.refusals._stretch = 0.0  # each hit asks the cluster
    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        wait_until(lambda: verdicts, "some load")
        move_slot(source, target, key_slot(b"user:1"))
        source, target = target, source
    stop.set()
    for thread in threads:
        thread.join()
    assert sum(verdict.allowed for verdict in verdicts) == 50
    assert {verdict.source for verdict in verdicts} == {"redis"}


def test_a_dead_master_takes_only_its_own_slots_to_memory(nodes, caplog):
    for node in nodes:  # go on serving the slots that are left
        node.client().config_set("cluster-require-full-coverage", "no")
    dead = owner(nodes, "user:1")
    alive = elsewhere(nodes, "user:1")
    gate.hit("user:1", "api")
    dead.kill()
    verdicts = [gate.hit("user:1", "api") for _ in range(7)]
    assert [each.allowed for each in verdicts] == [True] * 5 + [False] * 2
    assert {each.source for each in verdicts} == {"memory"}
    assert gate.hit(alive, "api").source == "redis"
    dead.start()
    wait_until(
        lambda: not any(each.circuit.is_open for each in get_client().endpoints()),
        "the circuit to close",
    )
    wait_until(
        lambda: gate.hit("user:1", "wide").source == "redis", "the slots to be back"
    )


def test_refused_hits_count_in_two_slots_where_that_is_wanted(nodes, perfguard):
    perfguard(
        THROTTLE_RATES={
            "api": {"rate": "1/3 seconds", "count_refused": True},
            "wide": "9/hour",
        }
    )
    other = elsewhere(nodes, "user:1")
    groups = (group("user:1", "api"), group(other, "wide"))
    assert gate.decide(groups).allowed
    waits = [gate.decide(groups).reset_after for _ in range(5)]
    assert min(waits) > 2.9  # each refused hit begins the wait again
    assert gate.remaining(other, "wide") == 8


def test_a_slot_without_a_master_is_found_again(nodes):
    for node in nodes:
        node.client().config_set("cluster-require-full-coverage", "no")
    gate.hit("user:1", "api")
    slot = key_slot(b"user:1")
    client = get_client()
    del client._cluster.nodes_manager.slots_cache[slot]
    assert gate.hit("user:1", "api").source == "memory"
    assert client.away() == ["cluster"]
    wait_until(
        lambda: gate.hit("user:1", "wide").source == "redis", "the slot's master"
    )
    assert client.away() == []


def test_no_node_at_all(perfguard):
    perfguard(
        REDIS_URL="redis://127.0.0.1:1/0",
        REDIS_CLUSTER=True,
        REDIS_PROBE_INTERVAL=0.02,
        THROTTLE_RATES=RATES,
    )
    verdicts = [gate.hit("user:1", "api") for _ in range(7)]
    assert [each.allowed for each in verdicts] == [True] * 5 + [False] * 2
    assert {each.source for each in verdicts} == {"memory"}
    assert get_client().away() == ["cluster"]


def test_a_silent_node_is_waited_for_once(perfguard):
    with RedisServer() as silent:
        silent.hang()
        perfguard(
            REDIS_URL=silent.url,
            REDIS_CLUSTER=True,
            THROTTLE_RATES=RATES,
            REDIS_PROBE_INTERVAL=30.0,
        )
        asked = []
        client = get_client()
        discover = client._discover

        def count():
            asked.append(1)
            discover()

        client._discover = count
        threads = [
            threading.Thread(target=gate.hit, args=("user:1", "api")) for _ in range(12)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(asked) == 1
