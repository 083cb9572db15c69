"""The journal is the truth: what it takes to write it, to tell Redis, and to forget."""

from __future__ import annotations

from datetime import timedelta

import hypothesis.strategies as st
import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from perfguard.exceptions import RedisUnavailable
from perfguard.redis.client import close_client, get_client
from perfguard.signals import token_revoked
from perfguard.tokens import arrears, copy, journal, pruning, receivers, revocation
from perfguard.tokens.claims import Marks
from perfguard.tokens.models import RevokedToken, TokenGeneration, TokenSession
from perfguard.tokens.sessions import open_session
from perfguard.tokens.tokens import AccessToken, RefreshToken
from tests.servers import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def is_revoked(token):
    """As another process would see it."""
    revocation.known = revocation.Known()
    return revocation.is_revoked(token.marks)


@pytest.fixture
def settled(monkeypatch):
    """A process to which nothing has happened yet."""
    fresh = arrears.Arrears()
    fresh.due, fresh.in_use = False, True
    for module in (journal, revocation, receivers):
        monkeypatch.setattr(module, "arrears", fresh)
    return fresh


class Network:
    """Between this process and Redis, which itself is well."""

    def __init__(self):
        self.circuit = get_client().circuit

    def cut(self):
        self.circuit.is_open = True

    def mend(self):
        self.circuit.is_open = False


@pytest.fixture
def network(user, redis, settled):
    token = AccessToken.for_user(user)
    assert not is_revoked(token)  # Redis knows the user, and is believed
    return Network()


# -- Writing -------------------------------------------------------------------------


def test_three_sign_outs_are_one_row_and_the_same_answer(api, user, redis):
    pair = api.sign_in()
    answers = [api.post("auths/signout", token=pair["token"]) for _ in range(3)]
    assert {each.status_code for each in answers} == {200}
    assert len({each.content for each in answers}) == 1
    assert RevokedToken.objects.count() == TokenSession.objects.count() == 1


def test_each_revocation_is_told_once(user, redis):
    told = []

    def receiver(**kwargs):
        told.append((kwargs["kind"], kwargs["marker"], kwargs["by"]))

    token_revoked.connect(receiver)
    refresh = RefreshToken.for_user(user)
    for _ in range(2):
        journal.end_session(refresh["sid"], by="9")
    journal.revoke_user(str(user.pk))
    token_revoked.disconnect(receiver)
    generation = TokenGeneration.objects.get().generation
    assert told == [
        ("session", refresh["sid"], "9"),
        ("user", str(generation), ""),
    ]


def test_a_receiver_that_fails_keeps_no_revocation_from_redis(user, redis):
    def receiver(**kwargs):
        raise RuntimeError("mine")

    token_revoked.connect(receiver)
    token = AccessToken.for_user(user)
    assert token.blacklist().delivered is True
    token_revoked.disconnect(receiver)
    assert redis.client().keys("*revoked*")


def test_a_session_that_is_none_cannot_be_ended(user, redis):
    assert journal.end_session("nowhere") is None
    with pytest.raises(CommandError, match="no session 'nowhere'"):
        call_command("perfguard_tokens", "revoke", "nowhere")


# -- With ATOMIC_REQUESTS ------------------------------------------------------------


@pytest.fixture
def atomic_requests(monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)


def sign_out(api, pair):
    return api.post("auths/signout", token=pair["token"])


def sign_out_everywhere(api, pair):
    return api.post("auths/signout-everywhere", token=pair["token"])


def end_one(api, pair):
    other = AccessToken(api.sign_in()["token"], verify=False)["sid"]
    return api.delete(f"auths/sessions/{other}", pair["token"])


def end_others(api, pair):
    api.sign_in()
    return api.delete("auths/sessions", pair["token"])


each_way = pytest.mark.parametrize(
    "way",
    [sign_out, sign_out_everywhere, end_one, end_others],
    ids=lambda f: f.__name__,
)


