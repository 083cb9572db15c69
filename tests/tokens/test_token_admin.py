"""Who may do what in the admin, and what it leaves behind."""

from __future__ import annotations

import pytest
from django.contrib.admin import site
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.test import Client

from perfguard.signals import token_revoked
from perfguard.tokens import journal
from perfguard.tokens.models import RevokedToken, TokenSession
from perfguard.tokens.tokens import RefreshToken

pytestmark = pytest.mark.django_db(transaction=True)
LIST = "/admin/perfguard/tokensession/"


@pytest.fixture
def staff(django_user_model):
    """Makes an administrator with the permissions that are named."""

    def make(*names):
        user = django_user_model.objects.create_user("staff@example.com", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=names))
        client = Client(raise_request_exception=False)
        client.force_login(user)
        return client

    return make


@pytest.fixture
def root(django_user_model):
    client = Client()
    client.force_login(django_user_model.objects.create_superuser("root@example.com"))
    return client


@pytest.fixture
def session(user):
    return TokenSession.objects.get(sid=RefreshToken.for_user(user)["sid"])


def action(client, name, *sids, confirmed=True):
    body = {"action": name, "_selected_action": sids}
    return client.post(LIST, body | ({"confirmed": "yes"} if confirmed else {}))


def is_ended(session):
    session.refresh_from_db()
    return session.ended_at is not None


def test_nothing_is_shown_without_permission(staff, session):
    client = staff()
    assert client.get(LIST).status_code == 403
    assert client.get(f"{LIST}{session.pk}/change/").status_code == 403
    assert "perfguard" not in client.get("/admin/").content.decode().lower()


@pytest.mark.parametrize("page", ["end", "everywhere"])
def test_who_may_only_look_ends_nothing(staff, session, page):
    client = staff("view_tokensession")
    assert client.get(LIST).status_code == 200
    answer = client.post(f"{LIST}{session.pk}/{page}/", {"confirmed": "yes"})
    assert answer.status_code == 403
    action(client, "end_selected", session.pk)
    action(client, "sign_out_selected", session.pk)
    assert not is_ended(session)


def test_permissions_on_single_objects_are_respected(root, session, monkeypatch):
    admin = site.get_model_admin(TokenSession)
    monkeypatch.setattr(
        admin, "has_change_permission", lambda request, obj=None: obj is None
    )
    assert action(root, "end_selected", session.pk).status_code == 403
    assert not is_ended(session)


def test_nothing_happens_before_the_question_is_answered(root, session):
    answer = action(root, "end_selected", session.pk, confirmed=False)
    assert "End these sessions?" in answer.content.decode()
    assert "End this session?" in root.get(f"{LIST}{session.pk}/end/").content.decode()
    assert not is_ended(session)


def test_a_link_alone_ends_nothing(root, session):
    root.get(f"{LIST}{session.pk}/end/?confirmed=yes")
    assert not is_ended(session)


def test_a_user_of_several_sessions_is_signed_out_once(root, user):
    told = []

    def hear(sender, signal, kind, user_key, **event):
        told.append((kind, user_key))

    sids = [RefreshToken.for_user(user)["sid"] for _ in range(3)]
    token_revoked.connect(hear)
    action(root, "sign_out_selected", *sids)
    token_revoked.disconnect(hear)
    assert told == [("user", str(user.pk))]
    assert not TokenSession.objects.filter(ended_at=None)


def test_what_was_done_is_in_the_admins_log(root, session):
    root.post(f"{LIST}{session.pk}/end/", {"confirmed": "yes"})
    assert is_ended(session)
    assert session.end_reason == "admin"
    entry = LogEntry.objects.get()
    assert entry.object_id == session.pk
    assert entry.user.email == "root@example.com"


def test_a_session_that_is_not_there_is_not_found(root):
    assert root.post(f"{LIST}none/end/", {"confirmed": "yes"}).status_code == 404


def test_revoked_tokens_can_neither_be_changed_nor_deleted(root, user):
    token = RefreshToken.for_user(user)
    token.blacklist()
    page = f"/admin/perfguard/revokedtoken/{token['jti']}"
    assert root.get(f"{page}/delete/").status_code == 403
    root.post(f"{page}/change/", {"jti": "other"})
    assert RevokedToken.objects.filter(jti=token["jti"]).exists()
    assert root.post(f"{LIST}{token['sid']}/delete/").status_code == 403


def test_a_token_is_revoked_by_its_id(root, user):
    token = RefreshToken.for_user(user)
    body = {"jti": token["jti"], "user_key": str(user.pk)}
    answer = root.post("/admin/perfguard/revokedtoken/add/", body)
    assert answer.status_code == 302
    with pytest.raises(Exception, match="revoked"):
        RefreshToken(str(token))


def test_a_page_of_many_sessions_takes_no_more_queries(
    root, user, django_assert_max_num_queries
):
    journal.generation_of(str(user.pk))
    for _ in range(60):
        RefreshToken.for_user(user)
    with django_assert_max_num_queries(8):
        assert root.get(LIST).status_code == 200
    with django_assert_max_num_queries(10):
        assert root.get(f"{LIST}?q=ada@example.com").status_code == 200


@pytest.mark.parametrize(
    "word", ["'", "%", "\x00", "a" * 5000, "<script>", "127.0.0.1", "é"]
)
def test_any_search_is_answered(root, session, word):
    assert root.get(LIST, {"q": word}).status_code == 200


def test_a_user_agent_is_shown_as_text(root, user, rf):
    request = rf.get("/", HTTP_USER_AGENT="<script>alert(1)</script>")
    sid = RefreshToken.for_user(user, request)["sid"]
    for page in (LIST, f"{LIST}{sid}/change/", f"{LIST}{sid}/end/"):
        assert "<script>alert" not in root.get(page).content.decode()
