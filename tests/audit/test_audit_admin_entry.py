"""The page of an entry: all of it, and nothing that was sent does anything there."""

from __future__ import annotations

import html
import json
import re

import pytest
from django.contrib import admin
from django.test import override_settings
from django.urls import clear_script_prefix, path, set_script_prefix

from perfguard.audit.admin import AuditEntryAdmin
from perfguard.audit.models import AuditEntry
from perfguard.audit.pages import shown
from tests.audit.audit_admin_rows import LIST, event, row, seal, store

pytestmark = pytest.mark.django_db

CORPUS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg/onload=alert(1)>",
    "</pre></details><iframe srcdoc='<script>alert(1)</script>'>",
    "javascript:alert(1)",
    "{{ 7|add:7 }}{% debug %}",
    "&lt;script&gt;",
    "<!--",
    "]]>",
    '{"a": "</script><script>alert(1)</script>"}',
    "%3Cscript%3E",
    "＜script＞",
]
TEXTS = {
    "url": 2048,
    "method": 16,
    "route": 255,
    "outcome": 16,
    "refused_by": 32,
    "error": 255,
    "actor_kind": 16,
    "actor_id": 64,
    "actor_label": 150,
    "address": 45,
    "user_agent": 256,
    "request_id": 128,
    "trace_id": 32,
    "marker": 64,
    "kind": 32,
    "level": 16,
    "request_headers": 999,
    "request_body": 999,
    "response_headers": 999,
    "response_body": 999,
    "details": 999,
}
TAG = re.compile(r"<(?:script|img|svg|iframe)\b[^>]*", re.IGNORECASE)
NONCE = re.compile(r' nonce="[\w-]+"')


@pytest.fixture(autouse=True)
def _quiet(perfguard):
    perfguard(AUDIT_EVENTS=())


def page_of(client, entry):
    answer = client.get(f"{LIST}{entry.pk}/change/")
    assert answer.status_code == 200
    return answer.content.decode()


def tags_of(answer):
    return set(TAG.findall(NONCE.sub("", answer.content.decode())))


def text_of(client, entry):
    return html.unescape(page_of(client, entry))


@pytest.mark.parametrize("text", CORPUS, ids=range(len(CORPUS)))
@pytest.mark.parametrize("kind", ["request", "sign_in"])
def test_what_was_sent_is_text_on_every_page(admin_client, text, kind):
    plain, *_ = store(row(1, kind=kind), row(2, kind=kind))
    names = [name for name in TEXTS if name != "kind"]
    evil = {name: text[: TEXTS[name]] for name in names}
    (entry,) = store(row(3, kind=kind, **evil))
    pages = [LIST, f"{LIST}?q=status:200", f"{LIST}export/"]
    pages += [f"{LIST}{entry.pk}/{name}/" for name in ("change", "history")]
    usual = {
        tag
        for name in (LIST, f"{LIST}{plain.pk}/change/", f"{LIST}{plain.pk}/history/")
        for tag in tags_of(admin_client.get(name))
    }
    for page in pages:
        answer = admin_client.get(page)
        assert tags_of(answer) <= usual
        assert 'href="javascript' not in answer.content.decode()
    assert text[:16] in text_of(admin_client, entry)


@pytest.mark.parametrize("text", CORPUS, ids=range(len(CORPUS)))
def test_what_is_asked_for_is_text_too(admin_client, text):
    for name in ("q", "kind", "on", "before", "status", "by"):
        content = admin_client.get(LIST, {name: text}).content.decode()
        assert "alert(1)</script>" not in content
        assert "<img src=x" not in content
        assert "<svg/onload" not in content


def test_there_is_no_script_and_no_style_in_the_page(admin_client):
    (entry,) = store(row(1, request_body="x" * 5000))
    for page in (LIST, f"{LIST}{entry.pk}/change/", f"{LIST}export/"):
        content = admin_client.get(page).content.decode()
        assert not re.search(r"<script(?![^>]*\bsrc=)", content)
        assert not re.search(r"<style|\sstyle=|\son\w+=", content)