@each_way
def test_redis_was_told_before_the_answer(
    api, user, redis, atomic_requests, monkeypatch, way
):
    """Were it told at the end of the request's transaction, the answer would be there
    already, and could not say that it failed."""
    pair = api.sign_in()
    pushes, push = [], copy.push

    def spy(*args):
        pushes.append(connection.in_atomic_block)
        push(*args)

    monkeypatch.setattr(copy, "push", spy)
    assert way(api, pair).status_code in {200, 204}
    assert pushes
    assert not any(pushes)


@each_way
def test_without_redis_the_answer_says_that_it_is_not_yet_in_force(
    api, user, network, atomic_requests, way
):
    pair = api.sign_in()
    network.cut()
    answer = way(api, pair)
    assert (answer.status_code, answer.json()["code"]) == (503, "revocation_pending")
    assert answer.headers["Retry-After"] == "1"
    network.mend()
    revocation.known = revocation.Known()
    gone = {sign_out: 401, sign_out_everywhere: 401}.get(way, 200)
    assert api.status(pair["token"]) == gone
    again = way(api, api.sign_in())
    assert again.status_code in {200, 204}


@each_way
def test_without_the_database_nothing_is_claimed(
    api, user, redis, atomic_requests, monkeypatch, way
):
    pair = api.sign_in()
    assert api.status(pair["token"]) == 200

    def refuse(*args, **kwargs):
        raise OperationalError("the disk is full")

    atomic = transaction.atomic
    monkeypatch.setattr(journal.transaction, "atomic", lambda **kwargs: atomic())
    for name in ("revoke_token", "end_session", "revoke_user"):
        for module in ("journal", "tokens", "views"):
            monkeypatch.setattr(
                f"perfguard.tokens.{module}.{name}", refuse, raising=False
            )
    answer = way(api, pair)
    assert (answer.status_code, answer.json()["code"]) == (503, "revocation_failed")
    assert answer.headers["Retry-After"] == "1"
    assert api.status(pair["token"]) == 200


# -- Telling Redis ---------------------------------------------------------------------


def test_what_could_not_be_told_is_told_before_redis_is_believed_again(user, network):
    token, refresh = AccessToken.for_user(user), RefreshToken.for_user(user)
    network.cut()
    assert token.blacklist().delivered is False
    assert journal.end_session(refresh["sid"]).delivered is False
    assert RevokedToken.objects.get().pushed_at is None
    assert [is_revoked(each) for each in (token, refresh)] == [True, True]
    network.mend()
    assert [is_revoked(each) for each in (token, refresh)] == [True, True]
    assert RevokedToken.objects.get().pushed_at is not None
    assert TokenSession.objects.get().pushed_at is not None


def test_a_circuit_that_closes_has_it_told_without_any_request(user, network, redis):
    token = AccessToken.for_user(user)
    network.cut()
    token.blacklist()
    journal.revoke_user(str(user.pk))
    network.mend()
    receivers.circuit_closed(is_open=True)
    assert not redis.client().keys("*revoked*")
    receivers.circuit_closed(is_open=False)
    assert redis.client().keys("*revoked*")
    assert TokenGeneration.objects.get().pushed_at is not None


def test_where_tokens_are_not_used_a_circuit_that_closes_asks_no_database(
    settled, django_assert_num_queries
):
    settled.in_use = False
    with django_assert_num_queries(0):
        receivers.circuit_closed(is_open=False)


def test_the_database_may_be_away_when_redis_is_back(
    user, network, settled, monkeypatch
):
    token = AccessToken.for_user(user)
    network.cut()
    token.blacklist()
    network.mend()

    def refuse():
        raise OperationalError("away as well")

    monkeypatch.setattr(receivers, "deliver_due", refuse)
    receivers.circuit_closed(is_open=False)
    settled._next = 0.0  # the pause is over
    assert is_revoked(token)


