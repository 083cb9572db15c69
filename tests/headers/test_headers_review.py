"""Where one header leans on another, or on what a stranger sends."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.http import HttpResponse
from django.utils import timezone

from perfguard.headers import reports
from perfguard.headers.decorators import security_headers_exempt
from perfguard.headers.models import CspReport

ENFORCE = "Content-Security-Policy"


def says(**headers):
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: HttpResponse("ok", headers=fields)


def test_what_is_forced_is_sent_by_exempt_views_too(send, perfguard):
    perfguard(HEADERS_FORCE=[ENFORCE, "Strict-Transport-Security"])
    answer = send(security_headers_exempt(says()), secure=True)
    assert "default-src" in answer[ENFORCE]
    assert answer.has_header("Strict-Transport-Security")


def test_a_views_own_hsts_is_not_sent_over_plain_http(send):
    view = says(Strict_Transport_Security="max-age=5")
    assert not send(view).has_header("Strict-Transport-Security")
    assert send(view, secure=True)["Strict-Transport-Security"] == "max-age=5"


@pytest.mark.parametrize("said", ["DENY, DENY", "nonsense"])
def test_nobody_frames_a_page_whose_x_frame_options_cannot_be_read(send, said):
    assert "frame-ancestors 'none'" in send(says(X_Frame_Options=said))[ENFORCE]


def test_without_x_frame_options_the_policy_says_who_may_frame(send, perfguard):
    perfguard(HEADERS={"X-Frame-Options": None})
    assert "frame-ancestors 'none'" in send(says())[ENFORCE]


def test_own_endpoints_for_reports_keep_those_of_the_policy(send, perfguard):
    own = 'default="https://r.example/x"'
    perfguard(HEADERS_REPORT_URL="/r", HEADERS={"Reporting-Endpoints": own})
    answer = send(says())
    assert "report-to perfguard" in answer[ENFORCE]
    assert answer["Reporting-Endpoints"] == f'perfguard="/r", {own}'
    perfguard(HEADERS_REPORT_URL="/r", HEADERS={"Reporting-Endpoints": None})
    answer = send(says())
    assert "report-uri /r" in answer[ENFORCE]
    assert "report-to" not in answer[ENFORCE]


def violation(**fields):
    legacy = {"effective-directive": "img-src", **fields}
    return reports._violation(next(reports._legacy({"csp-report": legacy})))


def test_an_escape_in_an_address_brings_no_control_character():
    document = violation(**{"document-uri": "https://s/a%00b%0aINJECT%1b[31m"}).document
    assert document.isprintable()


@pytest.mark.parametrize("name", ["blocked-uri", "source-file"])
def test_an_extension_is_known_by_its_scheme_alone(name):
    assert violation(**{name: "moz-extension"}) is None
    assert violation(**{name: "https://extension.example/"}) is not None


@pytest.mark.django_db
def test_what_nobody_has_seen_for_a_week_makes_room_first(monkeypatch):
    monkeypatch.setattr(reports, "MOST_ROWS", 2)
    for line in (1, 2):
        reports.store(violation(**{"line-number": line}))
    old = timezone.now() - timedelta(days=8)
    CspReport.objects.filter(line=1).update(count=1000, last_seen=old)
    reports.store(violation(**{"line-number": 3}))
    assert sorted(CspReport.objects.values_list("line", flat=True)) == [2, 3]
