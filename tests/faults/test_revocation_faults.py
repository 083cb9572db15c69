"""Four workers, and what becomes of Redis and of the database between a sign-out and
the next request. Each worker has taken the token just before, so that all that it
could remember says that the token is good."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection

import jwt
import psycopg
import pytest
from redis.crc import key_slot

from perfguard.redis.client import get_client
from perfguard.tokens import journal, revocation
from perfguard.tokens.models import RevokedToken
from perfguard.tokens.tokens import AccessToken, RefreshToken
from tests.faults.test_cluster import move_slot, owner
from tests.faults.test_redis_away import permissions
from tests.servers import (
    Gunicorn,
    PostgresServer,
    RedisServer,
    cluster,
    sentinel_group,
    wait_until,
)

WORKERS = 4
WAIT = 0.5  # seconds, the time-outs of Redis
GOOD = {"email": "demo@example.com", "password": "demo-password"}
OPTIONS = {
    "DJANGO_SETTINGS_MODULE": "tests.site_settings",
    "THREAD_POOL_SIZE": "4",
    "REDIS_SOCKET_CONNECT_TIMEOUT": str(WAIT),
    "REDIS_SOCKET_TIMEOUT": str(WAIT),
}


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.worker = response.headers["X-Worker"]
        self.body = response.read()

    def json(self):
        return json.loads(self.body)


class Site:
    """The project under gunicorn; each request has a connection of its own, so that
    any worker may get it."""

    def __init__(self, gunicorn, workers):
        self.gunicorn = gunicorn
        self.workers = workers

    def ask(self, path, body=None, token="", method=None):
        method = method or ("GET" if body is None else "POST")
        headers = {"Content-Type": "application/json", "Connection": "close"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        with closing(
            HTTPConnection("127.0.0.1", self.gunicorn.port, timeout=40)
        ) as connection:
            connection.request(
                method, path, None if body is None else json.dumps(body), headers
            )
            return Answer(connection.getresponse())

    def post(self, path, body=None, token=""):
        return self.ask(f"/api/v1/auths/{path}", body or {}, token)

    def sign_in(self):
        answer = self.post("signin", GOOD)
        assert answer.status == 200, answer.body
        return answer.json()

    def everywhere(self, token, path="/api/v1/auths/me"):
        """What each worker says, several times: ``{200}`` if all agree."""
        answers = defaultdict(list)

        def ask(_):
            answer = self.ask(path, token=token)
            answers[answer.worker].append(answer.status)

        with ThreadPoolExecutor(8) as pool:
            for _ in range(100):
                list(pool.map(ask, range(16)))
                if len(answers) == self.workers and min(map(len, answers.values())) > 1:
                    break
        assert len(answers) == self.workers
        return {status for each in answers.values() for status in each}

    def redis_is_back(self):
        """Each worker has found it, and its circuit is closed."""
        found = set()

        def look():
            answer = self.ask("/ready")
            if answer.json()["redis"] == "ok":
                found.add(answer.worker)
            return len(found) == self.workers

        wait_until(look, "all workers to find Redis", limit=30)


@contextmanager
def serving(directory, workers=WORKERS, **env):
    env = OPTIONS | {"WEB_CONCURRENCY": str(workers)} | env
    with Gunicorn(directory / "db.sqlite3", **env) as gunicorn:
        yield Site(gunicorn, workers)


# -- The databases --------------------


class Sqlite:
    """A file, which another process can lock; it then cannot be written."""

    def __init__(self, directory):
        self.path = directory / "db.sqlite3"
        self.env = {}
        self._locker = None

    def leave(self):
        self._locker = sqlite3.connect(self.path, isolation_level=None)
        self._locker.execute("BEGIN EXCLUSIVE")

    def back(self):
        self._locker.rollback()
        self._locker.close()

    def pending(self):
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(PENDING).fetchone()[0]


class Postgres:
    """A server that is stopped, and started again."""

    def __init__(self, server):
        self.server = server
        self.url = server.create("site")
        self.env = {"DATABASE_URL": self.url}

    def leave(self):
        self.server.kill()

    def back(self):
        self.server.start()

    def pending(self):
        with psycopg.connect(self.url) as connection:
            return connection.execute(PENDING).fetchone()[0]


PENDING = """
SELECT (SELECT count(*) FROM perfguard_revokedtoken WHERE pushed_at IS NULL)
     + (SELECT count(*) FROM perfguard_tokensession
        WHERE pushed_at IS NULL AND ended_at IS NOT NULL)
     + (SELECT count(*) FROM perfguard_tokengeneration WHERE pushed_at IS NULL)
