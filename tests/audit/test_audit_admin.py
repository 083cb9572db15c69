"""The list of entries in the admin: its pages, what they cost, and who may see them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from perfguard.audit.models import AuditEntry, AuditSeal
from perfguard.audit.pages import paging
from perfguard.audit.pages.paging import Position
from tests.audit.audit_admin_rows import (
    LIST,
    SEALS,
    entries_of,
    event,
    ids_of,
    row,
    seal,
    shown,
    store,
    told,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _quiet(perfguard):
    perfguard(AUDIT_EVENTS=())  # the list shows what the test stores, and no sign-in


@pytest.fixture
def staff(django_user_model):
    """Makes an administrator with the permissions that are named."""

    def make(*names):
        user = django_user_model.objects.create_user("staff@example.com", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=names))
        client = Client()
        client.force_login(user)
        return client

    return make


def follow(client, answer, which):
    return client.get(LIST + getattr(answer.context["cl"], f"{which}_url")())


# -- Pages --------------------------------------------------------------------------


def test_the_newest_entries_come_first(admin_client):
    store(*(row(number) for number in (2, 1, 3)))
    assert shown(admin_client) == [3, 2, 1]


def test_pages_lead_through_all_entries_and_back(admin_client):
    store(*(row(number // 3) for number in range(250)))  # three of one moment
    page = admin_client.get(LIST)
    down = [ids_of(page)]
    while page.context["cl"].page.older:
        page = follow(admin_client, page, "older")
        down.append(ids_of(page))
    up = [ids_of(page)]
    while page.context["cl"].page.newer:
        page = follow(admin_client, page, "newer")
        up.append(ids_of(page))
    everything = list(AuditEntry.objects.values_list("pk", flat=True))
    assert sum(down, []) == everything  # noqa: RUF017
    assert up[0] == down[-1]
    assert up[1] == everything[100:200]
    assert up[2] == everything[:100]
    assert page.context["cl"].page.newer is None


def test_entries_that_come_meanwhile_move_no_page(admin_client):
    store(*(row(number) for number in range(150)))
    first = admin_client.get(LIST)
    store(*(row(number) for number in range(1000, 1050)))
    second = follow(admin_client, first, "older")
    assert ids_of(second)[0] == ids_of(first)[-1] - 1


def test_the_newest_page_is_a_full_one_on_the_way_back(admin_client):
    store(*(row(number) for number in range(150)))
    place = Position.of(AuditEntry.objects.get(url__endswith="n=100"))
    assert len(shown(admin_client, f"?after={place.token()}")) == 100


def test_links_keep_what_narrows_the_list(admin_client):
    store(*(row(number, status=404) for number in range(150)))
    store(*(row(number) for number in range(150, 300)))
    query = "?q=user:42&status=4xx&on=2026-11"
    first = admin_client.get(LIST + query)
    second = follow(admin_client, first, "older")
    assert len(entries_of(second)) == 50
    assert {each.status for each in entries_of(second)} == {404}
    back = follow(admin_client, second, "newest")
    assert ids_of(back) == ids_of(first)


def test_a_filter_leads_to_the_newest_page(admin_client):
    store(*(row(number) for number in range(150)))
    second = follow(admin_client, admin_client.get(LIST), "older")
    links = second.context["cl"].get_query_string({"status": "2xx"})
    assert links == "?status=2xx"


@pytest.mark.parametrize(
    "token",
    ["", "1", "\x00", "WzEsMl0:1abcde:xyz", "😀", "a" * 5000],
    ids=["empty", "number", "nul", "forged", "emoji", "long"],
)
@pytest.mark.parametrize("name", ["before", "after"])
def test_a_forged_place_is_told_and_the_newest_page_shown(admin_client, name, token):
    store(row(1))
    answer = admin_client.get(LIST, {name: token})
    assert len(entries_of(answer)) == 1
    assert "This is no page of the list" in told(answer)[0]


def test_a_place_that_was_changed_is_told(admin_client):
    (entry,) = store(row(1))
    token = Position.of(entry).token()
    other = ("A" if token[0] != "A" else "B") + token[1:]
    assert told(admin_client.get(LIST, {"before": other}))
    assert not told(admin_client.get(LIST, {"before": token}))


def test_a_place_of_before_use_tz_was_changed_is_told(admin_client, settings):
    (entry,) = store(row(1))
    token = Position.of(entry).token()
    settings.USE_TZ = False
    assert told(admin_client.get(LIST, {"before": token}))


@pytest.mark.parametrize("query", ["?p=3", "?all=", "?o=1.-2", "?p=x&all=1&o=zz"])
def test_page_numbers_show_all_and_orders_are_not_known(admin_client, query):
    store(*(row(number) for number in range(150)))
    assert len(shown(admin_client, query)) == 100


@pytest.mark.parametrize(
    "query",
    ["url__regex=(a%2B)%2B", "request_body__contains=x", "id__gt=1", "at__year=1"],
)
def test_no_other_column_can_be_asked_for(admin_client, query):
    store(row(1))
    answer = admin_client.get(f"{LIST}?{query}")
    assert entries_of(answer) == []
    name = query.partition("=")[0]
    assert told(answer) == [f"“{name}” is no filter of this list."]
    answer = admin_client.get(f"{SEALS}?{query}", follow=True)
    assert answer.redirect_chain == [(SEALS, 302)]
    assert told(answer) == ["Seals cannot be narrowed; here are all of them."]


def test_what_is_no_filter_is_not_asked_for_again(admin_client):
    answer = admin_client.get(f"{LIST}?foo=bar&status=2xx")
    assert answer.context["cl"].newest_url() == "?status=2xx"


def test_an_empty_log_says_so(admin_client):
    assert "No entries." in admin_client.get(LIST).content.decode()


def test_no_entry_is_selected_beforehand(admin_client):
    (entry,) = store(row(1))
    page = admin_client.get(LIST).content.decode()
    box = f'<input type="checkbox" name="_selected_action" value="{entry.pk}"'
    assert box in page
    assert " checked" not in page


# -- What is looked for entry by entry ------------------------------------------------


@pytest.fixture
def small_strides(monkeypatch):
    monkeypatch.setattr(paging, "STRIDE", 10)


def rare(number):
    return row(number, url=f"/rare?n={number}") if number % 40 == 7 else row(number)


@pytest.mark.usefixtures("small_strides")
def test_strides_find_all_that_matches(admin_client):
    store(*(rare(number) for number in range(200)))
    assert shown(admin_client, "?q=/rare") == [167, 127, 87, 47, 7]
    assert shown(admin_client, "?q=/rare+user:42") == [167, 127, 87, 47, 7]
    assert shown(admin_client, "?q=/rare+user:nobody") == []


@pytest.mark.usefixtures("small_strides")
def test_strides_skip_none_of_one_moment(admin_client):
    store(*(row(number // 30, url=f"/rare?n={number}") for number in range(90)))
    assert sorted(shown(admin_client, "?q=/rare")) == list(range(90))


@pytest.mark.usefixtures("small_strides")
def test_when_the_time_is_over_the_page_says_so_and_leads_on(admin_client, monkeypatch):
    monkeypatch.setattr(paging, "SECONDS", -1.0)
    store(*(rare(number) for number in range(100)))
    found, page = [], admin_client.get(f"{LIST}?q=/rare")
    assert "No index answers this" in page.content.decode()
    steps = 0
    while page.context["cl"].page.older:
        found += ids_of(page)
        page, steps = follow(admin_client, page, "older"), steps + 1
    assert len(found + ids_of(page)) == 3
    assert steps > 5
    back, page = ids_of(page), follow(admin_client, page, "newer")
    while page.context["cl"].page.newer:
        back += ids_of(page)
        page = follow(admin_client, page, "newer")
    assert sorted(back + ids_of(page)) == sorted(found)


@pytest.mark.usefixtures("small_strides")
def test_no_page_on_the_way_back_shows_what_the_one_before_it_did(
    admin_client, monkeypatch
):
    monkeypatch.setattr(paging, "SECONDS", -1.0)
    store(*(row(number, url=f"/rare?n={number}") for number in range(95)))
    page = admin_client.get(f"{LIST}?q=/rare")
    while page.context["cl"].page.older:
        page = follow(admin_client, page, "older")
    pages = []
    while page.context["cl"].page.newer:
        pages.append(ids_of(page))
        page = follow(admin_client, page, "newer")
    seen = [each for ids in pages for each in ids]
    assert len(pages) > 5
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize(
    "query",
    [
        "q=status:200",
        "q=user:42",
        "q=203.0.113.7",
        "q=request:request-7",
        "q=trace:abc",
        "q=session:abc",
        "q=kind:sign_in",
        "kind=sign_in",
        "outcome=refused",
    ],
)
def test_what_an_index_answers_is_asked_at_once(admin_client, query):
    store(*(row(number) for number in range(150)))
    with CaptureQueriesContext(connection) as queries:
        admin_client.get(f"{LIST}?{query}&time=month&on=2026")
    assert not [each for each in queries if "OFFSET" in each["sql"]]


# -- What it costs -------------------------------------------------------------------

# Of the session, of its user, of drops, of the entries, of the oldest one.
QUERIES = 5


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", QUERIES),
        ("?on=2026-11", QUERIES),
        ("?time=week&kind=sign_in&outcome=refused", QUERIES + 1),
        ("?status=4xx&method=POST&by=token", QUERIES + 1),
        ("?q=user:42", QUERIES + 1),
        ("?q=203.0.113.7", QUERIES),
        ("?q=request:request-5", QUERIES),
        ("?_popup=1", QUERIES),
        ("?_facets=True", QUERIES),
        ("?all=", QUERIES),
    ],
)
def test_a_page_counts_nothing_and_asks_no_more_for_more_rows(
    admin_client, query, count
):
    store(*(row(number, actor_id="42") for number in range(350)))
    with CaptureQueriesContext(connection) as queries:
        assert admin_client.get(LIST + query).status_code == 200
    asked = [each["sql"] for each in queries]
    assert len(asked) == count, asked
    assert not [sql for sql in asked if "COUNT(" in sql.upper()]
    assert not [sql for sql in asked if "request_body" in sql]


def test_an_entry_is_read_once_with_its_neighbours(admin_client):
    entries = store(*(row(number) for number in range(3)))
    with CaptureQueriesContext(connection) as queries:
        answer = admin_client.get(f"{LIST}{entries[1].pk}/change/")
    asked = [
        each["sql"] for each in queries if 'FROM "perfguard_auditentry"' in each["sql"]
    ]
    assert len(asked) == 3
    assert answer.context["newer"] == str(entries[2].pk)
    assert answer.context["older"] == str(entries[0].pk)


def test_seals_are_not_counted(admin_client):
    AuditSeal.objects.bulk_create([seal(number) for number in range(1, 251)])
    with CaptureQueriesContext(connection) as queries:
        answer = admin_client.get(f"{SEALS}?p=3")
    asked = [each["sql"] for each in queries]
    assert not [sql for sql in asked if "COUNT(" in sql or "marks" in sql]
    assert answer.context["cl"].result_count == 250
    assert [each.number for each in answer.context["cl"].result_list][-1] == 1


# -- Drops ---------------------------------------------------------------------------


def test_drops_of_the_past_week_are_told_on_top(admin_client):
    now = timezone.now()
    drop = '{"sink": "database", "reason": "full", "count": 20}'
    old = event(1, "entries_dropped", at=now - timedelta(days=8), details=drop)
    store(old)
    assert told(admin_client.get(LIST)) == []
    store(*(event(1, "entries_dropped", at=now, details=drop) for _ in range(2)))
    store(event(1, "entries_dropped", at=now, details="not JSON"))
    (notice,) = told(admin_client.get(LIST))
    assert notice.startswith("41 entries were dropped within the past 7 days.")
    assert "?q=kind%3Aentries_dropped" in notice


# -- Who may --------------------------------------------------------------------------

PAGES = ["", "{}/change/", "{}/history/", "export/", "{}/delete/", "add/"]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("names", [(), ("export_auditentry",), ("view_auditseal",)])
def test_without_permission_nothing_is_seen(staff, page, names):
    (entry,) = store(row(1, url="/seen?n=1"))
    client = staff(*names)
    for answer in (
        client.get(LIST + page.format(entry.pk)),
        client.post(LIST + page.format(entry.pk), {"csv": "1", "post": "yes"}),
    ):
        assert answer.status_code == 403
        assert "/seen" not in answer.content.decode()


@pytest.mark.parametrize("page", PAGES)
def test_who_is_not_signed_in_is_sent_away(client, page):
    answer = client.get(LIST + page.format(1))
    assert answer.status_code == 302
    assert answer.url.startswith("/admin/login/")


def test_who_may_view_sees_entries_and_seals_apart(staff):
    (entry,) = store(row(1))
    client = staff("view_auditentry")
    assert client.get(LIST).status_code == 200
    assert client.get(f"{LIST}{entry.pk}/change/").status_code == 200
    assert client.get(SEALS).status_code == 403


def test_an_entry_that_is_not_there_is_not_an_error(admin_client):
    assert admin_client.get(f"{LIST}999/change/").status_code == 302
    assert admin_client.get(f"{LIST}none/change/").status_code == 302


# -- Nobody changes it ---------------------------------------------------------------


def test_not_even_a_superuser_changes_an_entry(admin_client):
    (entry,) = store(row(1))
    one = f"{LIST}{entry.pk}/"
    changed = {"url": "/other", "status": "404", "_save": "1", "post": "yes"}
    for page in (f"{one}change/", f"{one}delete/", f"{LIST}add/"):
        assert admin_client.post(page, changed).status_code == 403
    assert admin_client.get(f"{LIST}add/").status_code == 403
    assert admin_client.get(f"{one}delete/").status_code == 403
    body = {"_selected_action": [entry.pk], "index": "0", "post": "yes"}
    admin_client.post(LIST, {**body, "action": "delete_selected"})
    admin_client.post(LIST, {**changed, "form-0-id": entry.pk, "form-TOTAL_FORMS": 1})
    kept = AuditEntry.objects.get()
    assert (kept.url, kept.mac) == (entry.url, entry.mac)


def test_not_even_a_superuser_changes_a_seal(admin_client):
    AuditSeal.objects.bulk_create([seal(1)])
    one = f"{SEALS}1/"
    assert admin_client.get(f"{one}change/").status_code == 200
    for page in (f"{one}change/", f"{one}delete/", f"{SEALS}add/"):
        body = {"count": "1", "_save": "1", "post": "yes"}
        assert admin_client.post(page, body).status_code == 403
    admin_client.post(
        SEALS, {"_selected_action": ["1"], "action": "delete_selected", "post": "yes"}
    )
    assert AuditSeal.objects.get().count == 1000


def test_the_history_of_an_entry_or_a_seal_is_its_page(admin_client):
    (entry,) = store(row(1))
    AuditSeal.objects.bulk_create([seal(1)])
    for one in (f"{LIST}{entry.pk}/", f"{SEALS}1/"):
        answer = admin_client.get(f"{one}history/")
        assert (answer.status_code, answer.url) == (302, f"{one}change/")
        assert "/history/" not in admin_client.get(f"{one}change/").content.decode()


def test_who_may_not_see_a_seal_sees_no_history_of_it(staff):
    AuditSeal.objects.bulk_create([seal(1)])
    assert staff("view_auditentry").get(f"{SEALS}1/history/").status_code == 403


def test_a_superuser_is_offered_no_change(admin_client):
    (entry,) = store(row(1))
    page = admin_client.get(f"{LIST}{entry.pk}/change/").content.decode()
    for name in ("_save", "deletelink", "<textarea", "/history/"):
        assert name not in page
    assert "delete_selected" not in admin_client.get(LIST).content.decode()


def test_a_seal_leads_to_its_entries(admin_client, staff):
    store(*(row(number, pk=number) for number in range(990, 1010)))
    AuditSeal.objects.bulk_create([seal(1)])
    page = admin_client.get(f"{SEALS}1/change/").content.decode()
    assert f'href="{LIST}?q=entry%3A1000-1999"' in page
    assert shown(admin_client, "?q=entry:1000-1999") == [*range(1009, 999, -1)]
    page = staff("view_auditseal").get(f"{SEALS}1/change/").content.decode()
    assert "Its entries" not in page


def test_the_list_tells_of_an_event_in_short(admin_client):
    details = '{"entries": 2, "form": "csv", "asked": "q=<b>", "selected": ""}'
    store(event(1, "entries_exported", details=details))
    page = admin_client.get(LIST).content.decode()
    assert "entries=2 form=csv asked=q=&lt;b&gt;<" in page
    store(event(1, "of_my_own", details="no JSON"), event(1, "other", details="[1]"))
    page = admin_client.get(LIST).content.decode()
    assert "no JSON" in page
    assert "[1]" in page


def test_a_filter_is_named_by_what_it_is(admin_client):
    page = admin_client.get(LIST).content.decode()
    assert "By kind of sign-in" in page
