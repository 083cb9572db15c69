"""Exports from the admin: by whom, of what, and that they are on record."""

from __future__ import annotations

import csv
import json

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.http import StreamingHttpResponse
from django.test import AsyncClient, Client

from perfguard.audit import log
from perfguard.audit.admin_pages import AuditLinkMixin
from perfguard.audit.models import AuditEntry
from perfguard.audit.pages import streams
from tests.audit.audit_admin_rows import LIST, row, store

EXPORT = f"{LIST}export/"
LINK = "All entries of this user"


@pytest.fixture(autouse=True)
def _quiet(perfguard):
    perfguard(AUDIT_EVENTS=())


@pytest.fixture
def staff(transactional_db, django_user_model):
    """Makes an administrator with the permissions that are named."""

    def make(*names, client=Client):
        user = django_user_model.objects.create_user("staff@example.com", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=names))
        browser = client()
        browser.force_login(user)
        return browser

    return make


@pytest.fixture
def exporter(staff):
    yield staff("view_auditentry", "export_auditentry")
    assert log.flush()


def numbers(answer):
    assert isinstance(answer, StreamingHttpResponse)
    lines = b"".join(answer.streaming_content).decode().splitlines()
    urls = [json.loads(line)["url"] for line in lines]
    return [int(url.rpartition("=")[2]) for url in urls]


def test_all_that_the_list_has_is_exported_not_a_page_of_it(exporter):
    store(*(row(number) for number in range(250)))
    store(*(row(number, status=404) for number in range(250, 255)))
    answer = exporter.post(f"{EXPORT}?status=2xx", {"jsonl": "1"})
    assert numbers(answer) == [*range(249, -1, -1)]
    answer = exporter.post(f"{EXPORT}?q=status:404&on=2026", {"jsonl": "1"})
    assert numbers(answer) == [254, 253, 252, 251, 250]


def test_selected_entries_are_exported(exporter):
    entries = store(*(row(number) for number in range(5)))
    chosen = [entries[1].pk, entries[3].pk]
    body = {"_selected_action": chosen, "action": "export_json_lines"}
    assert numbers(exporter.post(LIST, body)) == [3, 1]
    answer = exporter.post(LIST, body | {"action": "export_csv"})
    rows = list(csv.DictReader(b"".join(answer).decode().splitlines()))
    assert [each["url"] for each in rows] == [entries[3].url, entries[1].url]


def test_a_file_is_sent_that_nobody_keeps(exporter):
    store(row(1))
    answer = exporter.post(EXPORT, {"csv": "1"})
    assert answer["Content-Type"] == "text/csv"
    assert answer["Content-Disposition"].startswith('attachment; filename="audit-')
    assert "no-store" in answer["Cache-Control"]
    assert b"".join(answer).startswith(b"id,entry_id,")


def test_a_link_exports_nothing(exporter, entries):
    store(row(1))
    for query in ("", "?csv=1", "?q=user:42&jsonl=1"):
        answer = exporter.get(EXPORT + query)
        assert answer.status_code in {200, 302}
        assert not answer.streaming
    assert len(entries()) == 1


def test_the_question_names_what_is_asked_for(exporter):
    store(row(1))
    page = exporter.get(f"{EXPORT}?q=user:42&status=4xx&on=2026-11").content.decode()
    for text in ("user:42", "4xx", "2026-11"):
        assert f"<strong>{text}</strong>" in page
    assert "whole log" in exporter.get(EXPORT).content.decode()


def test_what_is_not_understood_is_not_exported(exporter, entries):
    store(row(1))
    answer = exporter.post(f"{EXPORT}?q=foo:bar", {"csv": "1"})
    assert answer.status_code == 302
    assert answer.url == f"{LIST}?q=foo%3Abar"
    assert len(entries()) == 1


def test_an_export_needs_the_token_of_its_form(staff):
    client = staff("view_auditentry", "export_auditentry", client=_strict)
    assert client.post(EXPORT, {"csv": "1"}).status_code == 403


def _strict():
    return Client(enforce_csrf_checks=True)


def test_who_may_only_look_exports_nothing(staff, entries):
    (entry,) = store(row(1))
    client = staff("view_auditentry")
    page = client.get(LIST).content.decode()
    assert "export/" not in page
    assert "export_csv" not in page
    assert client.get(EXPORT).status_code == 403
    assert client.post(EXPORT, {"csv": "1"}).status_code == 403
    for action in ("export_csv", "export_json_lines"):
        body = {"_selected_action": [entry.pk], "action": action}
        assert not client.post(LIST, body).streaming
    assert len(entries()) == 1


def test_who_may_export_but_not_look_exports_nothing(staff):
    store(row(1))
    client = staff("export_auditentry")
    assert client.post(EXPORT, {"csv": "1"}).status_code == 403


