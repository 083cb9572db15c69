"""What is too old goes, a sealed segment at a time, and the seals stay."""

from __future__ import annotations

from datetime import timedelta
from threading import Barrier, Thread

import pytest
from django.db import connections, transaction

from perfguard.audit.models import AuditEntry, AuditSeal
from perfguard.audit.seals import retention
from perfguard.audit.seals.retention import Pruned, prune
from perfguard.audit.seals.sealing import seal
from perfguard.audit.seals.verifying import Verification
from perfguard.conf import conf
from tests.audit.audit_rows import START, add_rows

DAY = timedelta(days=1)
ENTRIES, SEALED_BY = 20, 4  # an entry a minute


@pytest.fixture
def log(log_database, perfguard):
    """Five seals of four entries each, and three entries that are not sealed."""
    perfguard(AUDIT_SEAL_ENTRIES=SEALED_BY, AUDIT_DATABASE=log_database)
    ids = add_rows(ENTRIES, using=log_database)
    seal()
    return ids + add_rows(3, using=log_database)


def entries():
    return AuditEntry.objects.using(conf.AUDIT_DATABASE).order_by("id")


def pruned():
    seals = AuditSeal.objects.using(conf.AUDIT_DATABASE).order_by("number")
    return list(seals.filter(pruned_at__isnull=False).values_list("number", flat=True))


def ids():
    return list(entries().values_list("id", flat=True))


def after(minute):
    """A day after that minute's entry was written."""
    return START + DAY + timedelta(minutes=minute)


def test_segments_go_when_their_last_entry_is_too_old(log):
    assert prune(days=1, now=after(7)) == Pruned(seals=1, entries=4)
    assert prune(days=1, now=after(8)) == Pruned(seals=1, entries=4)
    assert ids() == log[8:]
    assert pruned() == [1, 2]
    assert list(Verification().findings()) == []


def test_the_newest_entries_are_kept(log):
    assert prune(entries=12) == Pruned(seals=2, entries=8)
    assert ids() == log[8:]  # 15 entries: without the next four there were 11
    assert prune(entries=12) == Pruned()
    assert list(Verification().findings()) == []


def test_who_is_beyond_either_bound_goes(log):
    assert prune(days=1, now=after(4), entries=12).seals == 2
    assert prune(days=1, now=after(12), entries=1000).seals == 1


def test_what_is_not_sealed_is_never_pruned(log):
    assert prune(days=1, now=START + 365 * DAY, entries=1).seals == 5
    assert ids() == log[ENTRIES:]


def test_the_settings_say_what_is_kept(log, perfguard, log_database):
    assert prune() == Pruned()
    perfguard(AUDIT_RETENTION_ENTRIES=12, AUDIT_DATABASE=log_database)
    assert prune().seals == 2
    perfguard(AUDIT_RETENTION_DAYS=1, AUDIT_DATABASE=log_database)
    assert prune(now=after(12)).seals == 1
    assert prune(days=0, now=after(1000)) == Pruned()


def test_one_entry_of_the_future_keeps_its_own_segment_alone(log):
    """A clock that was wrong for once does not end retention."""
    entries().filter(id=log[0]).delete()
    AuditSeal.objects.using(conf.AUDIT_DATABASE).all().delete()
    entries().filter(id=log[1]).update(at=START + 10_000 * DAY)
    seal()
    assert prune(days=1, now=after(1000), tampered=True).seals == 5
    assert log[1] in ids()


def test_a_dry_run_counts_and_deletes_nothing(log):
    assert prune(entries=12, dry_run=True) == Pruned(seals=2, entries=8)
    assert prune(entries=12, dry_run=True, limit=1) == Pruned(seals=1, entries=4)
    assert ids() == log
    assert pruned() == []


def test_a_tombstone_keeps_no_listing(log):
    prune(entries=12)
    dead = AuditSeal.objects.using(conf.AUDIT_DATABASE).get(number=1)
    assert (dead.ids, bytes(dead.marks)) == ("", b"")
    assert (dead.first_id, dead.last_id, dead.count) == (1, log[3], 4)


# -- budgets ----------------------------------------------------------


def test_a_limit_counts_segments_and_the_next_run_goes_on(log):
    assert prune(entries=3, limit=2).seals == 2
    assert pruned() == [1, 2]
    assert prune(entries=3, limit=2).seals == 2
    assert pruned() == [1, 2, 3, 4]
    assert prune(entries=3, limit=0) == Pruned()


