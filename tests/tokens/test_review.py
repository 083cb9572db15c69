"""What holds at the edges: in open transactions, with a project's own classes, and when
something comes in between."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.core.checks import run_checks
from django.db import OperationalError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.utils import timezone
from rest_framework_simplejwt import views as stock

from perfguard.redis.client import get_client
from perfguard.signals import token_revoked, user_signed_in
from perfguard.tokens import admin, journal, revocation, views
from perfguard.tokens.arrears import Arrears, arrears
from perfguard.tokens.models import RevokedToken, TokenGeneration, TokenSession
from perfguard.tokens.pruning import prune
from perfguard.tokens.serializers import TokenObtainPairSerializer
from perfguard.tokens.tokens import AccessToken, RefreshToken
from tests.tokens.conftest import PASSWORD
from tests.tokens.doors import claims_of, post

SESSIONS = "/admin/perfguard/tokensession/"
TOKENS = "/admin/perfguard/revokedtoken/"
urlpatterns = [path("refresh", stock.TokenRefreshView.as_view())]


@pytest.fixture
def root(django_user_model):
    client = Client()
    client.force_login(django_user_model.objects.create_superuser("root@example.com"))
    return client


def is_revoked(token):
    """As a process that has refused nothing yet finds it."""
    revocation.known = revocation.Known()
    return revocation.is_revoked(token.marks)


# -- Transactions that are rolled back -------------------------------------------------


def test_a_process_does_not_remember_what_was_rolled_back(user, perfguard):
    perfguard()
    token = AccessToken.for_user(user)
    with transaction.atomic():
        journal.revoke_user(str(user.pk))
        assert revocation.is_revoked(token.marks)
        transaction.set_rollback(True)
    assert not revocation.is_revoked(token.marks)


def test_redis_is_not_refilled_with_what_is_rolled_back(user, redis):
    token = AccessToken.for_user(user)
    with transaction.atomic():
        journal.revoke_user(str(user.pk))
        revocation.is_revoked(token.marks)
        transaction.set_rollback(True)
    assert not is_revoked(token)
    assert not is_revoked(AccessToken.for_user(user))


def test_redis_is_not_told_what_is_rolled_back(user, redis):
    token = AccessToken.for_user(user)
    assert not is_revoked(token)
    with transaction.atomic():
        journal.revoke_user(str(user.pk))
        arrears.due, arrears._next = True, 0.0
        assert revocation.is_revoked(token.marks)
        transaction.set_rollback(True)
    assert not is_revoked(token)
    assert not is_revoked(AccessToken.for_user(user))


def test_redis_is_told_and_refilled_after_the_commit(user, redis):
    token = AccessToken.for_user(user)
    arrears.due, arrears._next = True, 0.0
    with transaction.atomic():
        assert not is_revoked(token)
    assert not arrears.due
    with transaction.atomic():
        assert not is_revoked(token)
        assert not redis.client().keys("*generation*")
    assert redis.client().keys("*generation*")


def test_what_fails_in_an_unforeseen_way_is_still_due():
    def fail():
        raise RuntimeError("unforeseen")

    due = Arrears()
    with pytest.raises(RuntimeError):
        due.settle(fail, at_once=True)
    assert due.due


def test_redis_is_told_before_any_receiver(user, redis):
    found = []

    def receiver(**kwargs):
        found.extend(redis.client().keys("*revoked*"))

    token_revoked.connect(receiver)
    AccessToken.for_user(user).blacklist()
    token_revoked.disconnect(receiver)
    assert found


def test_a_database_that_goes_away_after_the_commit_undoes_no_revocation(
    user, redis, monkeypatch
):
    def away():
        raise OperationalError("gone")

    token = AccessToken.for_user(user)
    monkeypatch.setattr(journal, "deliver_due", away)
    assert journal.revoke_everybody().delivered is False
    assert is_revoked(token)
    assert arrears.due


# -- With ATOMIC_REQUESTS --------------------------------------------------------------


@pytest.fixture
def atomic_requests(monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)


@pytest.mark.parametrize("name", ["refresh", "demo-refresh"])
def test_reuse_is_recorded_by_each_view_of_the_project(
    user, api, perfguard, settings, atomic_requests, name
):
    perfguard(TOKEN_REUSE_GRACE=0.0)
    settings.ROOT_URLCONF = "tests.tokens.doors"
    refresh = RefreshToken.for_user(user)
    assert [post(name, refresh=str(refresh)) for _ in range(2)] == [200, 401]
    assert TokenSession.objects.get(pk=refresh["sid"]).end_reason == "reuse"


def tokens_checks():
    found = [each.id for each in run_checks()]
    return [each for each in found if each in {"perfguard.E409", "perfguard.E410"}]


def test_a_view_whose_refusal_undoes_what_it_records(settings, atomic_requests):
    settings.ROOT_URLCONF = __name__
    assert tokens_checks() == ["perfguard.E409"]


def test_views_whose_refusals_undo_nothing(settings, atomic_requests, monkeypatch):
    own = [path("refresh", views.TokenRefreshView.as_view())]
    monkeypatch.setattr(f"{__name__}.urlpatterns", own)
    settings.ROOT_URLCONF = __name__
    assert tokens_checks() == []


def test_without_atomic_requests_simplejwts_views_will_do(settings):
    settings.ROOT_URLCONF = __name__
    assert tokens_checks() == []


def test_times_without_a_zone_are_an_error(settings):
    settings.USE_TZ = False
    assert tokens_checks() == ["perfguard.E410"]


# -- Classes of the project's own ------------------------------------------------------


class Named(RefreshToken):
    @classmethod
    def for_user(cls, user):
        token = super().for_user(user)
        token["made"] = "here"
        return token


class Mine(TokenObtainPairSerializer):
    """As simplejwt's manual has it."""

    token_class = Named

    @classmethod
    def get_token(cls, user):
        token = super().get_token(user)
        token["name"] = user.email
        return token