def test_a_process_killed_between_commit_and_telling_is_replaced_by_one_that_tells(
    user, network, monkeypatch
):
    token = AccessToken.for_user(user)
    push = journal.push

    def killed(*args):
        raise SystemExit

    monkeypatch.setattr(journal, "push", killed)
    with pytest.raises(SystemExit):
        token.blacklist()
    monkeypatch.setattr(journal, "push", push)
    monkeypatch.setattr(revocation, "arrears", arrears.Arrears())
    assert is_revoked(token)


def test_redis_is_told_of_everybody_when_it_is_back(user, other, network):
    tokens = [AccessToken.for_user(each) for each in (user, other)]
    assert not any(is_revoked(each) for each in tokens)
    network.cut()
    assert journal.revoke_everybody().delivered is False
    network.mend()
    assert all(is_revoked(each) for each in tokens)
    assert not TokenGeneration.objects.filter(pushed_at=None).exists()


def test_a_generation_that_is_raised_again_meanwhile_is_still_to_be_told(
    user, redis, monkeypatch
):
    AccessToken.for_user(user)
    push = copy.push

    def slow(client, user_key, marks, generation):
        push(client, user_key, marks, generation)
        TokenGeneration.objects.update(generation=generation + 1, pushed_at=None)

    monkeypatch.setattr(copy, "push", slow)
    journal.revoke_user(str(user.pk))
    assert TokenGeneration.objects.get().pushed_at is None


@pytest.mark.parametrize("dead", ["1", "2"])
def test_one_master_that_is_away_keeps_nothing_from_the_others(
    redis, settled, monkeypatch, dead
):
    end = timezone.now() + timedelta(days=1)
    for number in range(7):
        RevokedToken.objects.create(
            jti=f"t{number}",
            user_key=f"{number % 2 + 1}",
            expires_at=end,
            revoked_at=end,
        )
    push = copy.push

    def partly(client, user_key, marks, generation):
        if user_key == dead:
            raise RedisUnavailable("this master")
        push(client, user_key, marks, generation)

    monkeypatch.setattr(copy, "push", partly)
    monkeypatch.setattr(journal, "BATCH", 3)
    assert journal.deliver_due() is False
    due = RevokedToken.objects.filter(pushed_at=None)
    assert {each.user_key for each in due} == {dead}
    monkeypatch.setattr(copy, "push", push)
    assert journal.deliver_due() is True
    assert not due.all()


def test_while_redis_is_away_altogether_one_batch_is_tried(network, monkeypatch):
    now = timezone.now()
    RevokedToken.objects.bulk_create(
        RevokedToken(jti=f"t{n:02}", user_key="1", expires_at=now, revoked_at=now)
        for n in range(20)
    )
    network.cut()
    tried = []
    push = journal.push
    monkeypatch.setattr(
        journal, "push", lambda *args: tried.append(args) or push(*args)
    )
    monkeypatch.setattr(journal, "BATCH", 5)
    assert journal.deliver_due() is False
    assert len(tried) == 5


def test_a_request_tells_redis_no_more_than_a_batch_of_each(redis, user, monkeypatch):
    now = timezone.now() + timedelta(hours=1)
    RevokedToken.objects.bulk_create(
        RevokedToken(jti=f"t{n:02}", user_key="1", expires_at=now, revoked_at=now)
        for n in range(8)
    )
    monkeypatch.setattr(journal, "BATCH", 5)
    assert journal.deliver_due(whole=False) is False
    assert RevokedToken.objects.filter(pushed_at=None).count() == 3
    assert journal.deliver_due(whole=False) is True
    assert not RevokedToken.objects.filter(pushed_at=None)


