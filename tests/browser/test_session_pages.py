"""The admin's pages of sessions, as an administrator sees them."""

from __future__ import annotations

import json

import pytest

from tests.browser.conftest import api

LIST = "/admin/perfguard/tokensession/"
CREDENTIALS = json.dumps({"email": "demo@example.com", "password": "demo-password"})


@pytest.fixture
def token(site):
    status, body = api(site, "POST", "auths/signin", CREDENTIALS)
    assert status == 200
    return json.loads(body)["token"]


def newest_session(visitor):
    visitor.open(f"{LIST}?q=demo@example.com&state=live")
    visitor.press("#result_list tbody tr:first-child th a")


def test_sessions_are_found_by_the_users_address(visitor, token):
    visitor.open(f"{LIST}?q=demo@example.com")
    visitor.picture("sessions")
    assert "demo@example.com" in visitor.page.inner_text("#result_list")
    assert "a-phone/1.0" in visitor.page.inner_text("#result_list")
    assert visitor.errors == []


def test_a_session_is_ended_after_a_question(site, visitor, token):
    newest_session(visitor)
    visitor.picture("session")
    visitor.press("text=End this session")
    visitor.picture("question")
    assert api(site, "GET", "auths/me", token=token)[0] == 200
    visitor.press(".submit-row [type=submit]")
    visitor.picture("done")
    assert "Done." in visitor.page.inner_text(".messagelist")
    assert api(site, "GET", "auths/me", token=token)[0] == 401
    assert visitor.errors == []


def test_a_user_is_signed_out_everywhere_from_the_list(site, visitor, token):
    visitor.open(f"{LIST}?q=demo@example.com&state=live")
    visitor.page.check("#result_list tbody tr:first-child input.action-select")
    visitor.page.select_option("select[name=action]", "sign_out_selected")
    visitor.press("button[name=index]")
    visitor.picture("question")
    visitor.press(".submit-row [type=submit]")
    assert api(site, "GET", "auths/me", token=token)[0] == 401
    assert visitor.errors == []


def test_a_user_is_signed_out_everywhere_from_the_users(site, visitor, token):
    visitor.open("/admin/demo/user/?q=demo@example.com")
    visitor.page.check("#result_list tbody tr:first-child input.action-select")
    visitor.page.select_option("select[name=action]", "sign_out_everywhere")
    visitor.press("button[name=index]")
    assert api(site, "GET", "auths/me", token=token)[0] == 401
    assert visitor.errors == []


def test_a_token_is_revoked_by_its_id(visitor):
    visitor.open("/admin/perfguard/revokedtoken/add/")
    visitor.page.fill("[name=jti]", "seen-in-a-log")
    visitor.page.fill("[name=user_key]", "2")
    visitor.picture("revoke")
    visitor.press("[name=_save]")
    visitor.open("/admin/perfguard/revokedtoken/?q=seen-in-a-log")
    assert "seen-in-a-log" in visitor.page.inner_text("#result_list")
    assert visitor.errors == []
