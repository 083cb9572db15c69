"""What a request by an API key costs, and what happens when Redis or the database
fails."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from perfguard.api_keys import copy, services, upkeep
from perfguard.api_keys.delivery import Delivery, delivery
from perfguard.api_keys.keyring import keyring
from perfguard.api_keys.keys import as_text, generate, parse
from perfguard.api_keys.models import ApiKey
from perfguard.api_keys.records import as_bytes, load
from perfguard.api_keys.upkeep import Uses
from perfguard.exceptions import TruthUnavailable
from perfguard.redis.client import get_client
from tests.api_keys.counting import at_once
from tests.servers import RedisServer, wait_until

pytestmark = [
    pytest.mark.urls("tests.api_keys.urls_api_keys"),
    pytest.mark.django_db(transaction=True),
]
PEPPER = "a pepper of the tests, and long enough"


@contextmanager
def queries():
    """The queries within the block that read or write rows."""
    seen = []
    with CaptureQueriesContext(connection) as captured:
        yield seen
    texts = [each["sql"] for each in captured]
    seen += [sql for sql in texts if sql.split()[0] in {"SELECT", "INSERT", "UPDATE"}]


@contextmanager
def database_away():
    def fail(execute, sql, params, many, context):
        raise DatabaseError("The database is away.")

    with connection.execute_wrapper(fail):
        yield


def record_key(issued, name="record"):
    return f"perfguard:{{key:{issued.api_key.key_id}}}:{name}"


# -- costs -----------------------------------------------------------------------------


@pytest.mark.usefixtures("either_way")
def test_a_warm_request_is_one_round_trip_and_no_query(api, issued, proxy):
    assert api.status(issued.text) == 200
    with proxy.counted() as trips, queries() as seen:
        assert api.status(issued.text) == 200
    assert trips == [1]
    assert seen == []


def test_a_warm_request_is_one_round_trip_through_every_door(api, issued, proxy):
    for path in ("/api/v1/chats", "/plain/sync", "/plain/async", "/api/v1/function"):
        assert api.status(issued.text, path) == 200
        with proxy.counted() as trips, queries() as seen:
            assert api.status(issued.text, path) == 200
        assert (trips, seen) == ([1], [])


def test_a_cold_request_is_one_query_more(api, issued, proxy):
    api.status(as_text(generate()))  # connects
    with proxy.counted() as trips, queries() as seen:
        assert api.status(issued.text) == 200
    # Look, fence, fill, and say that it was used.
    assert trips == [4]
    assert [sql.split()[0] for sql in seen] == ["SELECT", "UPDATE"]


def test_a_warm_bad_key_costs_what_a_warm_good_one_costs(api, issued, owner, proxy):
    bad = [as_text(generate()), services.create(owner, "revoked")]
    services.revoke(bad[1].api_key)
    for text in (bad[0], bad[1].text):
        assert api.status(text) == 401
        with proxy.counted() as trips, queries() as seen:
            assert api.status(text) == 401
        assert (trips, seen) == ([1], [])


def test_without_redis_a_request_is_one_query(api, issued):
    assert api.status(issued.text) == 200
    with queries() as seen:
        assert api.status(issued.text) == 200
    assert len(seen) == 1


def test_a_record_ends_after_its_time_and_one_of_nobody_sooner(
    api, issued, redis, perfguard
):
    unknown = generate()
    api.status(issued.text)
    api.status(as_text(unknown))
    client = redis.client()
    assert 295_000 < client.pttl(record_key(issued)) <= 300_000
    nobody = f"perfguard:{{key:{unknown.key_id}}}:record"
    assert 25_000 < client.pttl(nobody) <= 30_000
    assert all(client.ttl(name) > 0 for name in client.scan_iter())


def test_all_keys_of_a_key_share_a_slot(api, issued, redis):
    api.status(issued.text)
    tags = {name.split(b"}")[0] for name in redis.client().scan_iter()}
    assert tags == {f"perfguard:{{key:{issued.api_key.key_id}".encode()}


# -- what Redis loses ------------------------------------------------------------------


def test_a_flushed_redis_is_asked_of_the_database(api, issued, redis):
    api.status(issued.text)
    services.revoke(issued.api_key)
    redis.client().flushall()
    assert api.status(issued.text) == 401


def test_a_record_of_another_era_is_not_believed(api, issued, redis):
    api.status(issued.text)
    held = json.loads(redis.client().get(record_key(issued)))
    # A replica took over that had not heard of the revocation.
    services.revoke(issued.api_key)
    redis.client().set(record_key(issued), json.dumps(held | {"era": "of another"}))
    assert api.status(issued.text) == 401
    redis.client().set(record_key(issued), json.dumps(held))
    assert api.status(issued.text) == 200  # so the era was what decided


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"x",
        b"null",
        b"[]",
        b"{}",
        b'{"era": 1}',
        b'{"era":"%s","record":{}}',
        b"~",
    ],
)
def test_what_is_no_record_is_asked_of_the_database(api, issued, redis, raw):
    api.status(issued.text)
    era = json.loads(redis.client().get(record_key(issued)))["era"].encode()
    redis.client().set(record_key(issued), raw.replace(b"%s", era))
    with queries() as seen:
        assert api.status(issued.text) == 200
    assert len(seen) == 1


def test_an_evicting_redis_is_never_believed(api, issued, perfguard):
    with RedisServer(maxmemory="64mb", maxmemory_policy="allkeys-lru") as server:
        perfguard(REDIS_URL=server.url)
        for _ in range(2):
            with queries() as seen:
                assert api.status(issued.text) == 200
            assert [sql for sql in seen if sql.startswith("SELECT")] != []
        assert not server.client().exists(record_key(issued))
        # Not even if there were a record.
        forged = as_bytes(load(issued.api_key.key_id), "")
        services.revoke(issued.api_key)
        server.client().set(record_key(issued), forged)
        assert api.status(issued.text) == 401


def test_a_restarted_redis_is_filled_again(api, issued, own_redis, perfguard):
    perfguard(REDIS_URL=own_redis.url)
    api.status(issued.text)
    own_redis.kill()
    services.revoke(issued.api_key)  # and nobody to tell
    own_redis.start()
    wait_until(lambda: not get_client().is_away("key:x"), "the probe")
    assert api.status(issued.text) == 401


# -- Redis away ------------------------------------------------------------------------


def test_with_redis_away_the_database_answers(api, issued, owner, perfguard):
    perfguard(REDIS_URL="redis://127.0.0.1:1/0")
    revoked = services.create(owner, "revoked")
    services.revoke(revoked.api_key)
    assert api.status(issued.text) == 200
    assert api.status(revoked.text) == 401


def test_a_hung_redis_costs_one_time_out(api, issued, own_redis, perfguard):
    perfguard(REDIS_URL=own_redis.url, REDIS_READ_TIMEOUT=0.3)
    api.status(issued.text)
    own_redis.hang()
    try:
        assert api.status(issued.text) == 200
        assert get_client().is_away("key:x")
        services.revoke(issued.api_key)
        assert api.status(issued.text) == 401
    finally:
        own_redis.resume()


def test_what_redis_could_not_be_told_it_is_told_when_it_is_back(
    api, issued, own_redis, perfguard
):
    perfguard(REDIS_URL=own_redis.url, REDIS_READ_TIMEOUT=0.3)
    api.status(issued.text)
    own_redis.hang()
    assert not services.revoke(issued.api_key)
    own_redis.resume()
    wait_until(lambda: not get_client().is_away("key:x"), "the probe")
    wait_until(lambda: not delivery.is_due(issued.api_key.key_id), "the delivery")
    assert not own_redis.client().exists(record_key(issued))
    assert api.status(issued.text) == 401


def test_what_is_due_is_not_believed_though_redis_has_it(api, issued, redis):
    api.status(issued.text)
    ApiKey.objects.filter(pk=issued.api_key.pk).update(label="changed since")
    delivery._due[issued.api_key.key_id] = float("inf")
    credential = parse(issued.text)
    assert keyring.find(credential).record.label == "changed since"
    delivery._due.clear()
    assert keyring.find(credential).record.label == "nightly report"


def test_nothing_is_due_longer_than_a_record_lives(clock, perfguard, issued):
    perfguard(REDIS_URL="redis://127.0.0.1:1/0", API_KEYS_CACHE_SECONDS=60.0)
    late = Delivery(clock)
    late.tell("abc")
    clock.advance(69)
    assert late.is_due("abc")
    late.tell("abc")  # once more, and no longer for that
    clock.advance(2)
    assert not late.is_due("abc")


def test_revoking_again_is_done_when_the_old_records_have_expired(issued, perfguard):
    perfguard(REDIS_URL="redis://127.0.0.1:1/0")
    assert not services.revoke(issued.api_key)
    assert not services.revoke(issued.api_key)
    ago = issued.api_key.revoked_at - timedelta(seconds=311)
    ApiKey.objects.filter(pk=issued.api_key.pk).update(revoked_at=ago)
    delivery._due.clear()  # as time does
    assert services.revoke(issued.api_key)


# -- the database away -----------------------------------------------------------------


def test_a_warm_key_needs_no_database(api, issued, redis):
    assert api.status(issued.text) == 200
    with database_away():
        assert api.status(issued.text) == 200


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("path", ["/api/v1/who", "/plain/sync", "/plain/async"])
def test_without_both_it_is_503_and_never_500(api, issued, perfguard, path):
    perfguard(REDIS_URL="redis://127.0.0.1:1/0")
    with database_away():
        answer = api.get(path, issued.text)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert answer.json()["code"] == "api_keys_unavailable"


def test_a_cold_key_without_the_database_is_503(api, issued, redis):
    with database_away():
        assert api.status(issued.text) == 503
    # The fence that was set falls by itself, and stands in nobody's way.
    assert 0 < redis.client().pttl(record_key(issued)) <= copy.FENCE_MS
    assert api.status(issued.text) == 200


def test_the_keyring_says_that_it_cannot_know(issued, perfguard):
    perfguard()
    with database_away(), pytest.raises(TruthUnavailable):
        keyring.find(parse(issued.text))


# -- transactions ----------------------------------------------------------------------


def test_nothing_is_filled_from_within_a_transaction(api, issued, redis):
    with transaction.atomic():
        keyring.find(parse(issued.text))
        assert not redis.client().exists(record_key(issued))
    keyring.find(parse(issued.text))
    assert redis.client().exists(record_key(issued))


def test_a_change_that_is_rolled_back_changes_nothing(api, issued, redis, changed):
    api.status(issued.text)
    with transaction.atomic():
        services.revoke(issued.api_key)
        transaction.set_rollback(True)
    assert api.status(issued.text) == 200
    assert changed == []


# -- last used -------------------------------------------------------------------------


def last_used(issued):
    return ApiKey.objects.get(pk=issued.api_key.pk).last_used_at


def test_the_last_use_is_written_once_a_minute(api, issued, redis, ringing):
    api.status(issued.text)
    first = datetime.fromtimestamp(ringing.now, UTC)
    assert last_used(issued) == first
    assert 55_000 < redis.client().pttl(record_key(issued, "used")) <= 60_000
    ringing.advance(61)
    with queries() as seen:
        api.status(issued.text)  # Redis's own minute is not over
    assert seen == []
    redis.client().delete(record_key(issued, "used"))  # as time does
    api.status(issued.text)
    assert last_used(issued) == first + timedelta(seconds=61)


def test_the_database_itself_takes_no_second_write_in_a_minute(issued, redis, ringing):
    upkeep.note_use(issued.api_key.key_id, ringing.now)
    redis.client().flushall()
    ringing.advance(59)
    upkeep.note_use(issued.api_key.key_id, ringing.now)
    assert last_used(issued) == datetime.fromtimestamp(ringing.now - 59, UTC)


def test_many_at_once_write_the_last_use_once(issued, redis, ringing, monkeypatch):
    written = []
    update = upkeep._update
    monkeypatch.setattr(
        upkeep,
        "_update",
        lambda rows, **values: written.append(1) or update(rows, **values),
    )
    at_once(16, lambda: upkeep.note_use(issued.api_key.key_id, ringing.now))
    assert len(written) == 1


def test_without_redis_each_process_writes_once_a_minute(api, issued, clock):
    own = Uses(clock)
    assert own.claim("abc")
    clock.advance(59.9)
    assert not own.claim("abc")
    assert own.claim("def")
    clock.advance(0.2)
    assert own.claim("abc")


def test_the_memory_of_uses_is_bounded(clock):
    own = Uses(clock)
    for number in range(upkeep.REMEMBERED + 10):
        own.claim(str(number))
    assert len(own._since) == upkeep.REMEMBERED
    assert not own.claim(str(upkeep.REMEMBERED))


def test_a_refused_key_was_not_used(api, issued, redis):
    services.revoke(issued.api_key)
    api.status(issued.text)
    assert last_used(issued) is None


def test_a_use_that_cannot_be_written_costs_no_answer(api, issued, redis, caplog):
    api.status(issued.text)
    redis.client().delete(record_key(issued, "used"))
    with database_away():
        assert api.status(issued.text) == 200
    assert "could not be recorded" in caplog.text
    assert issued.text not in caplog.text


def test_a_use_that_cannot_be_written_leaves_the_request_its_transaction(issued, redis):
    def fail_update(execute, sql, params, many, context):
        if sql.startswith("UPDATE"):
            raise DatabaseError("read-only")
        return execute(sql, params, many, context)

    with transaction.atomic(), connection.execute_wrapper(fail_update):
        upkeep.note_use(issued.api_key.key_id, 1_800_000_000)
        assert ApiKey.objects.count() == 1


# -- newer hashes ----------------------------------------------------------------------


@pytest.mark.parametrize("with_redis", [False, True])
def test_an_old_hash_is_upgraded_by_one_update(
    api, issued, perfguard, request, with_redis
):
    if with_redis:
        request.getfixturevalue("redis")
    assert api.status(issued.text) == 200
    perfguard(API_KEYS_PEPPER=PEPPER)
    with queries() as seen:
        assert api.status(issued.text) == 200
    changes = [sql for sql in seen if "hashed_secret" in sql and "UPDATE" in sql]
    assert len(changes) == 1
    assert ApiKey.objects.get(pk=issued.api_key.pk).hashed_secret.startswith("v2$")
    api.status(issued.text)
    with queries() as seen:
        assert api.status(issued.text) == 200
    assert len(seen) == (0 if with_redis else 1)


def test_an_upgrade_overwrites_no_newer_hash(issued):
    old = issued.api_key.hashed_secret
    ApiKey.objects.filter(pk=issued.api_key.pk).update(hashed_secret="v2$new")
    upkeep.upgrade(issued.api_key.key_id, old=old, new="v2$other")
    assert ApiKey.objects.get(pk=issued.api_key.pk).hashed_secret == "v2$new"


def test_an_upgrade_that_fails_leaves_the_record_where_it_is(
    api, issued, redis, perfguard
):
    api.status(issued.text)
    perfguard(API_KEYS_PEPPER=PEPPER)
    with database_away():
        assert [api.status(issued.text) for _ in range(3)] == [200, 200, 200]
