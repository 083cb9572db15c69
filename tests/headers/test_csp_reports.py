"""Reports of browsers: taken from anybody, cut down, counted, and shown as text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import set_script_prefix

from perfguard.headers import reports
from perfguard.headers.intake import Intake, intake
from perfguard.headers.models import CspReport
from perfguard.headers.reports import BATCH, LEGACY

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("stack")]

URL = "/csp-reports"


def legacy(**fields):
    report = {
        "document-uri": "https://site.example/plain?secret=1#secret",
        "effective-directive": "script-src-elem",
        "violated-directive": "script-src 'self'",
        "blocked-uri": "https://evil.example/x.js?secret=2#secret",
        "source-file": "https://site.example/static/a.js?secret=3",
        "line-number": 7,
        "script-sample": "alert(1)",
        "disposition": "enforce",
        **fields,
    }
    return json.dumps({"csp-report": report})


def batch(**fields):
    body = {
        "documentURL": "https://site.example/plain?secret=1#secret",
        "effectiveDirective": "script-src-elem",
        "blockedURL": "https://evil.example/x.js?secret=2#secret",
        "sourceFile": "https://site.example/static/a.js?secret=3",
        "lineNumber": 7,
        "sample": "alert(1)",
        "disposition": "enforce",
        **fields,
    }
    return [{"type": "csp-violation", "age": 1, "url": "https://x", "body": body}]


def post(client, body, content_type=LEGACY, **extra):
    return client.post(URL, body, content_type=content_type, **extra)


def test_both_forms_are_taken_and_are_one(client):
    assert post(client, legacy()).status_code == 204
    assert post(client, json.dumps(batch()), BATCH).status_code == 204
    (row,) = CspReport.objects.all()
    assert row.count == 2
    assert row.directive == "script-src-elem"
    assert row.blocked == "https://evil.example"
    assert row.document == "/plain"
    assert row.source_file == "https://site.example/static/a.js"
    assert (row.line, row.sample, row.disposition) == (7, "alert(1)", "enforce")
    assert row.first_seen <= row.last_seen


def test_no_query_fragment_user_or_secret_path_is_stored(client):
    post(client, legacy())
    address = "https://bob:secret@site.example/reset/secret/?secret#secret"
    post(client, legacy(**{"document-uri": address, "source-file": address}))
    post(client, legacy(**{"blocked-uri": "wss://bob:secret@a.example:8443/secret?x"}))
    post(client, legacy(**{"document-uri": "https://site.example/re%73et/secret/"}))
    rows = list(CspReport.objects.order_by("pk").values())
    assert len(rows) == 4
    assert "secret" not in json.dumps(rows, default=str)
    assert rows[1]["document"] == rows[1]["source_file"] == "/reset/<str:token>/"
    assert rows[2]["blocked"] == "wss://a.example:8443"


def test_a_page_below_a_prefix_is_still_known_by_its_route(client):
    body = legacy(**{"document-uri": "https://site.example/app/reset/secret/"})
    set_script_prefix("/app/")
    try:
        post(client, body)
    finally:
        set_script_prefix("/")
    assert CspReport.objects.get().document == "/app/reset/<str:token>/"


@pytest.mark.parametrize(
    "blocked", ["inline", "eval", "data", "blob:https://a/x?y", ""]
)
def test_what_is_no_address_stays_a_word(client, blocked):
    post(client, legacy(**{"blocked-uri": blocked}))
    assert CspReport.objects.get().blocked == blocked.partition("/")[0]


def test_a_request_needs_no_token_and_gets_no_cookie():
    client = Client(enforce_csrf_checks=True)
    response = post(client, legacy())
    assert response.status_code == 204
    assert not response.cookies
    assert CspReport.objects.count() == 1


@pytest.mark.parametrize("method", ["get", "put", "delete", "head"])
def test_only_post_is_taken(client, method):
    assert getattr(client, method)(URL).status_code == 405


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", ""])
def test_another_type_is_415(client, content_type):
    assert post(client, legacy(), content_type).status_code == 415
    assert not CspReport.objects.exists()


@pytest.mark.parametrize("length", [64 * 1024 + 1, 5 * 1024 * 1024])
def test_too_long_a_body_is_413(client, length):
    assert post(client, legacy().ljust(length)).status_code == 413
    assert post(client, legacy().ljust(64 * 1024)).status_code == 204


GARBAGE = [
    (LEGACY, b" "),
    (LEGACY, b"\xff\xfe"),
    (LEGACY, b"[]"),
    (LEGACY, b'{"csp-report": []}'),
    (LEGACY, b'{"csp-report": {}}'),
    (LEGACY, b"[" * 60_000),
    (LEGACY, b'{"csp-report": {"effective-directive": "a b<c>"}}'[:-20]),
    (LEGACY, json.dumps({"csp-report": {"effective-directive": "<script>"}}).encode()),
    (LEGACY, json.dumps({"csp-report": {"effective-directive": 7}}).encode()),
    (BATCH, b"{}"),
    (BATCH, b"[7]"),
    (BATCH, b'[{"type": "csp-violation", "body": 7}]'),
    (BATCH, b'[{"type": "csp-violation", "body": {}}]'),
    (BATCH, b"1" * 10_000),
]


@pytest.mark.parametrize(("content_type", "body"), GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_400_with_a_reason(client, content_type, body):
    response = post(client, body, content_type)
    assert response.status_code == 400
    assert response.content
    assert not CspReport.objects.exists()


def test_odd_values_in_a_report_are_no_fault(client):
    odd = {
        "document-uri": 7,
        "blocked-uri": "https://[::1",
        "source-file": "\x00\ud800" + "x" * 9000,
        "line-number": -(10**30),
        "script-sample": "\x00\x1b" + "s" * 999,
        "disposition": ["report"],
    }
    assert post(client, legacy(**odd)).status_code == 204
    row = CspReport.objects.get()
    assert (row.line, len(row.sample), row.document) == (0, 40, "/")
    assert "\x00" not in row.sample


def test_reports_of_other_kinds_and_of_extensions_are_passed_over(client):
    others = [{"type": "deprecation", "body": {"id": "x"}}]
    assert post(client, json.dumps(others), BATCH).status_code == 204
    for name in ("chrome-extension", "moz-extension", "safari-web-extension"):
        post(client, legacy(**{"source-file": f"{name}://abc/x.js"}))
        post(client, legacy(**{"blocked-uri": f"{name}://abc"}))
    assert not CspReport.objects.exists()


def test_a_flood_of_one_client_stores_its_share_and_leaves_room(client, perfguard):
    perfguard(HEADERS_REPORTS_PER_MINUTE=20)
    for number in range(50):
        body = legacy(**{"line-number": number})
        assert post(client, body, REMOTE_ADDR="203.0.113.7").status_code == 204
    assert CspReport.objects.count() == 5
    post(client, legacy(**{"line-number": 99}), REMOTE_ADDR="203.0.113.8")
    assert CspReport.objects.count() == 6


def test_a_batch_counts_each_of_its_reports(client, perfguard):
    perfguard(HEADERS_REPORTS_PER_MINUTE=8)
    many = [batch(lineNumber=number)[0] for number in range(100)]
    post(client, json.dumps(many), BATCH)
    assert CspReport.objects.count() == 2


def test_each_minute_takes_as_many_again(clock, perfguard, caplog):
    perfguard(HEADERS_REPORTS_PER_MINUTE=4)
    bounded = Intake(clock)
    clients = [str(number) for number in range(9)]
    assert [bounded.takes(each) for each in clients] == [True] * 4 + [False] * 5
    clock.advance(60)
    assert bounded.takes("one")
    assert not bounded.takes("one")
    assert "5 CSP reports were left out" in caplog.text
    assert len(bounded._taken) <= 4


def test_a_known_report_costs_one_query(client, django_assert_num_queries):
    post(client, legacy())
    with django_assert_num_queries(1):
        post(client, legacy())


def test_the_table_is_bounded_and_keeps_what_is_reported_often(client, monkeypatch):
    monkeypatch.setattr(reports, "MOST_ROWS", 3)
    for _ in range(3):
        post(client, legacy())
    for number in range(100, 106):
        post(client, legacy(**{"line-number": number}))
    assert CspReport.objects.count() == 3
    assert CspReport.objects.filter(count=3).exists()
    intake._ends = float("-inf")


@pytest.fixture
def admin(client):
    user = get_user_model().objects.create_superuser(
        email="root@example.com", password="pw", name="Root"
    )
    client.force_login(user)
    return client


LIST = "/admin/perfguard/cspreport/"
CORPUS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg/onload=alert(1)>",
    "</textarea><script>alert(1)</script>",
    "{{7*7}}{% debug %}",
    "javascript:alert(1)",
]


@pytest.mark.parametrize("evil", CORPUS, ids=range(len(CORPUS)))
def test_what_a_report_says_is_text_in_the_admin(admin, evil):
    fields = {
        "document-uri": f"https://site.example/{evil}",
        "blocked-uri": evil,
        "source-file": f"https://site.example/{evil}",
        "script-sample": evil,
        "disposition": evil,
    }
    assert post(admin, legacy(**fields)).status_code == 204
    row = CspReport.objects.get()
    for path in (LIST, f"{LIST}{row.pk}/change/"):
        page = admin.get(path).content.decode()
        assert evil not in page.replace(f"?q={evil}", "") or evil[0] not in "<\"'"
        assert "onerror=alert(1)>" not in page
        assert "onload=alert(1)>" not in page
        assert "<script>alert" not in page
        assert 'href="javascript:' not in page


def test_the_admin_reads_and_deletes_and_changes_nothing(admin):
    post(admin, legacy())
    row = CspReport.objects.get()
    assert admin.get(f"{LIST}?q=evil").status_code == 200
    page = admin.get(f"{LIST}{row.pk}/change/")
    assert 'name="_save"' not in page.content.decode()
    assert admin.get(f"{LIST}add/").status_code == 403
    assert admin.post(f"{LIST}{row.pk}/change/", {"count": 9}).status_code == 403
    assert admin.post(f"{LIST}{row.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not CspReport.objects.exists()


def test_this_room_needs_no_drf():
    for path in Path(reports.__file__).parent.glob("*.py"):
        assert "rest_framework" not in path.read_text()
