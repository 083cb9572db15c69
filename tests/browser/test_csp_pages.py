"""The strict policy in a real browser: nothing that the site shows breaks it."""

from __future__ import annotations

import re

import pytest

from tests.browser.conftest import ADMIN, Visitor
from tests.servers import Gunicorn, wait_until

SETTINGS = {"DJANGO_SETTINGS_MODULE": "tests.headers.headers_settings"}
LISTEN = """document.addEventListener("securitypolicyviolation", event =>
    console.error("violation", event.effectiveDirective, event.blockedURI))"""
PAGES = [
    "/",
    "/admin/",
    "/admin/demo/user/",
    "/admin/demo/user/1/change/",
    "/admin/demo/user/1/password/",
    "/admin/perfguard/apikey/",
    "/admin/perfguard/apikey/add/",
    "/admin/perfguard/tokensession/",
    "/admin/perfguard/revokedtoken/add/",
    "/admin/perfguard/cspreport/",
    "/admin/password_change/",
    "/page",
    "/api/docs",
]


@pytest.fixture(
    scope="module", params=["false", "true"], ids=["DEBUG=false", "DEBUG=true"]
)
def guarded(request, tmp_path_factory):
    database = tmp_path_factory.mktemp("csp") / "db.sqlite3"
    clear = "cache,cookies,storage"
    own = {**SETTINGS, "DEBUG": request.param, "CLEAR_SITE_DATA": clear}
    with Gunicorn(database, **own) as server:
        yield server


@pytest.fixture
def strict(guarded, browser, tmp_path):
    context = browser.new_context()
    context.add_init_script(LISTEN)
    visitor = Visitor(guarded, context.new_page(), tmp_path)
    yield visitor
    context.close()


def show(visitor, path):
    answer = visitor.open(path)
    visitor.page.wait_for_load_state("networkidle")
    return answer


def test_no_page_of_the_site_breaks_the_policy(strict):
    strict.sign_in()
    for path in PAGES:
        answer = show(strict, path)
        assert answer.status == 200, path
        assert "default-src 'none'" in answer.headers["content-security-policy"], path
        assert strict.errors == [], path


def test_a_script_with_the_nonce_runs(strict):
    show(strict, "/page")
    assert int(strict.page.title()) >= 22
    assert strict.errors == []


def test_the_manual_of_the_api_is_drawn(strict):
    show(strict, "/api/docs")
    strict.page.wait_for_selector(".opblock-summary")
    assert strict.errors == []


def test_pages_of_errors_break_no_policy(strict):
    """Under DEBUG too, whose pages have inline styles and scripts."""
    for path, status in (("/boom", 500), ("/nowhere", 404)):
        assert show(strict, path).status == status
        loading = re.compile(r"Failed to load resource: .* status of [45]\d\d")
        assert [it for it in strict.errors if not loading.match(it)] == []


def test_what_breaks_the_policy_is_stopped_and_reported(strict):
    strict.sign_in()
    show(strict, "/wrong")
    assert strict.page.title() == "before"
    assert any("violation script-src-elem inline" in it for it in strict.errors)

    def is_reported():
        strict.open("/admin/perfguard/cspreport/")
        return "/wrong" in strict.page.inner_text("#content")

    wait_until(is_reported, "the report of the browser")


def test_who_has_signed_out_can_sign_in_again(strict):
    """Also when cookies, storage and cache are cleared on the way."""
    strict.sign_in()
    strict.page.evaluate("localStorage.setItem('kept', 'yes')")
    answer = strict.press("#logout-form [type=submit]")
    assert answer.all_headers()["clear-site-data"] == '"cache", "cookies", "storage"'
    assert strict.page.evaluate("localStorage.getItem('kept')") is None
    assert strict.page.context.cookies() == []
    strict.open("/admin/")
    assert "/admin/login/" in strict.page.url
    strict.page.fill("[name=username]", ADMIN)
    strict.page.fill("[name=password]", "admin-password")
    strict.press("[type=submit]")
    assert strict.page.title().startswith("Site administration")


def test_no_referrer_makes_forms_fail_as_the_check_says(tmp_path, browser):
    """Why the preset says "same-origin", and perfguard.W507 warns."""
    own = {**SETTINGS, "TEST_REFERRER": "no-referrer"}
    with Gunicorn(tmp_path / "db.sqlite3", **own) as server:
        page = browser.new_page()
        page.goto(f"{server.url}/admin/login/")
        page.fill("[name=username]", ADMIN)
        page.fill("[name=password]", "admin-password")
        with page.expect_navigation() as found:
            page.click("[type=submit]")
        assert found.value.status == 403
        page.close()