def test_a_project_adds_claims_as_simplejwt_has_it(user, perfguard, rf):
    perfguard()
    requests = []

    def receiver(request, **kwargs):
        requests.append(request)

    request = rf.post("/", headers={"User-Agent": "curl/8"}, REMOTE_ADDR="203.0.113.7")
    body = {"email": user.email, "password": PASSWORD}
    form = Mine(data=body, context={"request": request})
    user_signed_in.connect(receiver)
    form.is_valid(raise_exception=True)
    user_signed_in.disconnect(receiver)
    claims = claims_of(form.validated_data["access"])
    session = TokenSession.objects.get(pk=claims["sid"])
    assert (claims["name"], claims["made"]) == (user.email, "here")
    assert (session.address, session.user_agent) == ("203.0.113.7", "curl/8")
    assert requests == [request]


def test_a_new_password_by_a_proxy_of_the_user_model_revokes(
    user, perfguard, proxy_model
):
    perfguard()
    token = AccessToken.for_user(user)
    proxy = proxy_model.objects.get(pk=user.pk)
    proxy.set_password("another-long-password")
    proxy.save()
    assert is_revoked(token)


# -- Answers that are repeated ---------------------------------------------------------


def test_ending_sessions_is_not_done_before_redis_knows(
    api, user, own_redis, perfguard
):
    perfguard(REDIS_URL=own_redis.url)
    mine, *others = (RefreshToken.for_user(user) for _ in range(4))
    access, sid = str(mine.access_token), others[0]["sid"]
    assert api.status(access) == 200
    get_client().circuit.is_open = True
    answers = [api.delete(f"auths/sessions/{sid}", access) for _ in range(3)]
    answers += [api.delete("auths/sessions", access) for _ in range(3)]
    assert {each.status_code for each in answers} == {503}
    assert TokenSession.objects.filter(ended_at=None).count() == 1
    get_client().circuit.is_open = False
    answers = [api.delete("auths/sessions", access) for _ in range(2)]
    assert [each.status_code for each in answers] == [204, 204]
    assert api.delete(f"auths/sessions/{sid}", access).status_code == 404


def test_an_account_that_may_not_ask_about_redis_is_answered_by_the_journal(
    user, own_redis, perfguard
):
    own_redis.client().execute_command(
        *["ACL", "SETUSER", "guard", "on", ">word", "~*", "+@all", "-info"]
    )
    perfguard(REDIS_URL=own_redis.url.replace("redis://", "redis://guard:word@"))
    good, gone = AccessToken.for_user(user), AccessToken.for_user(user)
    assert gone.blacklist().delivered is True
    assert [is_revoked(each) for each in (good, gone)] == [False, True]
    assert not get_client().is_away("user:1")