"""


@contextmanager
def database_of(kind, directory):
    if kind == "sqlite":
        yield Sqlite(directory)
        return
    with PostgresServer() as server:
        yield Postgres(server)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def database(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp(request.param)
    with database_of(request.param, directory) as database:
        database.directory = directory
        yield database


@pytest.fixture(scope="module")
def own_redis():
    """Its user may do what the manual names, and no more."""
    with RedisServer(user=f"guard on >pw ~perfguard:* {permissions()}") as server:
        yield server


@pytest.fixture(scope="module")
def running(database, own_redis):
    url = f"redis://guard:pw@127.0.0.1:{own_redis.port}/0"
    with serving(database.directory, REDIS_URL=url, **database.env) as site:
        yield site


@pytest.fixture
def site(running, own_redis):
    """All is well, and Redis is empty."""
    yield running
    own_redis.kill()
    own_redis.start()
    running.redis_is_back()


@pytest.fixture
def tokens(site):
    """Of two sessions, and every worker took both just now."""
    return warm(site)


def warm(site):
    pairs = [site.sign_in()["token"] for _ in range(2)]
    assert [site.everywhere(each) for each in pairs] == [{200}, {200}]
    return pairs


def key(token, name):
    claims = jwt.decode(token, options={"verify_signature": False})
    return f"perfguard:{{user:{claims['sub']}}}:{name.format(**claims)}"


# -- Redis, after a sign-out that was answered 200 --------------------


def is_killed(redis, token):
    redis.kill()


def hangs(redis, token):
    redis.hang()


def is_emptied(redis, token):
    redis.client().flushall()


def is_restarted(redis, token):
    redis.kill()
    redis.start()


def evicts(redis, token):
    """Until what was revoked is gone. The state of the user is not: by chance, or
    because it is put back."""
    admin = redis.client()
    state = admin.get(key(token, "generation"))
    marks = [key(token, "revoked:{jti}"), key(token, "ended:{sid}")]
    assert admin.exists(*marks) == 2
    admin.config_set("maxmemory-samples", 64)
    admin.config_set("maxmemory-policy", "allkeys-random")
    admin.config_set("maxmemory", admin.info("memory")["used_memory"] + 200_000)
    number = 0
    while admin.exists(*marks):
        pipeline = admin.pipeline(transaction=False)
        for number in range(number, number + 100):  # noqa: B020
            pipeline.set(f"junk:{number}", "x" * 1000)
        pipeline.execute()
        number += 1
        assert number < 200_000
    assert admin.info("stats")["evicted_keys"]
    admin.set(key(token, "generation"), state)


@pytest.mark.parametrize(
    "happens",
    [is_emptied, is_restarted, hangs, is_killed],
    ids=lambda function: function.__name__,
)
def test_a_token_that_was_signed_out_stays_out_when_redis(
    site, own_redis, tokens, happens
):
    gone, good = tokens
    answer = site.post("signout", token=gone)
    assert (answer.status, answer.json()["code"]) == (200, "signed_out")
    happens(own_redis, gone)
    assert site.everywhere(gone) == {401}
    assert site.everywhere(good) == {200}


def test_a_redis_that_evicts_is_believed_for_no_longer_than_a_second(
    site, own_redis, tokens
):
    """A server that runs on is asked that often about its policy."""
    gone, good = tokens
    assert site.post("signout", token=gone).status == 200
    evicts(own_redis, gone)
    wait_until(lambda: site.everywhere(gone) == {401}, "all workers to notice", limit=3)
    assert site.everywhere(gone) == {401}
    assert site.everywhere(good) == {200}


# -- The same when something is away at the sign-out --------------------


def test_without_the_database_nothing_is_claimed_and_the_token_stays_good(
    site, database, tokens
):
    token, _ = tokens
    database.leave()
    try:
        answer = site.post("signout", token=token)
    finally:
        database.back()
    assert (answer.status, answer.json()["code"]) == (503, "revocation_failed")
    assert int(answer.headers["Retry-After"]) >= 1
    assert site.everywhere(token) == {200}
    assert site.post("signout", token=token).status == 200
    assert site.everywhere(token) == {401}


def turn_away(redis):
    """Whoever comes for perfguard; what is stored stays, as behind a broken network."""
    redis.client().execute_command("ACL SETUSER guard off")
    redis.client().client_kill_filter(_type="normal", skipme=True)


def let_in(redis):
    redis.client().execute_command("ACL SETUSER guard on")


@pytest.mark.parametrize("path", ["signout", "signout-everywhere"])
def test_without_redis_it_is_pending_and_delivered_when_redis_is_back(
    site, own_redis, database, tokens, path
):
    gone, good = tokens
    turn_away(own_redis)
    answer = site.post(path, token=gone)
    assert (answer.status, answer.json()["code"]) == (503, "revocation_pending")
    assert int(answer.headers["Retry-After"]) >= 1
    assert database.pending()
    assert site.everywhere(gone) == {401}  # the journal says so
    # Redis has all its old keys, and its era: nothing but a delivery revokes the token.
    assert own_redis.client().get(key(gone, "generation"))
    let_in(own_redis)
    site.redis_is_back()
    wait_until(lambda: not database.pending(), "the delivery")
    assert site.everywhere(gone) == {401}
    assert site.everywhere(good) == {200 if path == "signout" else 401}


# A file that is locked for writing can still be read.
@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_with_neither_redis_nor_database_the_answer_is_503_and_soon(
    site, own_redis, database, tokens
):
    gone, good = tokens
    assert site.post("signout", token=gone).status == 200
    own_redis.hang()
    database.leave()
    try:
        started = time.monotonic()
        answer = site.ask("/api/v1/auths/me", token=good)
        took = time.monotonic() - started
        assert site.everywhere(good) == {503}
        assert site.everywhere(gone) <= {401, 503}
        assert site.post("signout", token=good).status == 503
    finally:
        database.back()
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json()["code"] == "revocation_unavailable"
    assert took < 4 * WAIT
    assert site.everywhere(gone) == {401}
    assert site.everywhere(good) == {200}
    assert "Internal Server Error" not in site.gunicorn.log.read_text()


# -- Other processes --------------------


def test_a_command_revokes_for_all_workers(site, tokens):
    mine, _ = tokens
    site.gunicorn.manage("perfguard_tokens", "revoke-all", "--user", GOOD["email"])
    assert site.everywhere(mine) == {401}
    new = site.sign_in()["token"]
    assert site.everywhere(new) == {200}
    site.gunicorn.manage("perfguard_tokens", "revoke-all", "--everybody")
    assert site.everywhere(new) == {401}


def test_a_new_password_revokes_for_all_workers(site, tokens):
    mine, other = tokens
    body = {"password": GOOD["password"], "new_password": "xoo7Aeng3ieThah"}
    answer = site.post("password", body, token=mine)
    assert answer.status == 200
    try:
        assert [site.everywhere(each) for each in (mine, other)] == [{401}, {401}]
        assert site.everywhere(answer.json()["token"]) == {200}
    finally:
        site.gunicorn.manage("demo_data")  # the password of before


def test_twenty_refreshes_at_once_by_four_workers_give_one_pair(site):
    token = site.sign_in()["refresh"]
    with ThreadPoolExecutor(20) as pool:
        answers = list(
            pool.map(lambda _: site.post("refresh", {"refresh": token}), range(20))
        )
    assert {each.status for each in answers} == {200}
    assert len({each.body for each in answers}) == 1
    assert len({each.worker for each in answers}) > 1
    pair = answers[0].json()
    assert site.everywhere(pair["token"]) == {200}
    assert site.post("refresh", {"refresh": pair["refresh"]}).status == 200


# -- What else Redis-less requests may do --------------------


@pytest.mark.parametrize(("mode", "status"), [("deny", 503), ("allow", 200)])
def test_the_setting_decides_what_a_token_is_worth_without_redis(
    tmp_path, mode, status
):
    with (
        RedisServer() as redis,
        serving(
            tmp_path,
            workers=2,
            REDIS_URL=redis.url,
            REVOCATION_ON_REDIS_FAILURE=mode,
        ) as site,
    ):
        gone, good = warm(site)
        assert site.post("signout", token=gone).status == 200
        redis.kill()
        assert site.everywhere(gone) == {status}
        assert site.everywhere(good) == {200 if mode != "deny" else 503}


# -- Sentinel --------------------


def link_is_up(replica):
    return replica.client().info("replication")["master_link_status"] == "up"


@pytest.mark.parametrize(
    ("kind", "atomic_requests"), [("sqlite", "false"), ("postgres", "true")]
)
def test_a_replica_that_missed_the_sign_out_and_takes_over_is_not_believed(
    tmp_path, kind, atomic_requests
):
    with (
        sentinel_group() as ((master, replica), sentinels),
        database_of(kind, tmp_path) as database,
        serving(
            tmp_path,
            REDIS_URL="redis://mymaster/0",
            REDIS_SENTINEL_HOSTS=",".join(f"127.0.0.1:{s.port}" for s in sentinels),
            ATOMIC_REQUESTS=atomic_requests,
            **database.env,
        ) as site,
    ):
        gone, good = warm(site)
        state = key(gone, "generation")
        wait_until(lambda: replica.client().get(state), "the replication of the state")
        cut_link(replica)
        assert site.post("signout", token=gone).status == 200
        assert master.client().exists(key(gone, "revoked:{jti}"))
        master.kill()
        assert site.everywhere(gone) == {401}
        wait_until(lambda: replica.client().role()[0] == b"master", "fail-over", 30)
        # It has the state that was believed, and lacks what was revoked.
        assert replica.client().get(state)
        assert not replica.client().exists(key(gone, "revoked:{jti}"))
        site.redis_is_back()
        assert site.everywhere(gone) == {401}
        assert site.everywhere(good) == {200}
        assert replica.client().exists(key(gone, "revoked:{jti}"))  # it was refilled


def cut_link(replica):
    """From now on the master refuses it."""
    client = replica.client()
    client.config_set("masteruser", "nobody")
    client.config_set("masterauth", "wrong")
    client.client_kill_filter(_type="master")
    wait_until(lambda: not link_is_up(replica), "the link to be cut")


# -- Cluster, in this process --------------------


@pytest.fixture
def nodes(perfguard):
    with cluster() as nodes:
        perfguard(REDIS_URL=nodes[0].url, REDIS_CLUSTER=True, REDIS_PROBE_INTERVAL=0.05)
        for node in nodes:  # go on serving the slots that are left
            node.client().config_set("cluster-require-full-coverage", "no")
        yield nodes


@pytest.fixture
def user(transactional_db, django_user_model):
    return django_user_model.objects.create_user("ada@example.com", "x")


def is_revoked(token):
    """As another process would see it."""
    revocation.known = revocation.Known()
    return revocation.is_revoked(token.marks)


def test_in_a_cluster_all_keys_of_a_user_are_in_one_slot(nodes, user):
    gone, good = AccessToken.for_user(user), RefreshToken.for_user(user)
    gone.blacklist()
    journal.end_session(good["sid"])
    assert is_revoked(good)
    assert is_revoked(gone)
    assert not is_revoked(AccessToken.for_user(user))
    names = owner(nodes, f"user:{user.pk}").client().keys()
    assert len(names) == 3
    assert {key_slot(name) for name in names} == {key_slot(b"user:%d" % user.pk)}
    assert sum(node.client().dbsize() for node in nodes) == 3


def test_in_a_cluster_an_emptied_master_and_a_moved_slot_lose_no_revocation(
    nodes, user
):
    gone, good = AccessToken.for_user(user), AccessToken.for_user(user)
    assert not is_revoked(good)
    gone.blacklist()
    source = owner(nodes, f"user:{user.pk}")
    source.client().flushall()
    assert [is_revoked(each) for each in (gone, good)] == [True, False]
    target = next(node for node in nodes if node is not source)
    during = []
    move_slot(
        source,
        target,
        key_slot(b"user:%d" % user.pk),
        before_the_end=lambda: during.extend([is_revoked(gone), is_revoked(good)]),
    )
    assert during == [True, False]
    assert [is_revoked(each) for each in (gone, good)] == [True, False]
    assert target.client().exists(f"perfguard:{{user:{user.pk}}}:generation")


def test_in_a_cluster_a_dead_master_takes_only_its_own_users_to_the_journal(
    nodes, user, django_user_model
):
    dead = owner(nodes, f"user:{user.pk}")
    others = (
        django_user_model.objects.create_user(f"u{number}@example.com", "x")
        for number in range(99)
    )
    other = next(each for each in others if owner(nodes, f"user:{each.pk}") is not dead)
    mine, theirs = AccessToken.for_user(user), AccessToken.for_user(other)
    assert not is_revoked(mine)
    assert not is_revoked(theirs)
    dead.kill()
    assert mine.blacklist().delivered is False
    assert theirs.blacklist().delivered is True
    assert [is_revoked(each) for each in (mine, theirs)] == [True, True]
    dead.start()
    wait_until(
        lambda: not any(each.circuit.is_open for each in get_client().endpoints()),
        "the circuit to close",
    )
    wait_until(lambda: not RevokedToken.objects.filter(pushed_at=None), "the delivery")
    assert [is_revoked(each) for each in (mine, theirs)] == [True, True]
