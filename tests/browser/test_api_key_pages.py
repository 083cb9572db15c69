"""The admin's pages of API keys, as an administrator sees them."""

from __future__ import annotations

import json
import re

import pytest

from tests.browser.conftest import api

LIST = "/admin/perfguard/apikey/"


def use(site, key):
    """The status of a call with the key."""
    return api(site, "GET", "auths/me", key=key)[0]


@pytest.fixture
def made(visitor):
    """A key that the form has made: its text, and what its page was sent with."""
    visitor.open(f"{LIST}add/")
    visitor.page.fill("[name=owner]", "2")
    visitor.page.fill("[name=label]", "the browser's")
    visitor.picture("form")
    answer = visitor.press("[name=_save]")
    visitor.picture("secret")
    return re.search(r"pgk_\w{62}", visitor.page.content())[0], answer


def open_key(visitor, key):
    visitor.open(f"{LIST}?q={key.split('_')[1]}")
    visitor.press("#result_list tbody tr:first-child th a")


def test_the_secret_is_shown_once_and_kept_by_nobody(site, visitor, made):
    key, response = made
    assert response.headers["cache-control"].find("no-store") >= 0
    assert use(site, key) == 200
    assert key not in visitor.page.url
    assert all(key not in json.dumps(it) for it in visitor.page.context.cookies())
    open_key(visitor, key)
    visitor.picture("key")
    assert key not in visitor.page.content()
    assert visitor.errors == []


def test_a_key_is_revoked_after_a_question(site, visitor, made):
    key, _ = made
    open_key(visitor, key)
    visitor.press(".object-tools >> text=Revoke")
    visitor.picture("question")
    assert use(site, key) == 200
    visitor.press("#content [type=submit]")
    visitor.picture("revoked")
    assert use(site, key) == 401
    assert visitor.errors == []


def test_a_key_is_rotated_and_both_are_good_for_a_while(site, visitor, made):
    key, _ = made
    open_key(visitor, key)
    visitor.press(".object-tools >> text=Rotate")
    visitor.picture("question")
    visitor.press("#content [type=submit]")
    visitor.picture("rotated")
    successor = re.search(r"pgk_\w{62}", visitor.page.content())[0]
    assert successor != key
    assert [use(site, key), use(site, successor)] == [200, 200]
    assert visitor.errors == []


def test_a_rate_that_is_none_is_explained(visitor):
    visitor.open(f"{LIST}add/")
    visitor.page.fill("[name=owner]", "2")
    visitor.page.fill("[name=label]", "of a wrong rate")
    visitor.page.fill("[name=rate]", "many")
    visitor.press("[name=_save]")
    visitor.picture("wrong")
    assert "is not a rate" in visitor.page.inner_text(".errorlist >> nth=0")


def test_keys_are_listed(visitor, made):
    visitor.open(LIST)
    visitor.picture("keys")
    assert "the browser's" in visitor.page.inner_text("#result_list")
    assert visitor.errors == []