# -- The admin -------------------------------------------------------------------------


def test_saving_the_page_of_a_session_ends_nothing_and_revives_nothing(
    root, user, monkeypatch
):
    sid = RefreshToken.for_user(user)["sid"]
    save_form = admin.TokenSessionAdmin.save_form

    def interrupted(*args, **kwargs):
        journal.end_session(sid)
        return save_form(*args, **kwargs)

    monkeypatch.setattr(admin.TokenSessionAdmin, "save_form", interrupted)
    assert root.post(f"{SESSIONS}{sid}/change/", {}).status_code == 302
    assert TokenSession.objects.get(pk=sid).ended_at is not None


@pytest.mark.parametrize(
    "wrong",
    [{"user_key": "ada@example.com"}, {"expires_at_0": "2020-01-01"}],
    ids=["no-user", "expired"],
)
def test_what_would_revoke_nothing_is_not_said_to_have(root, user, wrong):
    token = AccessToken.for_user(user)
    body = {"jti": token["jti"], "user_key": user.pk, "expires_at_1": "00:00:00"}
    body |= {"expires_at_0": "2099-01-01"} | wrong
    answer = root.post(f"{TOKENS}add/", body)
    assert answer.status_code == 200
    assert not RevokedToken.objects.exists()


def test_a_token_knows_its_end_better_than_who_typed_it(user, perfguard):
    perfguard()
    token = AccessToken.for_user(user)
    RevokedToken.objects.create(
        jti=token["jti"],
        user_key="somebody",
        expires_at=timezone.now() - timedelta(days=1),
        revoked_at=timezone.now(),
    )
    token.blacklist()
    assert prune(RevokedToken) == 0
    assert is_revoked(token)


def test_all_sessions_of_a_list_are_ended_though_they_be_very_many(root, user):
    now = timezone.now()
    TokenSession.objects.bulk_create(
        TokenSession(
            sid=f"s{number}",
            user=user,
            user_key=str(user.pk),
            created=now,
            last_used=now,
            current_jti="j",
        )
        for number in range(1100)
    )
    chosen = {"action": "end_selected", "_selected_action": "s1", "select_across": "1"}
    page = root.post(SESSIONS, chosen).content.decode()
    assert page.count('name="_selected_action"') == 1
    assert 'name="select_across" value="1"' in page
    assert root.post(SESSIONS, chosen | {"confirmed": "yes"}).status_code == 302
    assert not TokenSession.objects.filter(ended_at=None).exists()


def test_users_without_an_address_are_found_by_their_name(root, user, monkeypatch):
    monkeypatch.setattr(get_user_model(), "EMAIL_FIELD", "missing")
    RefreshToken.for_user(user)
    answer = root.get(SESSIONS, {"q": "ADA@example.com"})
    assert len(answer.context["cl"].result_list) == 1


@pytest.mark.parametrize("name", ["tokensession", "revokedtoken", "tokengeneration"])
def test_no_page_of_a_list_reads_the_whole_table_for_its_filters(root, name):
    with CaptureQueriesContext(connection) as captured:
        assert root.get(f"/admin/perfguard/{name}/").status_code == 200
    assert not [each for each in captured if "DISTINCT" in each["sql"]]


def test_sessions_are_narrowed_by_why_they_ended(root, user):
    gone, live = (RefreshToken.for_user(user)["sid"] for _ in range(2))
    journal.end_session(gone, reason="reuse")
    found = [
        [each.pk for each in root.get(SESSIONS, query).context["cl"].result_list]
        for query in ({"end_reason": "reuse"}, {})
    ]
    assert found == [[gone], [live, gone]]


def test_after_a_backup_was_restored_nobody_is_locked_out_for_long(user, redis):
    generation = journal.generation_of(str(user.pk))
    assert not is_revoked(AccessToken.for_user(user))
    journal.revoke_user(str(user.pk))
    TokenGeneration.objects.update(generation=generation)
    journal.revoke_everybody()
    assert not is_revoked(AccessToken.for_user(user))