def test_a_request_does_not_wait_for_all_that_is_due(redis, user, monkeypatch):
    token = AccessToken.for_user(user)
    now = timezone.now() + timedelta(hours=1)
    RevokedToken.objects.bulk_create(
        RevokedToken(jti=f"t{n:02}", user_key="1", expires_at=now, revoked_at=now)
        for n in range(8)
    )
    monkeypatch.setattr(journal, "BATCH", 5)
    monkeypatch.setattr(revocation, "arrears", arrears.Arrears())
    assert not revocation.is_revoked(token.marks)
    assert RevokedToken.objects.filter(pushed_at=None).count() == 3


def test_sync_says_whether_redis_knows_all(user, network, capsys):
    AccessToken.for_user(user).blacklist()
    network.cut()
    AccessToken.for_user(user).blacklist()
    with pytest.raises(CommandError, match="Nothing is lost"):
        call_command("perfguard_tokens", "sync")
    with pytest.raises(CommandError, match="in the journal"):
        call_command("perfguard_tokens", "revoke-all", "--user-id", str(user.pk))
    network.mend()
    call_command("perfguard_tokens", "sync")
    assert "knows all" in capsys.readouterr().out


def test_what_is_due_is_tried_once_in_a_while_and_by_one_at_a_time(clock):
    mine = arrears.Arrears(clock=clock)
    calls = []

    def fail():
        calls.append(1)
        mine.settle(fail)  # another thread, meanwhile
        return False

    mine.settle(fail)
    mine.settle(fail)
    assert len(calls) == 1
    clock.advance(arrears.PAUSE)
    mine.settle(fail)
    assert len(calls) == 2
    assert mine.due
    mine.settle(lambda: True, at_once=True)
    assert not mine.due
    mine.settle(fail, at_once=True)
    assert len(calls) == 2


def test_what_fails_while_the_rest_is_told_is_not_missed(clock):
    mine = arrears.Arrears(clock=clock)

    def deliver():
        mine.due = True  # a push of another thread's failed
        return True

    mine.settle(deliver)
    assert mine.due


# -- Forgetting ----------------------------------------


def test_only_what_has_expired_is_deleted_and_never_what_never_expires(user, redis):
    now = timezone.now()
    ends = {
        "past": now - timedelta(hours=2),
        "just": now - timedelta(minutes=59),
        "live": now + timedelta(days=1),
        "ever": None,
    }
    for name, end in ends.items():
        RevokedToken.objects.create(
            jti=name, user_key="1", expires_at=end, revoked_at=now
        )
        TokenSession.objects.create(
            sid=name, user_key="1", created=now, last_used=now, expires_at=end
        )
    call_command("perfguard_tokens", "prune")
    for model in (RevokedToken, TokenSession):
        assert set(model.objects.values_list("pk", flat=True)) == {
            "just",
            "live",
            "ever",
        }


def test_a_leeway_keeps_rows_as_much_longer(user, redis, settings):
    settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, "LEEWAY": timedelta(minutes=1)}
    now = timezone.now()
    for name, age in (("kept", 60.5), ("gone", 61.5)):
        end = now - timedelta(minutes=age)
        RevokedToken.objects.create(
            jti=name, user_key="1", expires_at=end, revoked_at=now
        )
    assert pruning.prune(RevokedToken) == 1
    assert RevokedToken.objects.get().pk == "kept"


def test_rows_are_deleted_in_batches(user):
    now = timezone.now()
    RevokedToken.objects.bulk_create(
        RevokedToken(
            jti=f"t{number}",
            user_key="1",
            expires_at=now - timedelta(days=1),
            revoked_at=now,
        )
        for number in range(25)
    )
    with CaptureQueriesContext(connection) as captured:
        assert pruning.prune(RevokedToken, batch=10) == 25
    statements = [each["sql"] for each in captured.captured_queries]
    deletes = [each for each in statements if each.startswith("DELETE")]
    assert [each.count("'t") for each in deletes] == [10, 10, 5]


# -- A model of it all ----------------------------------------


USERS = st.sampled_from("12")
NUMBERS = st.integers(0, 7)


