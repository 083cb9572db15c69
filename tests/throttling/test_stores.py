"""Both stores, on a moved clock: the same windows, to the millisecond."""

from __future__ import annotations

import pytest

from perfguard.throttling.memory_store import MemoryWindowStore
from perfguard.throttling.plans import Scope, plan_for
from perfguard.throttling.windows import Verdict


def group(*rates, identity="user:1", cost=1, **options):
    scope = Scope.read("s", {"rate": list(rates), **options})
    return identity, plan_for((scope, cost))


def hit(store, *args, **kwargs):
    groups = (group(*args, **kwargs),)
    return Verdict(groups, store.hit(groups), "test")


def peek(store, *args, **kwargs):
    groups = (group(*args, **kwargs),)
    return Verdict(groups, store.peek(groups), "test")


def test_the_window_rolls(store, clock):
    assert hit(store, "1/minute").allowed
    clock.advance(59.999)
    assert not hit(store, "1/minute").allowed
    clock.advance(0.001)
    assert hit(store, "1/minute").allowed


def test_the_window_fills_and_refuses(store):
    assert [hit(store, "2/minute").remaining for _ in range(2)] == [1, 0]
    refused = hit(store, "2/minute")
    assert (refused.allowed, refused.remaining) == (False, 0)


def test_reset_after_is_the_time_until_room(store, clock):
    hit(store, "2/minute")
    clock.advance(10)
    hit(store, "2/minute")
    clock.advance(10)
    refused = hit(store, "2/minute")
    assert (refused.reset_after, refused.retry_after) == (40.0, 40)
    clock.advance(39.5)
    assert hit(store, "2/minute").retry_after == 1


def test_refused_hits_do_not_prolong_the_wait(store, clock):
    hit(store, "1/minute")
    for _ in range(50):
        clock.advance(1)
        assert not hit(store, "1/minute").allowed
    clock.advance(10)
    assert hit(store, "1/minute").allowed


def test_count_refused_prolongs_the_wait(store, clock):
    hit(store, "1/minute", count_refused=True)
    clock.advance(50)
    assert hit(store, "1/minute", count_refused=True).reset_after == 60.0
    clock.advance(59)
    assert not hit(store, "1/minute", count_refused=True).allowed
    clock.advance(60)
    assert hit(store, "1/minute", count_refused=True).allowed


def test_one_full_window_keeps_the_others_from_counting(store):
    assert hit(store, "1/minute", "5/hour").allowed
    for _ in range(10):
        assert not hit(store, "1/minute", "5/hour").allowed
    tight, wide = peek(store, "1/minute", "5/hour").windows
    assert (tight.allowed, tight.remaining) == (False, 0)
    assert (wide.allowed, wide.remaining) == (True, 4)


def test_several_identities_all_or_nothing(store):
    groups = (group("1/minute", identity="ip:1"), group("5/minute", identity="a:1"))
    assert Verdict(groups, store.hit(groups), "test").allowed
    refused = Verdict(groups, store.hit(groups), "test")
    assert [window.allowed for window in refused.windows] == [False, True]
    assert peek(store, "5/minute", identity="a:1").remaining == 4


def test_cost_weighs(store, clock):
    assert hit(store, "10/minute", cost=7).remaining == 3
    clock.advance(10)
    refused = hit(store, "10/minute", cost=4)
    assert (refused.allowed, refused.remaining, refused.reset_after) == (False, 3, 50.0)
    assert hit(store, "10/minute", cost=3).remaining == 0


def test_a_cost_above_the_limit_never_fits_and_counts_nothing(store):
    refused = hit(store, "10/minute", cost=11)
    assert (refused.allowed, refused.reset_after) == (False, 60.0)
    assert peek(store, "10/minute").remaining == 10


def test_wait_of_a_costly_hit_is_until_enough_have_left(store, clock):
    for _ in range(3):
        hit(store, "3/minute")
        clock.advance(10)
    assert hit(store, "3/minute", cost=2).reset_after == 40.0


def test_peek_counts_nothing(store):
    assert [peek(store, "2/minute").remaining for _ in range(3)] == [2, 2, 2]
    assert peek(store, "2/minute").windows[0].reset_after == 0


def test_reset_empties_the_window(store):
    hit(store, "1/minute")
    store.reset(*group("1/minute"))
    assert hit(store, "1/minute").allowed


def test_a_lower_limit_applies_to_hits_already_counted(store):
    for _ in range(10):
        hit(store, "10/minute")
    refused = hit(store, "4/minute")
    assert (refused.allowed, refused.remaining) == (False, 0)


def test_a_higher_limit_applies_at_once(store):
    for _ in range(4):
        hit(store, "4/minute")
    assert hit(store, "10/minute").remaining == 5


def test_scopes_do_not_share_windows(store):
    first = plan_for((Scope.read("one", "1/minute"), 1))
    second = plan_for((Scope.read("two", "1/minute"), 1))
    assert store.hit((("user:1", first),))[0] == 1
    assert store.hit((("user:1", second),))[0] == 1


def test_identities_do_not_share_windows(store):
    assert hit(store, "1/minute", identity="user:1").allowed
    assert hit(store, "1/minute", identity="user:2").allowed


@pytest.mark.parametrize("step", [-1, -30, -3600, -86400 * 400])
def test_a_clock_that_goes_back_admits_nobody_and_heals(store, clock, step):
    for _ in range(2):
        assert hit(store, "2/minute").allowed
    clock.advance(step)
    assert not hit(store, "2/minute").allowed
    clock.advance(60)
    assert hit(store, "2/minute").allowed


def test_buckets_refuse_at_most_one_bucket_early_and_roll(store, clock, perfguard):
    perfguard_rate = "2000/100 seconds"  # buckets of one second
    clock.advance(0.25)
    assert hit(store, perfguard_rate, cost=2000).allowed
    refused = hit(store, perfguard_rate)
    assert 100 <= refused.reset_after <= 101
    clock.advance(99.999)
    assert not hit(store, perfguard_rate).allowed
    clock.advance(0.751)
    assert hit(store, perfguard_rate, cost=2000).allowed


def test_odd_identities_are_keys_of_their_own(store):
    odd = ["a}b", "{a}", "a{b", "%s%d", "ü\x00\n", "\ud800", " ", "a b", "*", "0"]
    for identity in odd:
        assert hit(store, "1/minute", identity=identity).allowed
    for identity in odd:
        assert not hit(store, "1/minute", identity=identity).allowed


@pytest.mark.parametrize("options", [{"count_refused": True}, {}])
def test_what_memory_knows_of_full_windows_is_bounded(clock, options):
    memory = MemoryWindowStore(clock=clock)
    for _ in range(1000):
        hit(memory, "1/second", **options)
        clock.advance(0.5)
    shard = memory._shard("user:1")
    assert len(shard._free) <= 2 * len(shard.full) + 65
