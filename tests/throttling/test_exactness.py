"""Random and adversarial traces, in both stores, against a plain log of hits."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from perfguard.throttling.memory_store import MemoryWindowStore
from perfguard.throttling.plans import Scope, plan_for
from perfguard.throttling.rates import Rate
from perfguard.throttling.windows import Verdict

START = 1_800_000_000_000  # milliseconds
# Seconds. None so short that a key's time to live, which is real time, could end
# in the middle of a trace.
PERIODS = (10, 11, 60, 180)

IN_CI = bool(os.environ.get("CI"))
thorough = settings(
    deadline=None,
    database=None,
    max_examples=300 if IN_CI else 100,
    derandomize=IN_CI,
    # Each example has an identity of its own, and sets the clock.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
serial = count()


@pytest.fixture(autouse=True)
def _patient(perfguard):
    # A busy machine is no failure of Redis.
    perfguard(REDIS_CONNECT_TIMEOUT=10.0, REDIS_READ_TIMEOUT=10.0)


@pytest.fixture
def _buckets(perfguard):
    perfguard(THROTTLE_EXACT_LIMIT=5)


# -- the specification -----------------------------------------------------------


@dataclass
class Log:
    """One window: the time of each hit in whole milliseconds, the oldest first."""

    limit: int
    period: int  # seconds
    count_refused: bool = False
    hits: list[int] = field(default_factory=list)
    kept: dict[int, list[int]] = field(default_factory=dict)

    def change(self, limit):
        """Where refused hits count, each limit has a window of its own."""
        if self.count_refused:
            self.kept[self.limit] = self.hits
            self.hits = self.kept.get(limit, [])
        self.limit = limit

    def counted(self, now):
        """The hits of the period just past; one at t leaves at t + period, for good."""
        ahead = max(0, self.hits[-1] - now) if self.hits else 0
        shifted = [hit - ahead for hit in self.hits]
        self.hits = [hit for hit in shifted if now < hit + 1000 * self.period]
        return self.hits

    def state(self, now, cost):
        """Hits remaining, and milliseconds until there is room for the cost; until
        more room, where the cost is 0."""
        counted = self.counted(now)
        if cost > self.limit:
            return self.limit - min(len(counted), self.limit), 1000 * self.period
        too_many = max(1, len(counted) + cost - self.limit)
        reset = counted[too_many - 1] + 1000 * self.period - now if counted else 0
        return self.limit - min(len(counted), self.limit), reset


def decide(logs, now, cost, *, counting):
    """All logs have room for the hit, or none counts it; as a store replies."""
    allowed = all(len(log.counted(now)) + cost <= log.limit for log in logs)
    for log in logs:
        if counting and (allowed or log.count_refused):
            log.hits += [now] * cost
            log.hits = log.hits[-log.limit :] if log.count_refused else log.hits
    states = [log.state(now, 0 if allowed else cost) for log in logs]
    return [int(allowed), *(number for state in states for number in state)]


# -- a store and its model, side by side -------------------------------------------


class Trace:
    """Takes the same steps with a store and with the specification."""

    def __init__(self, store, clock, *logs):
        self.store, self.clock, self.logs = store, clock, logs
        self.identity = f"trace:{next(serial)}"
        self.now = START
        self.steps = []  # for the report of a failure

    def group(self, cost=1):
        scopes = [
            Scope(f"w{number}", (Rate(log.limit, log.period),), log.count_refused)
            for number, log in enumerate(self.logs)
        ]
        return self.identity, plan_for(*[(scope, cost) for scope in scopes])

    def move(self, milliseconds):
        self.now += milliseconds
        self.clock.now = self.now / 1000

    def ask(self, cost=1, *, counting=True):
        self.move(0)
        ask = self.store.hit if counting else self.store.peek
        reply = list(ask((self.group(cost),)))
        expected = decide(self.logs, self.now, cost, counting=counting)
        self.steps.append((self.now - START, cost, counting, expected))
        assert reply == expected, self.steps
        return reply

    def reset(self):
        self.store.reset(*self.group())
        for log in self.logs:
            log.hits.clear()

    def take(self, step):
        name, *values = step
        if name == "hit":
            self.ask(*values)
        elif name == "burst":
            for _ in range(values[0]):
                self.ask()
        elif name == "peek":
            self.ask(*values, counting=False)
        elif name == "move":
            self.move(*values)
        elif name in {"edge", "any edge"}:
            self.to_edge(*values, back=name == "any edge")
        elif name == "limit":
            self.logs[values[0] % len(self.logs)].change(values[1])
        else:
            self.reset()

    def to_edge(self, which, hit, milliseconds, *, back):
        """To the moment at which a hit leaves its window, give or take a little."""
        log = self.logs[which % len(self.logs)]
        if log.hits:
            leaves = log.hits[hit % len(log.hits)] + 1000 * log.period
            step = leaves + milliseconds - self.now
            self.move(step if back else max(0, step))


def hits(most=4):
    return st.tuples(st.just("hit"), st.integers(1, most))


near = st.integers(-2, 2)
onward = st.one_of(
    st.integers(0, 2),
    st.integers(0, 200_000),
    st.builds(
        lambda period, more: 1000 * period + more, st.sampled_from(PERIODS), near
    ),
)
# By whole buckets, which are a hundredth of the period, give or take a little.
by_buckets = st.builds(
    lambda period, count, more: max(0, 10 * period * count + more),
    st.sampled_from(PERIODS),
    st.integers(0, 101),
    near,
)
peeks = st.tuples(st.just("peek"), st.integers(1, 4))
bursts = st.tuples(st.just("burst"), st.integers(2, 8))
moves = st.tuples(st.just("move"), onward)
backs = st.tuples(st.just("move"), onward.map(lambda step: -step))
which_edge = (st.integers(0, 2), st.integers(0, 9), st.integers(-1, 1))
edges = st.tuples(st.just("edge"), *which_edge)
edges_anywhere = st.tuples(st.just("any edge"), *which_edge)
limits = st.tuples(st.just("limit"), st.integers(0, 2), st.integers(1, 9))
resets = st.tuples(st.just("reset"))


def logs_of(limit, *, least=1, most=3, count_refused=False):
    return st.lists(
        st.tuples(limit, st.sampled_from(PERIODS), st.just(count_refused)),
        min_size=least,
        max_size=most,
        unique_by=lambda each: each[1],
    )


def steps(*kinds):
    # What a window is about comes twice as often as the rest.
    return st.lists(st.one_of(hits(), bursts, *kinds), min_size=1, max_size=30)


def check(store, clock, rates, trace):
    run = Trace(store, clock, *[Log(*rate) for rate in rates])
    for step in trace:
        run.take(step)


# -- exact windows -----------------------------------------------------------------


@thorough
@given(rates=logs_of(st.integers(1, 8)), trace=steps(moves, edges, peeks, hits(12)))
@example(
    rates=[(3, 60, False)],
    trace=[("burst", 4), *[("edge", 0, 0, each) for each in (-1, 0, 1)], ("burst", 4)],
)
def test_every_answer_is_that_of_a_log(store, clock, rates, trace):
    check(store, clock, rates, trace)


@thorough
@given(
    rates=logs_of(st.integers(1, 8)),
    trace=st.lists(st.one_of(bursts, edges), min_size=2, max_size=20),
)
def test_bursts_at_the_edges_of_windows(store, clock, rates, trace):
    check(store, clock, rates, trace)


@thorough
@given(rates=logs_of(st.integers(1, 8)), trace=steps(moves, edges, limits, resets))
def test_a_limit_changed_in_mid_window_applies_to_what_is_counted(
    store, clock, rates, trace
):
    check(store, clock, rates, trace)


@thorough
@given(
    rates=logs_of(st.integers(1, 8), count_refused=True, most=1),
    trace=steps(moves, edges, peeks, limits, hits(12)),
)
def test_counted_refusals_leave_the_newest_to_decide(store, clock, rates, trace):
    check(store, clock, rates, trace)


@thorough
@given(
    plain=logs_of(st.integers(1, 8), most=2),
    penal=logs_of(st.integers(1, 8), most=2, count_refused=True),
    trace=st.lists(st.one_of(hits(1), bursts, moves, edges, peeks), max_size=30),
)
def test_windows_that_count_refusals_beside_others_that_do_not(
    store, clock, plain, penal, trace
):
    check(store, clock, plain + penal, trace)


def test_the_wait_where_a_refused_hit_has_filled_a_window_that_had_room(store, clock):
    trace = Trace(store, clock, Log(1, 10), Log(4, 60, count_refused=True))
    trace.ask()
    trace.move(5_000)
    trace.ask(3)  # refused by the first window, and counted by the second
    trace.move(5_000)
    trace.ask(3, counting=False)


@thorough
@given(
    rates=logs_of(st.integers(1, 8), most=1),
    trace=st.lists(
        st.one_of(hits(1), bursts, peeks, backs, moves, edges_anywhere), max_size=30
    ),
)
def test_a_clock_that_goes_back_and_forth(store, clock, rates, trace):
    check(store, clock, rates, trace)


@thorough
@given(
    rates=logs_of(st.integers(1, 8)),
    trace=steps(moves, backs, edges_anywhere, peeks, limits, resets, hits(12)),
)
def test_all_at_once(store, clock, rates, trace):
    check(store, clock, rates, trace)


def test_a_hit_that_was_seen_to_leave_and_a_clock_that_goes_back(store, clock):
    trace = Trace(store, clock, Log(1, 60))
    trace.ask()
    trace.move(60_000)
    trace.ask(counting=False)
    trace.move(-1)
    trace.ask()


@thorough
@given(
    rates=logs_of(st.integers(1, 8), least=2),
    trace=steps(moves, edges, peeks),
    cost=st.integers(1, 9),
)
def test_whoever_waits_as_told_is_allowed_and_no_sooner(
    store, clock, rates, trace, cost
):
    run = Trace(store, clock, *[Log(*rate) for rate in rates])
    for step in trace:
        run.take(step)
    groups = (run.group(cost),)
    verdict = Verdict(groups, store.hit(groups), "test")
    if not verdict.allowed and cost <= min(log.limit for log in run.logs):
        run.move(round(verdict.reset_after * 1000) - 1)
        assert store.peek(groups)[0] == 0
        run.move(1)
        assert store.peek(groups)[0] == 1


# -- the truth, whatever the clock shows -------------------------------------------


@dataclass
class Truth:
    """What was admitted, in time that only goes on."""

    now: int = START
    admitted: list[int] = field(default_factory=list)

    def most_in(self, period):
        """The most that was admitted in any window of so many milliseconds."""
        times = self.admitted
        return max(
            (sum(time - period < each <= time for each in times) for time in times),
            default=0,
        )


true_steps = st.lists(
    st.one_of(
        st.tuples(st.just("hit"), st.integers(1, 4)),
        st.tuples(st.just("burst"), st.integers(2, 40)),
        st.tuples(st.just("peek"), st.integers(1, 4)),
        st.tuples(st.just("on"), st.one_of(onward, by_buckets)),
        st.tuples(st.just("back"), st.one_of(st.integers(1, 2), onward, by_buckets)),
    ),
    min_size=5,
    max_size=40,
)


def live(store, clock, rates, trace):
    """Hits by a clock that is set back now and then; what was truly admitted."""
    truth = Truth()
    run = Trace(store, clock, *[Log(*rate) for rate in rates])
    for name, value in trace:
        if name == "on":
            truth.now += value
            run.move(value)
        elif name == "back":
            run.move(-value)
        elif name == "peek":
            store.peek((run.group(value),))
        else:
            cost, times = (value, 1) if name == "hit" else (1, value)
            run.move(0)
            for _ in range(times):
                if store.hit((run.group(cost),))[0]:
                    truth.admitted += [truth.now] * cost
    return truth


@thorough
@given(rates=logs_of(st.integers(1, 5)), trace=true_steps)
def test_a_clock_set_back_admits_no_more_than_the_limit(store, clock, rates, trace):
    truth = live(store, clock, rates, trace)
    for limit, period, _ in rates:
        assert truth.most_in(1000 * period) <= limit


@pytest.mark.usefixtures("_buckets")
@thorough
@given(rates=logs_of(st.integers(6, 30)), trace=true_steps)
@example(
    # Back by a millisecond, and over the edge of a bucket.
    rates=[(6, 60, False)],
    trace=[("burst", 5), ("on", 59_401), ("hit", 1), ("back", 1), ("burst", 9)],
)
def test_nor_does_it_with_buckets(store, clock, rates, trace):
    truth = live(store, clock, rates, trace)
    for limit, period, _ in rates:
        assert truth.most_in(1000 * period) <= limit


# -- buckets -----------------------------------------------------------------------


class Twins:
    """A store and another in memory, which must answer alike, and what was admitted."""

    def __init__(self, store, clock, rates):
        self.run = Trace(store, clock, *[Log(*rate) for rate in rates])
        self.twin = MemoryWindowStore(clock=clock)
        self.store = store
        self.admitted = []

    def ask(self, cost=1, *, counting=True):
        self.run.move(0)
        groups = (self.run.group(cost),)
        ask = "hit" if counting else "peek"
        reply = list(getattr(self.store, ask)(groups))
        assert reply == list(getattr(self.twin, ask)(groups))
        if counting and reply[0]:
            self.admitted += [self.run.now] * cost
        return reply

    def since(self, milliseconds):
        """What was admitted in so long a time just past."""
        return sum(self.run.now - milliseconds < each for each in self.admitted)

    def take(self, step):
        name, *values = step
        if name in {"hit", "peek"}:
            self.ask_and_judge(values[0], counting=name == "hit")
        elif name == "burst":
            for _ in range(values[0]):
                self.ask_and_judge(1, counting=True)
        elif name == "edge":
            self.to_edge(*values)
        else:
            self.run.move(*values)

    def to_edge(self, which, hit, milliseconds):
        log = self.run.logs[which % len(self.run.logs)]
        if self.admitted:
            leaves = self.admitted[hit % len(self.admitted)] + 1000 * log.period
            self.run.move(max(0, leaves + milliseconds - self.run.now))

    def ask_and_judge(self, cost, *, counting):
        logs = self.run.logs
        late = [self.since(1000 * log.period + self.step(log)) for log in logs]
        sharp = [self.since(1000 * log.period) for log in logs]
        allowed = self.ask(cost, counting=counting)[0]
        limits = [log.limit for log in logs]
        if allowed:
            assert all(
                n + cost <= limit for n, limit in zip(sharp, limits, strict=True)
            )
        else:
            # Only where a log of the same hits, each at most a bucket later than it
            # was, would refuse too.
            assert any(n + cost > limit for n, limit in zip(late, limits, strict=True))

    @staticmethod
    def step(log):
        return Rate(log.limit, log.period).step_ms


@pytest.mark.usefixtures("_buckets")
@thorough
@given(
    rates=logs_of(st.integers(6, 30)),
    trace=steps(moves, edges, peeks, hits(35), st.just(("burst", 40))),
)
@example(
    rates=[(6, 10, False)],
    trace=[
        *(("move", 1), ("burst", 6), ("move", 10_098), ("hit", 1), ("move", 1)),
        ("hit", 1),
    ],
)
def test_buckets_never_admit_too_many_and_refuse_at_most_one_early(
    store, clock, rates, trace
):
    twins = Twins(store, clock, rates)
    for step in trace:
        twins.take(step)


def check_twins(store, clock, rates, trace):
    """Both stores answer alike; what is right is for other tests to say."""
    twins = Twins(store, clock, rates)
    for step in trace:
        name, *values = step
        if name == "hit":
            twins.ask(*values)
        elif name == "peek":
            twins.ask(*values, counting=False)
        elif name == "burst":
            for _ in range(values[0]):
                twins.ask()
        elif name == "limit":
            twins.run.logs[values[0] % len(rates)].limit = values[1]
        elif name == "reset":
            store.reset(*twins.run.group())
            twins.twin.reset(*twins.run.group())
        else:
            twins.take(step)


bucket_limits = st.tuples(st.just("limit"), st.integers(0, 2), st.integers(6, 30))
big_bursts = st.tuples(st.just("burst"), st.integers(5, 40))


@pytest.mark.usefixtures("_buckets")
@thorough
@given(
    rates=logs_of(st.integers(6, 30)),
    trace=steps(moves, edges, bucket_limits, resets, hits(35), big_bursts),
)
def test_both_stores_have_the_same_buckets(store, clock, rates, trace):
    check_twins(store, clock, rates, trace)


@pytest.mark.usefixtures("_buckets")
@thorough
@given(
    rates=logs_of(st.integers(6, 30), most=1),
    trace=st.lists(st.one_of(hits(1), big_bursts, peeks, moves, backs), max_size=20),
)
@example(
    rates=[(6, 60, False)],
    trace=[("hit", 1), ("move", 60_000), ("peek", 1), ("move", -1), ("hit", 6)],
)
@example(
    rates=[(6, 60, False)],
    trace=[("burst", 5), ("move", 59_401), ("hit", 1), ("move", -1), ("burst", 2)],
)
def test_also_when_the_clock_goes_back_and_forth(store, clock, rates, trace):
    check_twins(store, clock, rates, trace)


@pytest.mark.usefixtures("_buckets")
@thorough
@given(
    plain=logs_of(st.integers(6, 30), most=2),
    penal=logs_of(st.integers(6, 30), most=2, count_refused=True),
    exact=logs_of(st.integers(1, 5), most=1),
    trace=steps(moves, peeks, hits(35), big_bursts),
)
def test_also_when_refusals_count_and_exact_windows_are_beside_them(
    store, clock, plain, penal, exact, trace
):
    check_twins(store, clock, plain + penal + exact, trace)


@pytest.mark.usefixtures("_buckets")
@thorough
@given(rates=logs_of(st.integers(6, 30)), trace=steps(moves, big_bursts))
def test_whoever_waits_as_told_by_buckets_is_allowed_and_no_sooner(
    store, clock, rates, trace
):
    twins = Twins(store, clock, rates)
    for step in trace:
        twins.take(step)
    groups = (twins.run.group(),)
    verdict = Verdict(groups, store.hit(groups), "test")
    if not verdict.allowed:
        twins.run.move(round(verdict.reset_after * 1000) - 1)
        assert store.peek(groups)[0] == 0
        twins.run.move(1)
        assert store.peek(groups)[0] == 1
