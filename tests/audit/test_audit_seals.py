"""Seals close the log batch by batch, whoever writes meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
from threading import Thread

import pytest
from django.conf import settings
from django.db import connections, transaction

from perfguard.audit.entries import stamp
from perfguard.audit.models import AuditEntry, AuditSeal
from perfguard.audit.seals import sealing
from perfguard.audit.seals.anchor import read_anchor
from perfguard.audit.seals.digests import ids_of, ranges_of
from perfguard.audit.seals.sealing import hold_exclusive, hold_shared, seal
from perfguard.audit.seals.verifying import Verification
from tests.audit.audit_rows import START, add_rows
from tests.servers import ROOT, clean_environment


def seals(using="default"):
    return list(AuditSeal.objects.using(using).order_by("number"))


def findings():
    return [str(each) for each in Verification().findings()]


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        ([], ""),
        ([7], "7"),
        ([1, 2, 3], "1-3"),
        ([12, 13, 40, 42, 43], "12-13,40,42-43"),
    ],
    ids=["none", "one", "range", "gaps"],
)
def test_ids_are_written_as_ranges_and_read_again(ids, text):
    assert ranges_of(ids) == text
    assert list(ids_of(text)) == ids


def test_entries_are_sealed_in_batches_and_the_rest_too(log_database, perfguard):
    perfguard(AUDIT_SEAL_ENTRIES=4, AUDIT_DATABASE=log_database)
    ids = add_rows(10, using=log_database)
    assert seal() == 10
    made = seals(log_database)
    assert [each.number for each in made] == [1, 2, 3]
    assert [each.count for each in made] == [4, 4, 2]
    assert [each.last_id for each in made] == [ids[3], ids[7], ids[9]]
    assert seal() == 0


def test_seals_are_chained_and_leave_no_gap(log_database, perfguard):
    perfguard(AUDIT_SEAL_ENTRIES=2, AUDIT_DATABASE=log_database)
    ids = add_rows(6, using=log_database)
    AuditEntry.objects.using(log_database).filter(id=ids[2]).delete()
    seal()
    one, two, three = seals(log_database)
    assert (one.previous, one.first_id) == ("", 1)
    assert (two.previous, two.first_id) == (one.digest, one.last_id + 1)
    assert (three.previous, three.first_id) == (two.digest, two.last_id + 1)
    assert list(ids_of(two.ids)) == [ids[3], ids[4]]
    assert (one.first_at, one.last_at) == (START, START.replace(minute=1))
    assert findings() == []


def test_a_limit_counts_seals(db, perfguard):
    perfguard(AUDIT_SEAL_ENTRIES=2)
    add_rows(10)
    assert seal(limit=0) == 0
    assert seal(limit=2) == 4
    assert seal() == 6


def test_an_entry_that_was_spoilt_before_does_not_keep_the_rest_from_being_sealed(db):
    ids = add_rows(3)
    AuditEntry.objects.filter(id=ids[1]).update(mac="no MAC, ✗", key_id="")
    assert seal() == 3
    assert [each.entry for each in Verification().findings()] == [ids[1]]


def test_who_is_overtaken_by_another_sealer_has_sealed_nothing(db, monkeypatch):
    add_rows(3)
    newest = sealing._next_seal

    def overtaken(*args):
        made = newest(*args)
        if made:
            monkeypatch.setattr(sealing, "_next_seal", newest)
            assert seal() == 3
        return made

    monkeypatch.setattr(sealing, "_next_seal", overtaken)
    assert seal() == 0
    assert [each.number for each in seals()] == [1]
    assert findings() == []


def test_a_database_that_tells_nothing_of_writers_seals_what_is_old(db, monkeypatch):
    ids = add_rows(3)
    young = sealing.timezone.now() - sealing.UNSETTLED / 2
    AuditEntry.objects.filter(id=ids[1]).update(at=young)
    monkeypatch.setattr(connections["default"], "vendor", "mysql")
    assert seal() == 1
    assert list(ids_of(seals()[0].ids)) == [ids[0]]


# -- writers ----------------------------------------------------------


def test_while_an_entry_is_on_its_way_nothing_is_sealed(postgres_log, monkeypatch):
    monkeypatch.setattr(sealing, "LOCK_MS", 50)
    add_rows(1, using=postgres_log)
    sealed = []

    def seal_elsewhere():
        sealed.append(seal())
        connections[postgres_log].close()

    with transaction.atomic(using=postgres_log):
        hold_shared(connections[postgres_log])
        thread = Thread(target=seal_elsewhere)
        thread.start()
        thread.join(timeout=20)
    assert sealed == [0]
    assert seal() == 1


def test_writers_do_not_wait_while_seals_are_made(postgres_log, monkeypatch):
    add_rows(2, using=postgres_log)
    make = sealing._next_seal

    def write_elsewhere():
        add_rows(1, using=postgres_log)
        connections[postgres_log].close()

    def while_another_writes(*args):
        thread = Thread(target=write_elsewhere)
        thread.start()
        thread.join(timeout=20)
        assert not thread.is_alive()
        return make(*args)

    monkeypatch.setattr(sealing, "_next_seal", while_another_writes)
    assert seal(limit=1) == 2  # and not 3: that one came later
    assert findings() == []


def test_on_sqlite_the_locks_are_nothing(db):
    connection = connections["default"]
    hold_shared(connection)
    assert hold_exclusive(connection)


WRITER = """
import sys, time, django
from django.conf import settings
from urllib.parse import urlsplit
url = urlsplit(sys.argv[1])
postgres = {"ENGINE": "django.db.backends.postgresql", "NAME": url.path[1:]}
postgres |= {"USER": url.username, "HOST": url.hostname, "PORT": url.port}
apps = ["django.contrib.contenttypes", "django.contrib.auth", "perfguard"]
settings.configure(
    SECRET_KEY=sys.argv[2],
    INSTALLED_APPS=apps,
    USE_TZ=True,
    DATABASES={"default": postgres},
)
django.setup()
from django.db import connection, transaction
from perfguard.audit.insertion import insert
from perfguard.audit.seals.sealing import hold_shared
from tests.audit.audit_rows import line_of
print("ready", flush=True)
sys.stdin.readline()
for batch in range(int(sys.argv[3])):
    with transaction.atomic():
        hold_shared(connection)
        for number in range(3):
            insert(connection, [line_of(batch * 3 + number)])
            time.sleep(0.02)  # others are given ids meanwhile