def test_no_segment_is_begun_when_the_time_is_up(log, clock):
    slowly = {"pause_ms": 1000, "sleep": clock.advance}
    assert prune(entries=3, seconds=2, clock=clock, **slowly).seals == 2
    assert prune(entries=3, seconds=0, clock=clock) == Pruned()


def test_between_two_segments_others_may_write(log):
    pauses = []
    prune(entries=3, pause_ms=250, sleep=pauses.append)
    assert pauses == [0.25] * 5


def test_a_run_that_is_interrupted_has_lost_nothing(log):
    def stop(seconds):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prune(entries=3, sleep=stop)
    assert pruned() == [1]
    assert ids() == log[4:]
    assert prune(entries=3).seals == 4
    assert list(Verification().findings()) == []


def test_a_segment_goes_with_its_tombstone_or_not_at_all(log, monkeypatch):
    def fail(*args):
        raise RuntimeError

    monkeypatch.setattr(retention, "entries_of", fail)
    with pytest.raises(RuntimeError):
        prune(entries=3)
    assert pruned() == []
    assert ids() == log


# -- evidence ---------------------------------------------------------


def test_what_does_not_verify_is_kept_as_evidence(log):
    entries().filter(id=log[1]).update(status=500)
    assert prune(entries=3) == Pruned(seals=4, entries=16, kept=(1,))
    assert ids() == log[:4] + log[ENTRIES:]
    assert prune(entries=3, tampered=True) == Pruned(seals=1, entries=4)


# -- volume -----------------------------------------------------------


def watch(alias):
    """What each DELETE deleted."""
    deleted = []

    def wrapper(execute, sql, params, many, context):
        result = execute(sql, params, many, context)
        if sql.startswith("DELETE"):
            deleted.append(context["cursor"].rowcount)
        return result

    return deleted, connections[alias].execute_wrapper(wrapper)


def test_no_statement_deletes_more_than_a_segment(log_database, perfguard):
    perfguard(AUDIT_SEAL_ENTRIES=500, AUDIT_DATABASE=log_database)
    for _ in range(10):
        add_rows(2000, using=log_database, request_body="")
    seal()
    deleted, watching = watch(log_database)
    with watching:
        assert prune(entries=1000) == Pruned(seals=38, entries=19_000)
    assert deleted == [500] * 38
    assert list(Verification().findings()) == []


@pytest.mark.parametrize("workers", [2, 4])
def test_runs_at_the_same_time_neither_wait_nor_delete_twice(
    postgres_log, perfguard, workers
):
    perfguard(AUDIT_SEAL_ENTRIES=10, AUDIT_DATABASE=postgres_log)
    add_rows(400, using=postgres_log)
    seal()
    start, results = Barrier(workers), []

    def run():
        start.wait(timeout=20)
        results.append(prune(entries=1))
        connections[postgres_log].close()

    threads = [Thread(target=run) for _ in range(workers)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(timeout=60)
    assert len(results) == workers
    assert sum(each.seals for each in results) == 39
    assert sum(each.entries for each in results) == 390
    assert all(each.kept == () for each in results)
    assert pruned() == list(range(1, 40))
    assert list(Verification().findings()) == []


def test_nobody_waits_for_a_segment_that_another_run_has(postgres_log, perfguard):
    perfguard(AUDIT_SEAL_ENTRIES=10, AUDIT_DATABASE=postgres_log)
    add_rows(40, using=postgres_log)
    seal()
    results = []

    def run():
        results.append(prune(entries=1))
        connections[postgres_log].close()

    with transaction.atomic(using=postgres_log):
        locked = AuditSeal.objects.using(postgres_log).select_for_update()
        assert locked.get(number=1)
        thread = Thread(target=run)
        thread.start()
        thread.join(timeout=20)
        assert results == [Pruned(seals=2, entries=20)]
    thread.join(timeout=20)
    assert pruned() == [2, 3]


def test_a_segment_that_another_run_had_is_passed_over(log):
    seal_of_another = AuditSeal.objects.using(conf.AUDIT_DATABASE).get(number=1)
    assert retention._prune_segment(seal_of_another, conf.AUDIT_DATABASE) == 4
    assert retention._prune_segment(seal_of_another, conf.AUDIT_DATABASE) is None
