"""API keys on the admin site."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib import admin
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.auth.models import Permission
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from perfguard.api_keys import services
from perfguard.api_keys.admin import ApiKeyAdmin
from perfguard.api_keys.models import ApiKey

pytestmark = [
    pytest.mark.urls("tests.api_keys.urls_api_keys"),
    pytest.mark.django_db(transaction=True),
]

LIST = "/admin/perfguard/apikey/"
ADD = f"{LIST}add/"
SECRET = re.compile(r"pgk_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}")


@pytest.fixture
def root(boss, perfguard):
    perfguard()
    client = Client()
    client.force_login(boss)
    return client


@pytest.fixture
def staff(other, perfguard):
    """``staff("change_apikey")`` is somebody of the staff with those permissions."""
    perfguard()

    def sign_in(*names):
        other.is_staff = True
        other.save()
        for name in names:
            other.user_permissions.add(Permission.objects.get(codename=name))
        client = Client()
        client.force_login(other)
        return client

    return sign_in


def page(issued, name="change"):
    return f"{LIST}{issued.api_key.pk}/{name}/"


def form(owner, **fields):
    empty = {
        "expires_at_0": "",
        "expires_at_1": "",
        "allowed_endpoints": "",
        "rate": "",
    }
    return {"owner": owner.pk, "label": "made here", **empty, **fields}


def text_of(answer):
    """The one secret that the page shows."""
    (text,) = set(SECRET.findall(answer.content.decode()))
    return text


# -- the secret ------------------------------------------------------------------------


def test_the_answer_that_makes_a_key_shows_it(root, api, owner):
    answer = root.post(ADD, form(owner))
    assert answer.status_code == 200
    assert "no-store" in answer.headers["Cache-Control"]
    assert api.status(text_of(answer)) == 200
    row = ApiKey.objects.get()
    assert (row.owner, row.label) == (owner, "made here")
    assert row.created_by == str(root.session["_auth_user_id"])


@pytest.mark.parametrize("button", ["_continue", "_addanother", "_save", "_popup"])
def test_whatever_button_was_pressed(root, owner, button):
    assert text_of(root.post(ADD, form(owner, **{button: "1"})))


def test_the_secret_is_nowhere_else(root, owner, issued):
    made = root.post(ADD, form(owner))
    rotated = root.post(page(issued, "rotate"), {"overlap": "1h"})
    for answer in (made, rotated):
        text = text_of(answer)
        secret = text.rpartition("_")[2]
        later = [
            *(str(each.__dict__) for each in LogEntry.objects.all()),
            *(str(each.get_decoded()) for each in Session.objects.all()),
            *(str(row) for row in ApiKey.objects.values()),
            str(root.cookies),
            str(answer.headers),
            root.get(LIST).content.decode(),
            root.get(f"{LIST}{ApiKey.objects.first().pk}/history/").content.decode(),
            root.get(page(issued)).content.decode(),
        ]
        assert not [where for where in later if secret in where]
        assert "Location" not in answer.headers
        assert "messages" not in answer.cookies


def test_no_page_shows_a_hash(root, issued):
    stored = issued.api_key.hashed_secret.partition("$")[2]
    for path in (LIST, page(issued), page(issued, "history"), page(issued, "revoke")):
        answer = root.get(path)
        assert answer.status_code == 200
        assert stored not in answer.content.decode()
        assert "hashed" not in answer.content.decode()


def test_no_page_of_its_own_has_script_or_style_within(root, issued, owner):
    answers = [
        root.get(page(issued, "rotate")),
        root.get(page(issued, "revoke")),
        root.post(ADD, form(owner)),
    ]
    for answer in answers:
        html = answer.content.decode()
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", html)
        assert not re.search(r"<script(?![^>]*\ssrc=)", html)


# -- making and changing ---------------------------------------------------------------


def test_nobody_chooses_an_id_or_a_hash_on_a_form(root, owner):
    chosen = {"key_id": "A" * 12, "hashed_secret": "v1$x", "revoked_at_0": "2020-01-01"}
    root.post(ADD, form(owner, **chosen))
    row = ApiKey.objects.get()
    assert row.key_id != "A" * 12
    assert row.hashed_secret != "v1$x"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"is_restricted": "on"}, "allowed_endpoints"),
        ({"allowed_endpoints": "GET chats"}, "is_restricted"),
        (
            {"is_restricted": "on", "allowed_endpoints": "GET chats\n\nGET who"},
            "allowed_endpoints",
        ),
        ({"is_restricted": "on", "allowed_endpoints": "GET x"}, "allowed_endpoints"),
        ({"is_restricted": "on", "allowed_endpoints": "chats"}, "allowed_endpoints"),
        ({"expires_at_0": "2001-01-01", "expires_at_1": "00:00"}, "expires_at"),
        ({"label": " "}, "label"),
    ],
)
def test_what_cannot_be_is_said_at_its_field(root, owner, fields, field):
    answer = root.post(ADD, form(owner, **fields))
    assert answer.status_code == 200
    assert set(answer.context["adminform"].form.errors) == {field}
    assert not ApiKey.objects.exists()


def test_the_maximum_of_the_site_holds_here_too(root, owner, perfguard):
    perfguard(API_KEYS_MAX_LIFETIME="1d")
    late = (timezone.now() + timedelta(days=3)).date().isoformat()
    answer = root.post(ADD, form(owner, expires_at_0=late, expires_at_1="00:00"))
    assert set(answer.context["adminform"].form.errors) == {"expires_at"}
    root.post(ADD, form(owner))
    assert ApiKey.objects.get().expires_at is not None


def test_restrictions_can_be_given_and_taken(root, issued, owner, api, redis, changed):
    assert api.status(issued.text) == 200
    changed.clear()
    limits = {"is_restricted": "on", "allowed_endpoints": "GET chats\r\nGET notes:list"}
    answer = root.post(page(issued), form(owner, **limits))
    assert answer.status_code == 302
    assert api.status(issued.text) == 403
    assert api.status(issued.text, "/api/v1/notes") == 200
    root.post(page(issued), form(owner))
    assert api.status(issued.text) == 200
    assert [each["change"] for each in changed] == ["restricted"] * 2


def test_owner_and_history_of_a_key_cannot_be_changed(root, issued, other):
    root.post(page(issued), form(other, revoked_at_0="", key_id="A" * 12, created=""))
    row = ApiKey.objects.get()
    assert row.owner != other
    assert row.label == "made here"
    assert row.key_id == issued.api_key.key_id


@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_a_key_that_has_ended_stays_as_it_is(root, issued, owner, how):
    over = timezone.now() - timedelta(seconds=1)
    ended = {"revoked_at": over} if how == "revoked" else {"expires_at": over}
    ApiKey.objects.update(**ended)
    html = root.get(page(issued)).content.decode()
    assert 'name="label"' not in html
    assert "/rotate/" not in html
    root.post(
        page(issued), form(owner, expires_at_0="2099-01-01", expires_at_1="00:00")
    )
    row = ApiKey.objects.get()
    assert row.label == "nightly report"
    assert row.state == how
    assert not row.is_in_use


def test_a_key_that_ends_while_its_form_is_open_is_not_changed(
    root, issued, owner, monkeypatch
):
    save = ApiKeyAdmin.save_model

    def revoked_meanwhile(self, request, obj, form, change):
        services.revoke(ApiKey.objects.get())
        return save(self, request, obj, form, change)

    monkeypatch.setattr(ApiKeyAdmin, "save_model", revoked_meanwhile)
    answer = root.post(page(issued), form(owner, label="late"))
    assert answer.status_code == 403
    assert ApiKey.objects.get().label == "nightly report"
    assert not LogEntry.objects.exists()


# -- rotating and revoking -------------------------------------------------------------


def test_rotating_asks_then_shows_the_new_key(root, issued, api):
    asked = root.get(page(issued, "rotate"))
    assert b'value="1d"' in asked.content
    assert ApiKey.objects.count() == 1
    answer = root.post(page(issued, "rotate"), {"overlap": "1h"})
    assert "no-store" in answer.headers["Cache-Control"]
    assert api.status(text_of(answer)) == api.status(issued.text) == 200
    issued.api_key.refresh_from_db()
    assert issued.api_key.expires_at < timezone.now() + timedelta(minutes=61)


@pytest.mark.parametrize("overlap", ["", "soon", "-1", "0"])
def test_a_wrong_overlap_rotates_nothing(root, issued, overlap):
    answer = root.post(page(issued, "rotate"), {"overlap": overlap})
    assert answer.context["form"].errors
    assert ApiKey.objects.count() == 1


def test_a_key_that_has_ended_is_not_rotated(root, issued):
    services.revoke(issued.api_key)
    answer = root.post(page(issued, "rotate"), {"overlap": "1h"})
    assert "in use" in str(answer.context["form"].errors)
    assert ApiKey.objects.count() == 1


def test_revoking_asks_then_revokes(root, issued, api):
    assert b"cannot be undone" in root.get(page(issued, "revoke")).content
    assert api.status(issued.text) == 200
    answer = root.post(page(issued, "revoke"))
    assert (answer.status_code, answer.url) == (302, page(issued))
    assert api.status(issued.text) == 401
    assert ApiKey.objects.get().revoked_by == root.session["_auth_user_id"]


def test_many_are_revoked_after_a_question(root, owner, api):
    keys = [services.create(owner, str(number)) for number in range(3)]
    chosen = {
        "action": "revoke_selected",
        "_selected_action": [each.api_key.pk for each in keys[:2]],
    }
    asked = root.post(LIST, chosen)
    assert asked.content.count(b'name="_selected_action"') == 2
    assert ApiKey.objects.in_use().count() == 3
    root.post(LIST, chosen | {"confirmed": "yes"})
    assert [api.status(each.text) for each in keys] == [401, 401, 200]
    assert LogEntry.objects.filter(change_message="Revoked.").count() == 2


def test_whoever_revokes_is_told_when_redis_was_not(root, issued, perfguard):
    perfguard(REDIS_URL="redis://127.0.0.1:1/0")
    answer = root.post(page(issued, "revoke"), follow=True)
    assert b"Redis could not be told" in answer.content


def test_everything_is_logged(root, owner, boss):
    root.post(ADD, form(owner))
    row = ApiKey.objects.get()
    root.post(f"{LIST}{row.pk}/rotate/", {"overlap": "1h"})
    root.post(f"{LIST}{row.pk}/revoke/")
    entries = list(LogEntry.objects.order_by("pk"))
    assert [each.action_flag for each in entries] == [
        ADDITION,
        CHANGE,
        ADDITION,
        CHANGE,
    ]
    assert {each.user_id for each in entries} == {boss.pk}
    new = ApiKey.objects.get(replaced_by=None)
    assert entries[1].get_change_message() == f"Rotated; the new key is {new.key_id}."
    assert entries[3].get_change_message() == "Revoked."


# -- permissions -----------------------------------------------------------------------


def test_without_permission_there_is_nothing_to_see(staff, issued):
    client = staff()
    for path in (
        LIST,
        ADD,
        page(issued),
        page(issued, "rotate"),
        page(issued, "revoke"),
    ):
        assert client.get(path).status_code == 403
        assert client.post(path).status_code == 403
    assert ApiKey.objects.get().is_in_use


def test_who_may_look_may_not_act(staff, issued, owner):
    client = staff("view_apikey")
    html = client.get(page(issued)).content.decode()
    assert "/revoke/" not in html
    assert client.get(LIST).status_code == 200
    posts = {
        page(issued): form(owner),
        page(issued, "rotate"): {"overlap": "1h"},
        page(issued, "revoke"): {},
        ADD: form(owner),
    }
    for path, fields in posts.items():
        assert client.post(path, fields).status_code == 403
    client.post(
        LIST,
        {
            "action": "revoke_selected",
            "_selected_action": [issued.api_key.pk],
            "confirmed": "yes",
        },
    )
    forged = {
        "form-TOTAL_FORMS": "1",
        "form-INITIAL_FORMS": "1",
        "form-0-id": issued.api_key.pk,
        "form-0-label": "forged",
        "_save": "Save",
    }
    client.post(LIST, forged)
    row = ApiKey.objects.get()
    assert row.is_in_use
    assert row.label == "nightly report"


def test_rotating_needs_the_right_to_add_as_well(staff, issued):
    client = staff("view_apikey", "change_apikey")
    html = client.get(page(issued)).content.decode()
    assert "/revoke/" in html
    assert "/rotate/" not in html
    assert client.post(page(issued, "rotate"), {"overlap": "1h"}).status_code == 403
    assert client.post(page(issued, "revoke")).status_code == 302


def test_nobody_makes_themselves_a_superuser_by_a_key(staff, boss, owner):
    client = staff("view_apikey", "add_apikey", "change_apikey")
    answer = client.post(ADD, form(boss))
    assert set(answer.context["adminform"].form.errors) == {"owner"}
    theirs = services.create(boss, "of a superuser")
    assert client.post(page(theirs, "rotate"), {"overlap": "1h"}).status_code == 403
    assert text_of(client.post(ADD, form(owner)))
    # To end one is another matter.
    assert client.post(page(theirs, "revoke")).status_code == 302


def test_the_right_to_one_key_is_no_right_to_another(staff, issued, other, monkeypatch):
    mine = services.create(other, "mine")

    def only_mine(self, request, obj=None):
        return obj is None or obj.owner_id == request.user.pk

    monkeypatch.setattr(ApiKeyAdmin, "has_change_permission", only_mine)
    client = staff("view_apikey", "add_apikey")
    assert client.post(page(issued, "revoke")).status_code == 403
    assert client.post(page(issued, "rotate"), {"overlap": "1h"}).status_code == 403
    both = [issued.api_key.pk, mine.api_key.pk]
    chosen = {"action": "revoke_selected", "_selected_action": both}
    assert client.post(LIST, chosen | {"confirmed": "yes"}).status_code == 403
    assert client.post(page(mine, "revoke")).status_code == 302
    assert ApiKey.objects.in_use().get() == issued.api_key


def test_what_the_list_leaves_out_cannot_be_reached(root, issued, monkeypatch):
    monkeypatch.setattr(
        ApiKeyAdmin, "get_queryset", lambda self, request: ApiKey.objects.none()
    )
    for name in ("rotate", "revoke"):
        assert root.post(page(issued, name), {"overlap": "1h"}).status_code == 404
    assert ApiKey.objects.get().is_in_use


def test_a_key_that_is_not_there_is_404(root):
    for key in ("999", "x", "_5F"):
        for name in ("rotate", "revoke"):
            assert root.get(f"{LIST}{key}/{name}/").status_code == 404


def test_revoking_is_no_matter_of_a_get_or_of_another_site(root, issued, boss):
    root.get(page(issued, "revoke"))
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(boss)
    assert strict.post(page(issued, "revoke")).status_code == 403
    assert strict.post(page(issued, "rotate"), {"overlap": "1h"}).status_code == 403
    assert ApiKey.objects.get().is_in_use


def test_an_owner_can_be_deleted_with_their_keys(root, issued, owner, api):
    answer = root.post(f"/admin/demo/user/{owner.pk}/delete/", {"post": "yes"})
    assert answer.status_code == 302
    assert not ApiKey.objects.exists()
    assert api.status(issued.text) == 401


def test_a_deleted_key_is_refused_at_once(root, issued, api, redis):
    assert api.status(issued.text) == 200
    root.post(page(issued, "delete"), {"post": "yes"})
    assert api.status(issued.text) == 401


# -- the list --------------------------------------------------------------------------


def test_a_list_is_the_same_number_of_queries_whatever_its_length(root, owner, other):
    counts = []
    for number in range(4):
        for each in (owner, other):
            services.rotate(services.create(each, str(number)).api_key)
        with CaptureQueriesContext(connection) as seen:
            assert root.get(LIST).status_code == 200
        counts.append(len(seen))
    assert len(set(counts)) == 1


def test_a_list_counts_its_rows_once(root, issued):
    with CaptureQueriesContext(connection) as seen:
        root.get(f"{LIST}?q=nightly")
    counts = [
        each for each in seen if "COUNT" in each["sql"] and "apikey" in each["sql"]
    ]
    assert len(counts) <= 2


@pytest.mark.parametrize("words", ["nightly", "ada@example", "{id}"])
def test_keys_are_found_by_label_owner_and_public_id(root, issued, other, words):
    services.create(other, "another")
    words = words.format(id=issued.api_key.key_id)
    html = root.get(LIST, {"q": words}).content.decode()
    assert issued.api_key.key_id in html
    assert "another" not in html


def test_keys_are_filtered_by_state(root, owner):
    keys = {
        name: services.create(owner, name).api_key
        for name in ("active", "revoked", "expired", "old")
    }
    services.revoke(keys["revoked"])
    over = timezone.now() - timedelta(seconds=1)
    ApiKey.objects.filter(label="expired").update(expires_at=over)
    services.rotate(keys["old"])
    ApiKey.objects.filter(label="active").update(last_used_at=timezone.now())

    def labels(state):
        found = root.get(LIST, {"state": state}).context["cl"].queryset
        return sorted(each.label for each in found)

    assert labels("in_use") == ["active", "old", "old"]
    assert labels("replaced") == ["old"]
    assert labels("expired") == ["expired"]
    assert labels("revoked") == ["revoked"]
    assert labels("unused") == ["expired", "old", "old", "revoked"]
    assert len(labels("nonsense")) == 5


def test_the_state_of_each_key_is_shown(root, issued):
    assert b"active" in root.get(LIST).content
    services.revoke(issued.api_key)
    assert b"revoked" in root.get(page(issued)).content


def test_the_admin_passes_the_checks_of_django():
    assert ApiKeyAdmin(ApiKey, admin.site).check() == []