@pytest.mark.parametrize(
    ("text", "visible"),
    [
        ("a\r\nb", "a\\r\\nb"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\x7fb\x9bc", "a\\x7fb\\x9bc"),
        ("ab\u202etxt.exe", "ab\\u202etxt.exe"),
        ("a\u200bb\ufeffc\u2028d", "a\\u200bb\\ufeffc\\u2028d"),
        ("\ufffd", "\ufffd"),
        ("grün 中文 عربي 😀", "grün 中文 عربي 😀"),
    ],
    ids=["lines", "ansi", "c1", "bidi", "invisible", "replaced", "letters"],
)
def test_controls_are_shown_by_their_number(admin_client, text, visible):
    (entry,) = store(row(1, url=f"/{text}", user_agent=text, actor_label=text))
    assert shown.visible(text) == visible
    for page in (f"{entry.pk}/change/", "", "?q=user:42"):
        content = html.unescape(admin_client.get(LIST + page).content.decode())
        assert visible in content
        assert text == visible or text not in content


def test_every_control_character_is_visible():
    for number in (*range(0x20), *range(0x7F, 0xA0), 0xD800, 0x2066, 0xE0041):
        assert shown.visible(f"a{chr(number)}b").isprintable(), hex(number)


def test_a_body_keeps_its_lines_and_shows_its_other_controls():
    assert shown.visible_lines("a\r\nb\n\tc\rd") == "a\nb\n\\tc\\rd"


@pytest.mark.parametrize(
    "body",
    [
        '{"a": 1, "a": 2}',
        '{"a": 1.10}',
        '{"a": 1e999}',
        "[NaN]",
        '{"a": ',
        "[" * 100_000,
        '"text"',
        "a=1&b=2",
    ],
    ids=["twice", "number", "infinite", "nan", "cut", "deep", "text", "form"],
)
def test_json_that_python_would_change_is_shown_as_it_was_sent(body):
    assert shown.pretty(body) == body


def test_json_is_shown_in_lines():
    text = '{"b":[1,{"ü":null}],"a":1.5,"c":12345678901234567890123}'
    pretty = shown.pretty(text)
    assert pretty.splitlines()[:2] == ["{", '  "b": [']
    assert json.loads(pretty) == json.loads(text)


def test_a_large_body_is_folded_and_a_cut_one_says_so(admin_client):
    (entry,) = store(
        row(1, request_body="x" * 3000, request_truncated=True, response_body="short")
    )
    page = page_of(admin_client, entry)
    assert page.count('<details class="audit-fold">') == 1
    assert "<summary>3000 characters</summary>" in page
    assert page.count("Only the beginning was kept.") == 1


def test_the_signature_is_verified(admin_client, perfguard):
    (entry,) = store(row(1, request_body='{"a": 1}', details="ü"))
    assert "audit-yes" in page_of(admin_client, entry)
    AuditEntry.objects.update(actor_label="eve@example.com")
    assert "Does not match" in page_of(admin_client, entry)
    AuditEntry.objects.update(mac="")
    assert "There is none." in page_of(admin_client, entry)


def test_a_signature_by_a_key_that_is_gone_is_not_called_wrong(admin_client):
    (entry,) = store(row(1))
    AuditEntry.objects.update(key_id="0123456789abcdef")
    assert "The key is not configured." in page_of(admin_client, entry)


def test_an_old_key_verifies_what_it_has_signed(admin_client, perfguard):
    perfguard(AUDIT_SIGNING_KEY="the-first-" * 4, AUDIT_EVENTS=())
    (entry,) = store(row(1))
    perfguard(AUDIT_SIGNING_KEY="the-second" * 4, AUDIT_EVENTS=())
    assert "The key is not configured." in page_of(admin_client, entry)
    perfguard(AUDIT_OLD_SIGNING_KEYS=["the-first-" * 4])
    assert "audit-yes" in page_of(admin_client, entry)


def test_an_entry_links_to_what_belongs_to_it(admin_client):
    values = {"trace_id": "ab" * 16, "marker": "s1", "actor_id": "7"}
    (entry,) = store(row(1, **values))
    page = page_of(admin_client, entry)
    links = re.findall(r'href="[^"]*\?q=([^"]*)"', page)
    assert {
        "user%3A7",
        "address%3A203.0.113.7",
        "request%3Arequest-1",
        f"trace%3A{'ab' * 16}",
        "session%3As1",
    } <= set(links)
    for link in links:
        answer = admin_client.get(f"{LIST}?q={link}")
        assert [each.pk for each in answer.context["cl"].result_list] == [entry.pk]


def test_an_event_shows_its_details(admin_client):
    (entry,) = store(event(1, "sign_in_refused", details='{"reason": "password"}'))
    assert '"reason": "password"' in text_of(admin_client, entry)
    assert "fieldset-heading" in page_of(admin_client, entry)
    assert "field-body_in" not in page_of(admin_client, entry)


def test_an_event_of_a_request_has_no_empty_sections(admin_client):
    address = {"method": "POST", "url": "/signin", "route": "signin"}
    (entry,) = store(event(1, "sign_in", **address))
    page = page_of(admin_client, entry)
    assert "field-whole_url" in page
    for name in ("field-sent", "field-body_in", "field-received", "field-failure"):
        assert name not in page
    assert ">Response<" not in page.replace("\n", "").replace(" ", "")
    (request,) = store(row(2))
    assert "field-body_out" in page_of(admin_client, request)


def test_an_entry_shows_the_id_of_its_row(admin_client):
    (entry,) = store(row(1, pk=1234567))
    page = page_of(admin_client, entry)
    assert f'href="{LIST}?q=entry%3A1234567"' in page
    assert "field-row_id" in page


# -- Wherever the admin is used --------------------------------------------------------


@pytest.mark.parametrize("language", ["de", "ar", "fa", "ja"])
def test_pages_speak_other_languages(admin_client, settings, language):
    settings.LANGUAGE_CODE = language
    settings.USE_THOUSAND_SEPARATOR = True
    (entry,) = store(row(1, pk=1234567, status=429, duration_us=1_500_000))
    store(row(0, pk=1234566))
    page = page_of(admin_client, entry)
    assert f"{LIST}1234566/change/" in page  # the number as it is
    assert ('dir="rtl"' in page) is (language in {"ar", "fa"})
    assert admin_client.get(LIST, {"on": "2026-11"}).status_code == 200


def test_pages_without_time_zones(admin_client, settings):
    settings.USE_TZ = False
    settings.TIME_ZONE = "Asia/Tokyo"
    entries = store(*(row(number) for number in range(150)))
    page = page_of(admin_client, entries[5])
    assert "2026-11-01 21:00:05.000000" not in page
    assert "audit-yes" in page
    answer = admin_client.get(f"{LIST}?on=2026-11-01&time=month&q=/api")
    assert answer.status_code == 200
    answer = admin_client.get(LIST)
    older = answer.context["cl"].older_url()
    assert len(admin_client.get(LIST + older).context["cl"].result_list) == 50


second = admin.AdminSite(name="second")
second.register(AuditEntry, AuditEntryAdmin)
urlpatterns = [path("back-office/", second.urls)]


@override_settings(ROOT_URLCONF=__name__)
def test_pages_of_another_site_stay_there(admin_client):
    there = "/back-office/perfguard/auditentry/"
    entries = store(*(row(number) for number in range(3)))
    for page in (there, f"{there}{entries[1].pk}/change/", f"{there}export/"):
        answer = admin_client.get(page)
        assert answer.status_code == 200
        links = re.findall(r'href="(/[^"]*)"', answer.content.decode())
        pages = [each for each in links if "static" not in each and each != "/"]
        assert pages
        assert [each for each in pages if not each.startswith("/back-office/")] == []


@pytest.fixture
def _below_another_path():
    set_script_prefix("/elsewhere/")
    yield
    clear_script_prefix()


@pytest.mark.usefixtures("_below_another_path")
def test_pages_below_another_path_stay_there(admin_client):
    (entry,) = store(row(1))
    page = page_of(admin_client, entry)
    assert 'href="/elsewhere/admin/perfguard/auditentry/?q=' in page


def test_a_seal_is_shown(admin_client):
    seal(7).save()
    page = admin_client.get("/admin/perfguard/auditseal/7/change/").content.decode()
    assert "7000" in page