class Copies(RuleBasedStateMachine):
    """Redis, the journal, and what becomes of both, against two sets in memory."""

    server = None  # of the test

    @initialize()
    def begin(self):
        for model in (RevokedToken, TokenGeneration, TokenSession):
            model.objects.all().delete()
        self.server.client().flushall()
        self.issued, self.revoked = [], set()
        self.mend()
        for user in "1122":
            self.issue(user)

    @rule(user=USERS)
    def issue(self, user):
        generation = journal.generation_of(user)
        number = len(self.issued)
        session = open_session(None, user, f"r{number}", timezone.now(), None)
        end = int(session.expires_at.timestamp())
        self.issued.append(Marks(user, f"t{number}", session.sid, generation, end))

    def some(self, number):
        return self.issued[number % len(self.issued)]

    @rule(number=NUMBERS, away=st.booleans())
    def revoke(self, number, away=False):
        if away:
            self.cut()
        journal.revoke_token(self.some(number), "access")
        self.revoked.add(self.some(number))
        if away:
            self.mend()

    @rule(number=NUMBERS)
    def end(self, number):
        journal.end_session(self.some(number).sid)
        self.revoked.add(self.some(number))

    @rule(user=USERS)
    def revoke_all(self, user):
        journal.revoke_user(user)
        self.revoked |= {each for each in self.issued if each.user_key == user}

    @rule()
    def everybody(self):
        journal.revoke_everybody()
        self.revoked |= set(self.issued)

    @rule(number=NUMBERS)
    def roll_back(self, number):
        marks = self.some(number)
        with transaction.atomic():
            journal.revoke_token(marks, "access")
            journal.end_session(marks.sid)
            journal.revoke_user(marks.user_key)
            transaction.set_rollback(True)

    @rule()
    def flush(self):
        self.server.client().flushall()

    @rule(
        how=st.sampled_from(["restart", "evict"]),
        kept=st.sampled_from(["*", "*:generation", "*:[er]*", "*:revoked:*[02468]"]),
        number=NUMBERS,
    )
    def lose(self, how, kept, number):
        """All keys but some: what was saved before a restart, had reached the replica
        that takes over, or was not evicted."""
        self.revoke(number)
        admin = self.server.client()
        saved = [(name, admin.dump(name)) for name in admin.keys(kept)]
        getattr(self, f"_{how}")(admin)
        for name, value in saved:
            self.server.client().restore(name, 60_000, value)

    def _restart(self, admin):
        self.server.kill()
        self.server.start()

    def _evict(self, admin):
        admin.config_set("maxmemory-policy", "allkeys-lru")
        admin.config_set("maxmemory", 1)
        wait_until(lambda: not admin.dbsize(), "the eviction")
        admin.config_set("maxmemory", 0)
        admin.config_set("maxmemory-policy", "noeviction")

    @rule()
    def cut(self):
        get_client().circuit.is_open = True

    @rule()
    def mend(self):
        get_client().circuit.is_open = False
        journal.arrears._next = 0.0

    @rule()
    def become_another_process(self):
        close_client()
        revocation.known = revocation.Known()
        journal.arrears.due = True

    @rule()
    def prune(self):
        pruning.prune(RevokedToken)
        pruning.prune(TokenSession)

    @invariant()
    def what_was_revoked_is_refused_and_nothing_else(self):
        for marks in self.issued:
            assert revocation.is_revoked(marks) == (marks in self.revoked)
            revocation.known = revocation.Known()
            assert revocation.is_revoked(marks) == (marks in self.revoked)


def test_whatever_becomes_of_redis_what_is_revoked_is_refused_and_nothing_else(
    transactional_db, own_redis, perfguard, settled
):
    perfguard(REDIS_URL=own_redis.url)
    Copies.server = own_redis
    run_state_machine_as_test(
        Copies,
        settings=settings(
            max_examples=60,
            stateful_step_count=20,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],  # twenty steps can be read as they are
            suppress_health_check=list(HealthCheck),
        ),
    )
