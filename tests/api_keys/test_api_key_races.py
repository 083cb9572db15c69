"""A key that changes while others read it."""

from __future__ import annotations

import threading

import pytest
from django.db import connections, transaction

from perfguard.api_keys import copy, services
from perfguard.api_keys import keyring as keyring_module
from perfguard.api_keys.delivery import delivery
from perfguard.api_keys.keyring import keyring
from perfguard.api_keys.keys import parse
from perfguard.api_keys.models import ApiKey
from perfguard.redis.client import close_client, get_client, make_client
from tests.api_keys.counting import at_once

pytestmark = [
    pytest.mark.urls("tests.api_keys.urls_api_keys"),
    pytest.mark.django_db(transaction=True),
]


def record_key(issued):
    return f"perfguard:{{key:{issued.api_key.key_id}}}:record"


class Slow:
    """Holds every reader of the database just after it has read."""

    def __init__(self, monkeypatch):
        self.reading, self.may_go_on = threading.Event(), threading.Event()
        load = keyring_module.load

        def slow(key_id):
            record = load(key_id)
            self.reading.set()
            assert self.may_go_on.wait(20)
            return record

        monkeypatch.setattr(keyring_module, "load", slow)


@pytest.mark.parametrize(
    "meanwhile",
    [
        "revoke",
        "revoke, and another fills",
        "revoke and flush",
        "owner",
        "delete",
        "restrict",
    ],
)
def test_a_slow_reader_brings_nothing_back(
    api, issued, owner, redis, monkeypatch, meanwhile
):
    slow = Slow(monkeypatch)
    codes = []
    reader = threading.Thread(
        target=lambda: (
            codes.append(keyring.find(parse(issued.text)).code),
            connections.close_all(),
        )
    )
    reader.start()
    assert slow.reading.wait(20)
    monkeypatch.undo()
    if meanwhile.startswith("revoke"):
        services.revoke(issued.api_key)
    if meanwhile == "revoke, and another fills":
        assert api.status(issued.text) == 401
    if meanwhile == "revoke and flush":
        redis.client().flushall()
    if meanwhile == "owner":
        owner.is_active = False
        owner.save()
    if meanwhile == "delete":
        issued.api_key.delete()
    if meanwhile == "restrict":
        services.restrict(issued.api_key, [])
    slow.may_go_on.set()
    reader.join(20)
    assert codes == [""]  # it had begun before
    assert api.status(issued.text) == (403 if meanwhile == "restrict" else 401)


@pytest.mark.parametrize("change", ["revoke", "owner", "save", "delete"])
def test_what_is_read_before_the_commit_is_forgotten_with_it(
    api, issued, owner, redis, change
):
    def change_it():
        if change == "revoke":
            services.revoke(issued.api_key)
        elif change == "owner":
            owner.is_active = False
            owner.save()
        elif change == "save":
            issued.api_key.revoked_at = issued.api_key.created
            issued.api_key.save()
        else:
            issued.api_key.delete()

    # Its use is noted, so that nobody waits below to note it.
    assert api.status(issued.text) == 200
    with transaction.atomic():
        change_it()
        # Another process sees what is committed, and so it fills that in.
        at_once(1, lambda: keyring.find(parse(issued.text)))
        assert redis.client().exists(record_key(issued))
    assert api.status(issued.text) == 401


def test_a_fence_that_fell_lets_nobody_fill(issued, redis):
    client, key_id = get_client(), issued.api_key.key_id
    kept = copy.look(client, key_id)
    fence = copy.fence(client, key_id, kept)
    redis.client().delete(record_key(issued))  # as time does
    assert not copy.fill(client, key_id, None, fence=fence, era=kept.era)


def test_of_many_readers_one_fills_and_the_others_do_not_wait(issued, redis):
    client, key_id = get_client(), issued.api_key.key_id
    kept = copy.look(client, key_id)
    fences = [copy.fence(client, key_id, kept) for _ in range(5)]
    assert sorted(map(bool, fences)) == [False] * 4 + [True]
    seen = copy.look(client, key_id)
    assert copy.fence(client, key_id, seen) == b""


def test_revoked_under_load_is_refused_from_then_on(api, issued, redis):
    """Many read, and lose the record again and again, while one revokes."""
    credential = parse(issued.text)
    revoked = threading.Event()
    wrong = []

    def read():
        for _ in range(40):
            before = revoked.is_set()
            if not keyring.find(credential).code and before:
                wrong.append(1)
            redis.client().delete(record_key(issued))

    def revoke():
        services.revoke(ApiKey.objects.get(pk=issued.api_key.pk))
        revoked.set()

    works = iter([revoke, *[read] * 7])
    lock = threading.Lock()

    def work():
        with lock:
            mine = next(works)
        mine()

    at_once(8, work)
    assert wrong == []
    assert keyring.find(credential).code == "revoked"


def test_another_process_refuses_a_revoked_key_at_once(api, issued, redis):
    api.status(issued.text)
    elsewhere = make_client()
    assert copy.look(elsewhere, issued.api_key.key_id).is_believed
    services.revoke(issued.api_key)
    assert not copy.look(elsewhere, issued.api_key.key_id).is_believed
    elsewhere.close()
    close_client()
    assert api.status(issued.text) == 401


def test_what_was_due_when_redis_was_asked_is_not_believed(issued, redis, monkeypatch):
    credential, look = parse(issued.text), copy.look
    keyring.find(credential)
    ApiKey.objects.filter(pk=issued.api_key.pk).update(label="changed since")
    delivery._due[credential.key_id] = float("inf")

    def told_meanwhile(client, key_id):
        kept = look(client, key_id)
        delivery._due.clear()
        return kept

    monkeypatch.setattr(copy, "look", told_meanwhile)
    assert keyring.find(credential).record.label == "changed since"
