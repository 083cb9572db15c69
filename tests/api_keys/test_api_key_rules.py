"""How rules are written, read, and found wrong."""

from __future__ import annotations

import pytest
from django.urls import resolve

from perfguard.api_keys.rules import Rule, covers, is_allowed, mistakes

pytestmark = pytest.mark.urls("tests.api_keys.urls_api_keys")


@pytest.mark.parametrize(
    ("start", "path"),
    [
        ("/a", "/a"),
        ("/a", "/a/"),
        ("/a/", "/a"),
        ("/a", "/a/b/c"),
        ("/", "/"),
        ("/", "/a"),
        ("/a", "/a/b;x=1"),
    ],
)
def test_a_path_covers_itself_and_what_lies_below(start, path):
    assert covers(start, path)


@pytest.mark.parametrize(
    ("start", "path"),
    [
        ("/a", "/ab"),
        ("/a", "/"),
        ("/a", "//a"),
        ("/a", "/a//"),
        ("/a", "/a//b"),
        ("/a", "/a/./b"),
        ("/a", "/a/../b"),
        ("/a", "/a/.."),
        ("/a", "/a/b\n"),
        ("/a", "/a/b\x00"),
        ("/a", "/a/b\\c"),
        ("/a", "/a/%2e"),
        ("/a", "/A"),
        ("/a", ""),
        ("", "/a"),
        (" ", "/a"),
        ("a", "/a"),
        ("/", "//"),
    ],
)
def test_a_path_covers_nothing_else(start, path):
    assert not covers(start, path)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (["GET notes:list", "* /api/v1/chats", "GET /api/v1/chats/<int:pk>"], []),
        (["GET /api/models/anything/below", "GET /api/odd/5", "* /"], []),
        ([""], ["empty"]),
        (["GET /api/wild/(?P<rest>[^/]+)$"], ["'/api/wild"]),
        (["GET /^api/wild/(?P<rest>[^/]+)$"], []),
        (["GET chats", ""], ["empty"]),
        (["GET"], ["no rule"]),
        (["GET a b"], ["no rule"]),
        (["FETCH chats"], ["no method"]),
        (["GET,* chats"], ["no method"]),
        (["GET, chats"], ["no method"]),
        (["GET nowhere"], ["nowhere"]),
        (["GET list"], ["'list'"]),
        (["GET /api/v1/nowhere"], ["/api/v1/nowhere"]),
        (["GET /api/v1/chats/<str:pk>"], ["<str:pk>"]),
        (["GET nowhere", "x"], ["nowhere", "no rule"]),
    ],
)
def test_what_is_wrong_with_rules_is_said(rules, words):
    found = list(mistakes(rules))
    assert len(found) == len(words)
    assert all(word in text for word, text in zip(words, found, strict=True))


def test_what_is_long_is_not_said_in_full():
    (text,) = mistakes(["x" * 10_000])
    assert len(text) < 300


def test_a_rule_is_read():
    assert Rule.parse(" GET,post   notes:list ") == Rule(
        frozenset({"GET", "POST"}), "notes:list"
    )
    assert Rule.parse("* /a").methods == frozenset()


def test_a_view_knows_no_route_by_its_dotted_path(rf):
    request, match = rf.get("/plain/unguarded"), resolve("/plain/unguarded")
    assert is_allowed(request, match, "GET unguarded")
    assert not is_allowed(request, match, "GET tests.api_keys.urls_api_keys.unguarded")