def test_an_export_is_on_record(exporter, entries):
    entry, *_ = store(row(1), row(2))
    b"".join(exporter.post(f"{EXPORT}?q=user:42", {"csv": "1"}))
    body = {"_selected_action": [entry.pk], "action": "export_json_lines"}
    assert numbers(exporter.post(LIST, body)) == [1]
    whole, selected = entries(kind="entries_exported")
    assert whole.actor_label == selected.actor_label == "staff@example.com"
    assert json.loads(whole.details) == {
        "entries": 2,
        "form": "csv",
        "asked": "q=user:42",
        "selected": "",
    }
    assert json.loads(selected.details)["selected"] == str(entry.pk)


def test_an_export_that_nobody_reads_to_its_end_is_on_record(
    exporter, entries, monkeypatch
):
    monkeypatch.setattr(streams, "PART", 1)
    store(*(row(number) for number in range(9)))
    answer = exporter.post(EXPORT, {"jsonl": "1"})
    parts = iter(answer)
    next(parts), next(parts)
    answer.close()
    answer.close()
    (entry,) = entries(kind="entries_exported")
    told = json.loads(entry.details)
    assert (told["entries"], told["failed"]) == (2, "broken off")


def test_an_export_that_was_never_read_is_on_record(exporter, entries):
    store(row(1))
    exporter.post(EXPORT, {"csv": "1"}).close()
    (entry,) = entries(kind="entries_exported")
    assert json.loads(entry.details)["entries"] == 0


def test_the_export_page_leads_back_to_what_was_asked(exporter):
    page = exporter.get(EXPORT).content.decode()
    assert f'href="{LIST}"' in page
    assert f'{LIST}?"' not in page
    assert 'href="/admin/perfguard/"' in page
    assert 'class="default"' not in page
    assert f'href="{EXPORT}"' in exporter.get(LIST).content.decode()
    page = exporter.get(f"{EXPORT}?q=user:42").content.decode()
    assert f'href="{LIST}?q=user%3A42"' in page


def test_an_export_is_sent_in_parts_and_never_held_whole():
    read = []

    def lines():
        for number in range(1000):
            read.append(number)
            yield "x" * 1000 + "\n"

    parts = streams.parts_of(lines())
    assert len(next(parts)) < 70_000
    assert len(read) < 70
    assert len(next(parts)) + len(b"".join(parts)) > 900_000


@async_to_sync
async def parts_on_the_loop(user):
    client = AsyncClient()
    await client.aforce_login(user)
    answer = await client.post(EXPORT, {"jsonl": "1"})
    assert answer.is_async
    return [part async for part in answer]


@pytest.mark.django_db(transaction=True)
def test_the_loop_gets_an_export_in_parts(admin_user, monkeypatch):
    monkeypatch.setattr(streams, "PART", 1)
    store(*(row(number) for number in range(3)))
    assert len([part for part in parts_on_the_loop(admin_user) if part]) == 3
    assert log.flush()
    details = AuditEntry.objects.get(kind="entries_exported").details
    assert json.loads(details)["entries"] == 3
    assert "failed" not in json.loads(details)


@async_to_sync
async def _first_part(user):
    client = AsyncClient()
    await client.aforce_login(user)
    answer = await client.post(EXPORT, {"jsonl": "1"})
    parts = aiter(answer)
    await anext(parts)
    await parts.aclose()
    await sync_to_async(answer.close)()


@pytest.mark.django_db(transaction=True)
def test_an_export_that_the_loop_breaks_off_is_on_record(admin_user, monkeypatch):
    monkeypatch.setattr(streams, "PART", 1)
    store(*(row(number) for number in range(3)))
    _first_part(admin_user)
    assert log.flush()
    told = json.loads(AuditEntry.objects.get(kind="entries_exported").details)
    assert (told["entries"], told["failed"]) == (1, "broken off")


# -- From a user ---------------------------------------------------------------------


def test_a_user_leads_to_their_entries(admin_client, django_user_model):
    user = django_user_model.objects.create_user("ada@example.com")
    page = admin_client.get(f"/admin/demo/user/{user.pk}/change/").content.decode()
    assert f'href="{LIST}?q=user%3A{user.pk}"' in page


def test_there_is_no_link_for_who_may_not_follow_it(staff):
    client = staff("view_user")
    user = client.session["_auth_user_id"]
    answer = client.get(f"/admin/demo/user/{user}/change/")
    assert answer.status_code == 200
    assert LINK not in answer.content.decode()


def test_a_new_user_has_no_link(admin_client):
    answer = admin_client.get("/admin/demo/user/add/")
    assert answer.status_code == 200
    assert LINK not in answer.content.decode()


@pytest.mark.django_db
def test_a_site_without_the_log_has_no_link(rf, admin_user, settings):
    class Users(AuditLinkMixin, admin.ModelAdmin):
        fields = ("email",)

    settings.ROOT_URLCONF = "tests.empty_urls"
    request = rf.get("/")
    request.user = admin_user
    users = Users(type(admin_user), admin.AdminSite("other"))
    assert len(users.get_fieldsets(request, admin_user)) == 1
