"""Many at once: exactly the limit is admitted, and nobody waits for ever."""

from __future__ import annotations

import multiprocessing
import os
import random
import sys
import threading
import time

import pytest

from perfguard.throttling.gate import gate
from perfguard.throttling.memory_store import MemoryWindowStore
from perfguard.throttling.plans import Scope, plan_for

ROUNDS = 20
PATIENCE = 60  # seconds; no round takes a tenth of it
PROCESSES = 8
THREADS = 32

# A busy machine is no failure of Redis.
TIMEOUTS = {"REDIS_CONNECT_TIMEOUT": 10.0, "REDIS_READ_TIMEOUT": 10.0}


def count_in_process(url, rounds, hits, barrier, admitted):
    """The work of one process: it meets the others before each round."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    from django.test import override_settings  # noqa: PLC0415

    # Without the refusal cache every single hit is for Redis to decide.
    configured = {"REDIS_URL": url, "THROTTLE_REFUSAL_CACHE_SECONDS": 0, **TIMEOUTS}
    with override_settings(PERFGUARD=configured):
        scope = Scope.read("race", "100/hour")
        for number in range(rounds):
            barrier.wait(PATIENCE)
            verdicts = [gate.hit(f"round:{number}", scope) for _ in range(hits)]
            places = {each.source for each in verdicts}
            admitted.put((number, sum(each.allowed for each in verdicts), places))


def in_threads(work, count=THREADS):
    """``work(number)`` in so many threads, which start together and must end."""
    barrier = threading.Barrier(count)
    results = [None] * count

    def run(number):
        barrier.wait(PATIENCE)
        results[number] = work(number)

    threads = [
        threading.Thread(target=run, args=(number,), daemon=True)
        for number in range(count)
    ]
    for thread in threads:
        thread.start()
    end = time.monotonic() + PATIENCE
    for thread in threads:
        thread.join(max(0, end - time.monotonic()))
    assert not any(thread.is_alive() for thread in threads)
    return results


@pytest.fixture
def _restless():
    """Threads take turns so often that a race which is there is met."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_processes_on_redis_admit_exactly_the_limit(redis_server):
    context = multiprocessing.get_context("spawn")
    barrier, admitted = context.Barrier(PROCESSES), context.Queue()
    processes = [
        context.Process(
            target=count_in_process,
            args=(redis_server.url, ROUNDS, 200, barrier, admitted),
        )
        for _ in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    answers = [admitted.get(timeout=PATIENCE) for _ in range(PROCESSES * ROUNDS)]
    for process in processes:
        process.join(PATIENCE)
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    assert all(places == {"redis"} for _, _, places in answers)
    totals = [sum(n for at, n, _ in answers if at == each) for each in range(ROUNDS)]
    assert totals == [100] * ROUNDS


@pytest.mark.usefixtures("_restless")
@pytest.mark.parametrize("rate", ["100/hour", "5000/hour"])
def test_threads_in_memory_admit_exactly_the_limit(rate, perfguard):
    scope = Scope.read("race", rate)
    cost = scope.rates[0].limit // 100
    plan = plan_for((scope, cost))
    totals = []
    for number in range(ROUNDS):
        store, groups = MemoryWindowStore(), ((f"round:{number}", plan),)

        def hits(_, store=store, groups=groups):
            return sum(store.hit(groups)[0] for _ in range(50))

        totals.append(sum(in_threads(hits)))
    assert totals == [100] * ROUNDS


@pytest.mark.usefixtures("_restless")
def test_threads_in_memory_while_windows_are_evicted():
    # The windows of the round refuse, so that churn must not free them.
    store = MemoryWindowStore(size=64)
    plan = plan_for((Scope.read("race", "100/hour"), 1))
    for _ in range(100):
        store.hit((("blocked", plan),))

    def churn(number):
        for at in range(500):
            store.hit(((f"other:{number}:{at}", plan),))
        return store.hit((("blocked", plan),))[0]

    assert sum(in_threads(churn)) == 0
    assert len(store) <= 64


def test_threads_through_the_gate_on_redis_admit_exactly_the_limit(
    perfguard, redis_server
):
    perfguard(REDIS_URL=redis_server.url, **TIMEOUTS)
    scope = Scope.read("race", "100/hour")
    totals = [
        sum(
            in_threads(
                lambda _, number=number: sum(
                    gate.hit(f"round:{number}", scope).allowed for _ in range(50)
                )
            )
        )
        for number in range(5)
    ]
    assert totals == [100] * 5


def test_threads_through_the_gate_in_memory_admit_exactly_the_limit():
    scope = Scope.read("race", "100/hour")
    admitted = in_threads(
        lambda _: sum(gate.hit("user:1", scope).allowed for _ in range(50))
    )
    assert sum(admitted) == 100


def test_threads_with_two_limits_and_two_identities_on_redis(perfguard, redis_server):
    perfguard(REDIS_URL=redis_server.url, **TIMEOUTS)
    account = plan_for((Scope.read("account", ["50/minute", "100/hour"]), 1))
    address = plan_for((Scope.read("address", "80/hour"), 1))
    groups = (("account:1", account), ("ip:1", address))
    admitted = in_threads(
        lambda _: sum(gate.decide(groups).allowed for _ in range(20)), count=16
    )
    assert sum(admitted) == 50
    windows = gate.peek("ip:1", Scope.read("address", "80/hour")).windows
    assert [window.remaining for window in windows] == [30]


@pytest.mark.usefixtures("_restless")
def test_two_identities_in_opposite_orders_do_not_deadlock():
    store = MemoryWindowStore()
    plan = plan_for((Scope.read("race", "1000/hour"), 1))
    names = [f"name:{number}" for number in range(60)]

    def hits(number):
        chance = random.Random(number)
        admitted = 0
        for _ in range(300):
            first, second = chance.sample(names, 2)
            admitted += store.hit(((first, plan), (second, plan)))[0]
            admitted += store.hit(((second, plan), (first, plan)))[0]
        return admitted

    assert sum(in_threads(hits)) == THREADS * 600


@pytest.mark.usefixtures("_restless")
def test_two_identities_are_counted_together_or_not_at_all():
    # Each hit counts for two names: the two windows can never differ.
    store = MemoryWindowStore()
    plan = plan_for((Scope.read("race", "1000/hour"), 1))
    tight = plan_for((Scope.read("tight", "700/hour"), 1))
    forward = (("name:a", plan), ("name:b", tight))
    backward = forward[::-1]

    def hits(number):
        groups = forward if number % 2 else backward
        return sum(store.hit(groups)[0] for _ in range(50))

    assert sum(in_threads(hits)) == 700
    assert store.peek((("name:a", plan),))[1] == 300
    assert store.peek((("name:b", tight),))[1] == 0
