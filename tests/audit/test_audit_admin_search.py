"""What the search box, the filters and the days find."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from django.utils import timezone
from django.utils.http import urlencode

from perfguard.audit.pages import search
from tests.audit.audit_admin_rows import (
    LIST,
    entries_of,
    event,
    row,
    shown,
    store,
    told,
)

pytestmark = pytest.mark.django_db

HEX = "0af7651916cd43dd8448eb211c80319c"
DASHED = str(UUID(HEX))


@pytest.fixture(autouse=True)
def _quiet(perfguard):
    perfguard(AUDIT_EVENTS=())


def asked(client, text, **filters):
    return shown(client, "?" + urlencode({"q": text, **filters}))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("user:7", {"actor_id": "7"}),
        ("user:grace@example.com", {"actor_label": "grace@example.com"}),
        ("grace@example.com", {"actor_label": "grace@example.com"}),
        ("Grace@Example.com", {"actor_label": "grace@example.com"}),
        ("USER:grace", {"actor_label": "grace"}),
        ("grace", {"actor_label": "grace"}),
        ('user:"Grace H. \\"G\\""', {"actor_label": 'Grace H. "G"'}),
        ('"Grace Hopper"', {"actor_label": "Grace Hopper"}),
        ('user:"svc:reader"', {"actor_label": "svc:reader"}),
        ("198.51.100.9", {"address": "198.51.100.9"}),
        ("2001:DB8::1", {"address": "2001:db8::1"}),
        ("address:2001:db8:0::1", {"address": "2001:db8::1"}),
        (HEX, {"entry_id": UUID(HEX)}),
        (DASHED, {"entry_id": UUID(HEX)}),
        (HEX.upper(), {"trace_id": HEX}),
        (HEX, {"request_id": HEX}),
        (HEX, {"request_id": DASHED}),
        (DASHED.upper(), {"request_id": DASHED.upper()}),
        (HEX, {"marker": HEX}),
        (f"entry:{DASHED}", {"entry_id": UUID(HEX)}),
        ("entry:123456789", {"pk": 123456789}),
        ("entry:123456780-123456789", {"pk": 123456789}),
        ("404", {"actor_id": "404"}),
        ("404", {"actor_label": "404"}),
        ("request:abc", {"request_id": "abc"}),
        (f"trace:{HEX.upper()}", {"trace_id": HEX}),
        ("session:5d41402abc4b2a76", {"marker": "5d41402abc4b2a76"}),
        ("key:ab12", {"marker": "ab12"}),
        ("status:503", {"status": 503}),
        ("status:5xx", {"status": 599}),
        ("kind:sign_in", {"kind": "sign_in"}),
        ("kind:of_my_own", {"kind": "of_my_own"}),
        ("outcome:aborted", {"outcome": "aborted"}),
        ("method:delete", {"method": "DELETE"}),
        ("path:/other?n=1", {"url": "/other?n=1"}),
        ("/other", {"url": "/other?n=1"}),
        ("path:api/v1/<pk>", {"route": "api/v1/<pk>"}),
        ("/100%_sure?", {"url": "/100%_sure?n=1"}),
    ],
)
def test_each_word_finds_its_column(admin_client, text, values):
    wanted, *_ = store(row(1, **values), row(2), row(3))
    answer = admin_client.get(LIST, {"q": text})
    assert told(answer) == []
    assert [each.pk for each in entries_of(answer)] == [wanted.pk]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("404", "There is no user “404”. Did you mean status:404?"),
        ('user:"ada', "A quotation mark is missing in “"),
        ("outcome:foo", "“foo” is no value of “outcome:”."),
        ("foo:bar", "“foo:” is not known here. Known are: user, address, entry, "),
    ],
)
def test_a_problem_is_told_in_words(admin_client, text, problem):
    (notice,) = told(admin_client.get(LIST, {"q": text}))
    assert notice.startswith(problem)
    assert notice.endswith((".", "?"))


def test_a_name_finds_what_tells_the_id_alone(admin_client, django_user_model):
    user = django_user_model.objects.create_user("grace@example.com")
    mine = {"actor_id": str(user.pk), "actor_label": ""}
    name = {"actor_id": "", "actor_label": "grace@example.com"}
    store(event(1, "token_revoked", url="/?n=1", **mine), row(2, **name), row(3))
    assert asked(admin_client, "user:grace@example.com") == [2, 1]
    assert asked(admin_client, "Grace@Example.com") == [2, 1]
    assert asked(admin_client, f"user:{user.pk}") == [1]
    user.delete()
    assert asked(admin_client, "user:grace@example.com") == [2]


def test_a_name_that_no_user_can_have_is_no_error(
    admin_client, django_user_model, monkeypatch
):
    store(row(1, actor_id="", actor_label="grace"))
    monkeypatch.setattr(django_user_model, "USERNAME_FIELD", "id")
    assert asked(admin_client, "user:grace") == [1]
    assert asked(admin_client, f"user:{'9' * 30}") == []


def test_words_hold_together(admin_client):
    store(row(1, status=404), row(2), row(3, status=404, actor_id="7"))
    assert asked(admin_client, "user:42 status:404") == [1]
    assert asked(admin_client, "status:404 status:200") == []


@pytest.mark.parametrize(
    "text",
    [
        "foo:bar",
        "status:abc",
        "status:99999999999999999999",
        "status:٤٠٤",
        "status:exx",
        "status:999",
        "status:0xx",
        "outcome:foo",
        'user:"ada@example.com',
        '"ada@example.com',
        "user:ada@example.com path:'/api",
        "entry:1-",
        "entry:1-2-3",
        f"entry:{'9' * 19}",
        "404",
        "user:",
        "entry:xyz",
        "address:example.com",
        " ".join(["user:42"] * 11),
        "trace:1 foo:1",
    ],
)
def test_a_word_that_is_not_understood_finds_nothing_and_is_told(admin_client, text):
    store(row(1))
    answer = admin_client.get(LIST, {"q": text})
    assert answer.status_code == 200
    assert entries_of(answer) == []
    assert told(answer)


@pytest.mark.parametrize(
    "text",
    ["\x00", "'", '"', "'\"", "\\", ":", "::", "a" * 9000, "%", "😀", '"\\', "-", "/"],
)
def test_no_text_is_an_error(admin_client, text):
    store(row(1))
    assert admin_client.get(LIST, {"q": text}).status_code == 200


@pytest.mark.parametrize(
    "value",
    [
        "42",
        "ada@example.com",
        "Ada L.",
        'a"b',
        "a\\b",
        "a\\",
        "a\\\\b",
        "a:b",
        "it's",
        " ",
        "'",
    ],
)
def test_what_a_link_asks_for_is_what_it_finds(admin_client, value):
    wanted, _other = store(
        row(1, actor_label=value), row(2, actor_id="1", actor_label="b")
    )
    answer = admin_client.get(LIST, {"q": search.word("user", value)})
    assert [each.pk for each in entries_of(answer)] == [wanted.pk]


@pytest.mark.parametrize(
    ("filters", "numbers"),
    [
        ({"kind": "request"}, [4, 3, 2, 1]),
        ({"kind": "events"}, [6, 5]),
        ({"kind": "sign_in"}, [5]),
        ({"kind": "entries_dropped"}, [6]),
        ({"outcome": "refused"}, [2]),
        ({"outcome": "completed"}, [4, 1]),
        ({"status": "2xx"}, [4, 1]),
        ({"status": "4xx"}, [2]),
        ({"status": "5xx", "outcome": "error"}, [3]),
        ({"method": "DELETE"}, [4]),
        ({"by": "api_key"}, [4]),
        ({"by": "api_key", "status": "4xx"}, []),
    ],
)
def test_filters_find_theirs(admin_client, filters, numbers):
    store(
        row(1),
        row(2, status=429, outcome="refused"),
        row(3, status=500, outcome="error"),
        row(4, method="DELETE", actor_kind="api_key"),
        event(5, "sign_in", url="/?n=5"),
        event(6, "entries_dropped", url="/?n=6"),
    )
    assert shown(admin_client, "?" + urlencode(filters)) == numbers


@pytest.mark.parametrize(
    ("choice", "ages"),
    [
        ("hour", [0]),
        ("day", [0, 20]),
        ("week", [0, 20, 100]),
        ("month", [0, 20, 100, 600]),
    ],
)
def test_times_find_theirs(admin_client, choice, ages):
    now = timezone.now()
    for age in (0, 20, 100, 600, 900):
        store(row(0, at=now - timedelta(hours=age), url=f"/?n={age}"))
    assert shown(admin_client, f"?time={choice}") == ages


def test_today_begins_at_midnight_where_the_reader_is(admin_client, settings):
    settings.TIME_ZONE = "Asia/Tokyo"
    midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    store(row(0, at=midnight, url="/?n=1"))
    store(row(0, at=midnight - timedelta(seconds=1), url="/?n=2"))
    assert shown(admin_client, "?time=today") == [1]


@pytest.mark.parametrize("name", ["kind", "outcome", "status", "method", "by", "time"])
def test_what_is_no_choice_finds_nothing_and_is_told(admin_client, name):
    store(row(1))
    answer = admin_client.get(f"{LIST}?{name}=<b>")
    assert entries_of(answer) == []
    assert "“<b>” is no choice" in told(answer)[0]
    assert "“<b>”" not in answer.content.decode()


# -- Days -----------------------------------------------------------------------------


def links(client, query=""):
    found = client.get(LIST + query).context["cl"].toplinks()
    return [(each["title"], each["link"]) for each in found["choices"]], found["back"]


def test_days_lead_from_years_to_a_day(admin_client):
    for at in ("2024-02-28 12:00", "2024-02-29 23:59", "2024-03-01 00:00"):
        moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
        store(row(0, at=moment, url=f"/?n={moment.day}"))
    years, back = links(admin_client)
    assert years[0] == ("2024", "?on=2024")
    assert back is None
    months, back = links(admin_client, "?on=2024")
    assert months[:2] == [
        ("February 2024", "?on=2024-02"),
        ("March 2024", "?on=2024-03"),
    ]
    assert back["link"] == "?"
    days, back = links(admin_client, "?on=2024-02&status=2xx")
    assert days == [
        ("February 28", "?on=2024-02-28&status=2xx"),
        ("February 29", "?on=2024-02-29&status=2xx"),
    ]
    assert back["link"] == "?on=2024&status=2xx"
    beside, back = links(admin_client, "?on=2024-02-29")
    assert beside == [
        ("February 28", "?on=2024-02-28"),
        ("February 29", False),
        ("March 1", "?on=2024-03-01"),
    ]
    assert back["link"] == "?on=2024-02"
    assert shown(admin_client, "?on=2024-02-29") == [29]
    assert shown(admin_client, "?on=2024-02") == [29, 28]
    assert shown(admin_client, "?on=2024") == [1, 29, 28]
    assert shown(admin_client, "?on=2023") == []


def test_a_day_is_one_of_the_site_s_time_zone(admin_client, settings):
    settings.TIME_ZONE = "Asia/Tokyo"
    late = datetime(2024, 2, 28, 15, tzinfo=UTC)  # midnight there
    store(row(0, at=late, url="/?n=1"))
    store(row(0, at=late - timedelta(seconds=1), url="/?n=2"))
    assert shown(admin_client, "?on=2024-02-29") == [1]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "2024-13",
        "2024-02-30",
        "0000",
        "0001",
        "9999",
        "99999",
        "2024-1-1-1",
        "-1",
    ],
)
def test_what_is_no_day_finds_nothing_and_is_told(admin_client, text):
    store(row(1))
    answer = admin_client.get(LIST, {"on": text})
    assert entries_of(answer) == []
    assert "is no year, month or day" in told(answer)[0]


@pytest.mark.parametrize("text", ["0002", "9998", "1969-12-31"])
def test_far_days_are_no_error(admin_client, text):
    store(row(1))
    assert shown(admin_client, f"?on={text}") == []
