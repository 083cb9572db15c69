"""The audit log in a real browser: how it looks, and that nothing in it is run."""

from __future__ import annotations

import pytest

LIST = "/admin/perfguard/auditentry/"
ATTACK = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\x1b[31m\u202e"
# In the site's own process: it has the key that entries are signed with.
FILL = f"""
from datetime import timedelta
from django.utils import timezone
from perfguard.audit.models import AuditEntry
from tests.audit.audit_admin_rows import event, row, store
now, attack = timezone.now(), {ATTACK!r}
ago = lambda number: now - timedelta(minutes=7 * number)
def one(number, **values):
    return row(number, at=ago(number), **values)
store(
    *(one(number, duration_us=900 * number ** 2, url=f"/api/v1/notes/{{number}}",
          request_id=f"{{number:032x}}") for number in range(2, 180)),
    one(180, status=429, outcome="refused", refused_by="throttle",
        actor_kind="anonymous", actor_id="", actor_label=""),
    one(181, status=500, outcome="error", error="builtins.ValueError", method="DELETE",
        address="2001:db8:85a3:8d3:1319:8a2e:370:7348"),
    one(182, status=None, outcome="aborted"),
    event(0, "sign_in_refused", at=ago(0), details='{{"reason": "password"}}'),
    event(0, "entries_dropped", at=ago(3), actor_kind="", actor_id="", actor_label="",
          address="", request_id="",
          details='{{"sink": "database", "reason": "full", "count": 1234}}'),
    one(1, actor_label="long", actor_id="long", url="/api/v1/notes?" + "n=1&" * 90,
        request_headers='{{"host": "api.example.com", "accept": "*/*"}}',
        request_body='{{"text": "a note", "tags": [1, 2, {{"deep": true}}]}}',
        response_body='{{"items": [' + ", ".join(map(str, range(900))) + ']}}',
        marker="5d41402abc4b2a76", trace_id="0af7651916cd43dd8448eb211c80319c",
        user_agent="a-phone/1.0", bytes_in=321, bytes_out=4567),
    one(1, actor_label="evil", actor_id="evil", url="/" + attack, user_agent=attack,
        request_id=attack, address="203.0.113.66", request_headers=attack,
        request_body=attack, response_headers=attack, response_body=attack,
        marker=attack[:60], method=attack[:16], refused_by=attack[:32], error=attack,
        route=attack, details=attack, trace_id=attack[:32]),
    event(0, attack[:32], at=ago(1), actor_label=attack, actor_id=attack[:60],
          outcome=attack[:16], actor_kind=attack[:16], details=attack),
)
"""


@pytest.fixture(scope="module", autouse=True)
def _entries(site):
    site.manage("shell", "-v", "0", "-c", FILL)


@pytest.fixture
def dialogs(visitor):
    seen = []
    visitor.page.on("dialog", lambda dialog: (seen.append(dialog), dialog.dismiss()))
    return seen


def test_the_list_is_paged_and_narrowed(visitor):
    visitor.open(f"{LIST}?time=day")
    visitor.picture("list")
    assert "1234 entries were dropped" in visitor.page.inner_text(".messagelist")
    visitor.press("a[rel=next]")
    visitor.picture("older")
    assert "refused (throttle)" in visitor.page.inner_text("#result_list")
    visitor.press("a[rel=prev]")
    visitor.page.fill("#searchbar", "user:long")
    visitor.press("#changelist-search [type=submit]")
    assert visitor.page.locator("#result_list tbody tr").count() == 1
    assert visitor.errors == []


def test_an_entry_is_shown_whole(visitor):
    visitor.open(f"{LIST}?q=user:long")
    visitor.press("#result_list tbody th a")
    visitor.picture("entry")
    text = visitor.page.inner_text("#content")
    assert "Valid." in text
    assert '"deep": true' in text
    body = visitor.page.locator(".field-body_out pre")
    assert not body.is_visible()
    visitor.page.click(".field-body_out summary")
    assert body.is_visible()
    visitor.press("text=/^Older/i")
    assert visitor.errors == []


@pytest.mark.parametrize("search", ["user:evil", "kind", "address:203.0.113.66"])
def test_nothing_that_was_sent_is_run(visitor, dialogs, search):
    visitor.open(f"{LIST}?kind=events" if search == "kind" else f"{LIST}?q={search}")
    visitor.picture("attack")
    rows = visitor.page.locator("#result_list tbody tr", has_text="<script>")
    assert rows.count() == 1
    with visitor.page.expect_navigation():
        rows.locator("th a").click()
    visitor.picture("attacked")
    assert "<img src=x onerror=alert(2)>" in visitor.page.inner_text("#content")
    assert "\\x1b[31m\\u202e" in visitor.page.inner_text("#content")
    assert dialogs == []
    assert visitor.errors == []


def test_an_export_is_asked_for_and_sent(visitor):
    visitor.open(f"{LIST}?q=user:long")
    visitor.press("text=/^Export these$/i")
    visitor.picture("export")
    with visitor.page.expect_download() as found:
        visitor.page.click("[name=jsonl]")
    assert "a-phone/1.0" in found.value.path().read_text()
    assert visitor.errors == []


def test_a_user_leads_to_their_entries(visitor):
    visitor.open("/admin/demo/user/?q=demo@example.com")
    visitor.press("#result_list tbody th a")
    visitor.picture("user")
    visitor.press("text=All entries of this user")
    assert visitor.page.input_value("#searchbar").startswith("user:")
    assert visitor.errors == []