"""
PROCESSES, BATCHES = 4, 15


def writers_of(url):
    arguments = [url, settings.SECRET_KEY, str(BATCHES)]
    pipe = subprocess.PIPE
    return [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, *arguments],
            env=clean_environment(),
            cwd=ROOT,
            stdin=pipe,
            stdout=pipe,
        )
        for _ in range(PROCESSES)
    ]


def test_four_processes_write_while_two_seal(postgres_log, audit_postgres, perfguard):
    perfguard(AUDIT_SEAL_ENTRIES=5, AUDIT_DATABASE=postgres_log)
    writers = writers_of(audit_postgres)
    done = []

    def seal_until_done():
        while not done:
            seal()
        connections[postgres_log].close()

    sealers = [Thread(target=seal_until_done) for _ in range(2)]
    for each in sealers:
        each.start()
    try:
        assert [each.stdout.readline() for each in writers] == [b"ready\n"] * PROCESSES
        for each in writers:
            each.stdin.close()
        assert [each.wait(timeout=60) for each in writers] == [0] * PROCESSES
    finally:
        done.append(True)
        for each in sealers:
            each.join(timeout=20)
        for each in writers:
            each.kill()
            each.wait()
            each.stdout.close()
    during = seals(postgres_log)
    seal()
    made = seals(postgres_log)
    assert len(during) > 10
    assert sum(each.count for each in made) == PROCESSES * BATCHES * 3
    assert [each.number for each in made] == list(range(1, len(made) + 1))
    assert findings() == []


# -- the anchor -------------------------------------------------------


@pytest.fixture
def anchor(tmp_path, perfguard):
    path = tmp_path / "anchor.jsonl"
    perfguard(AUDIT_ANCHOR_PATH=str(path), AUDIT_SEAL_ENTRIES=2)
    return path


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_seal_is_written_to_the_anchor(transactional_db, anchor):
    add_rows(4)
    seal()
    add_rows(1)
    seal()
    made = seals()
    assert [each["number"] for each in lines_of(anchor)] == [1, 2, 3]
    assert lines_of(anchor)[2] == {
        "number": 3,
        "digest": made[2].digest,
        "last_id": made[2].last_id,
        "sealed_at": stamp(made[2].sealed_at),
    }
    assert anchor.stat().st_mode & 0o777 == 0o600


def test_a_seal_that_is_rolled_back_is_not_anchored(transactional_db, anchor):
    add_rows(2)
    with transaction.atomic():
        seal()
        transaction.set_rollback(True)
    assert not anchor.exists()


@pytest.mark.parametrize(
    "left",
    [b"", b'{"number": 2, "dig', b'{"number": 2, "digest": null}\n', b"\xff\x00\n"],
    ids=["nothing", "torn", "no_line", "junk"],
)
def test_lines_that_were_lost_are_filled_in(transactional_db, anchor, left):
    add_rows(4)
    seal()
    first = anchor.read_bytes().splitlines(keepends=True)[0]
    anchor.write_bytes(first + left)
    add_rows(1)
    seal()
    assert anchor.read_bytes().startswith(first + left)
    known = [each.number for batch in read_anchor(anchor) for each in batch]
    assert known == [1, 2, 3]


def test_an_anchor_that_cannot_be_written_is_logged(
    transactional_db, perfguard, caplog
):
    perfguard(AUDIT_ANCHOR_PATH="/nowhere/anchor.jsonl")
    add_rows(2)
    assert seal() == 2
    assert [each.levelname for each in caplog.records] == ["ERROR"]
    assert "/nowhere/anchor.jsonl" in caplog.text


def test_the_lock_that_is_waited_for_does_not_stay(postgres_log):
    add_rows(1, using=postgres_log)
    seal()
    with connections[postgres_log].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
        assert cursor.fetchone() == (0,)
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone() == ("0",)
