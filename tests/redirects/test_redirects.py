"""Redirects by patterns, and nowhere that the setting does not name."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from django.http import HttpResponse
from django.test import RequestFactory
from django.urls import set_script_prefix
from hypothesis import given
from hypothesis import strategies as st

from perfguard.exceptions import InvalidSetting
from perfguard.redirects.checks import check_redirects
from perfguard.redirects.middleware import RedirectMiddleware
from perfguard.redirects.rules import Redirect

WATCH = {
    "path": r"/watch$",
    "query": {"v": r"(?P<video>[\w-]{1,64})"},
    "to": "/?youtube={video}",
}


@pytest.fixture
def ask(serve, rf, perfguard):
    def ask(rules, url, method="get"):
        perfguard(REDIRECTS=rules)
        request = getattr(rf, method)(url)
        return serve(RedirectMiddleware, lambda request: HttpResponse("view"), request)

    return ask


def test_a_path_with_a_query_leads_to_another(ask):
    response = ask([WATCH], "/some/watch?v=dQw4w9")
    assert (response.status_code, response["Location"]) == (307, "/?youtube=dQw4w9")


def test_other_parameters_are_carried_and_those_that_were_read_are_not(ask):
    response = ask([WATCH], "/watch?v=a&list=x%26y&t=1&t=2")
    assert response["Location"] == "/?youtube=a&list=x%26y&t=1&t=2"
    alone = ask([{**WATCH, "carry_query": False}], "/watch?v=a&list=x")
    assert alone["Location"] == "/?youtube=a"


@pytest.mark.parametrize(
    "url", ["/watch", "/watch?v=", "/watch?v=a%20b", "/watched?v=a", "/watch/?v=a"]
)
def test_what_does_not_fit_goes_on_to_the_view(ask, url):
    assert ask([WATCH], url).content == b"view"


def test_only_the_methods_of_the_rule(ask):
    assert ask([WATCH], "/watch?v=a", "head").status_code == 307
    assert ask([WATCH], "/watch?v=a", "post").content == b"view"
    posts = {**WATCH, "methods": ["post"], "status": 308}
    assert ask([posts], "/watch?v=a", "post").status_code == 308
    assert ask([posts], "/watch?v=a", "get").content == b"view"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_rule_says_the_status(ask, status):
    rule = {"path": "^/old$", "to": "/new", "status": status}
    response = ask([rule], "/old?a=1")
    assert (response.status_code, response["Location"]) == (status, "/new?a=1")


def test_the_first_rule_that_fits(ask):
    rules = [
        {"path": "^/a", "query": {"x": "1"}, "to": "/one"},
        {"path": "^/a", "to": "/two"},
    ]
    assert ask(rules, "/a?x=1")["Location"] == "/one"
    assert ask(rules, "/a?x=2")["Location"] == "/two?x=2"


def test_a_rule_that_leads_to_where_the_request_is_does_nothing(ask):
    assert ask([{"path": "^/a", "to": "/a"}], "/a?x=1").content == b"view"


@pytest.mark.parametrize("path", ["/a:b/", "/a@b+c/", "/a&b=c,d;e$f!g'(h)*/", "/é/"])
def test_nor_in_another_spelling(ask, path):
    rule = {"path": r"^/(?P<rest>.*?)/*$", "to": "/{rest}/"}
    assert ask([rule], path).content == b"view"
    assert ask([rule], f"{path}/").status_code == 307


def test_another_host_that_the_rule_names(ask):
    rule = {"path": "^/docs/(?P<rest>.*)$", "to": "https://docs.example.com/{rest}"}
    assert ask([rule], "/docs/a/b c?q=1")["Location"] == (
        "https://docs.example.com/a/b%20c?q=1"
    )


def test_below_a_prefix_the_target_is_below_it_too(ask):
    set_script_prefix("/app/")
    try:
        response = ask([{"path": "^/old$", "to": "/new"}], "/old")
    finally:
        set_script_prefix("/")
    assert response["Location"] == "/app/new"


ANYWHERE = Redirect.read({"path": "^/go/(?P<rest>(?s:.*))$", "to": "/{rest}"})
ABROAD = Redirect.read(
    {"path": "^/go/(?P<rest>(?s:.*))$", "to": "https://docs.example.com/{rest}?{rest}"}
)
HOSTILE = ["/evil.test", "//evil.test", "\\evil.test", "/\\evil.test", "\t//evil.test",
           "http://evil.test", "javascript:alert(1)", "@evil.test", "\r\nX: y", "..//x",
           "/%2f/evil.test", "\u2028//evil", "?//evil.test", "#//evil", ""]  # fmt: skip


def hosts(rule, rest, rf):
    request = rf.get("/")
    request.path_info = f"/go/{rest}"
    target = rule.target(request)
    assert HttpResponse(headers={"Location": target})  # no line of its own
    parts = urlsplit(target.replace("\\", "/"))
    return parts.scheme, parts.netloc, target


@pytest.mark.parametrize("rest", HOSTILE)
def test_no_text_of_a_client_chooses_the_host(rf, rest):
    scheme, host, target = hosts(ANYWHERE, rest, rf)
    assert (scheme, host) == ("", "")
    assert target.startswith("/")
    assert not target.startswith(("//", "/\\"))
    assert hosts(ABROAD, rest, rf)[:2] == ("https", "docs.example.com")


@given(rest=st.text())
def test_nor_does_any_text_at_all(rest):
    rf = RequestFactory()
    scheme, host, target = hosts(ANYWHERE, rest, rf)
    assert (scheme, host) == ("", "")
    assert not target.startswith(("//", "/\\"))
    assert hosts(ABROAD, rest, rf)[:2] == ("https", "docs.example.com")


WRONG = {
    "no dictionary": "x",
    "no target": {"path": "^/a"},
    "a key too many": {"path": "^/a", "to": "/b", "code": 301},
    "no expression": {"path": "(", "to": "/b"},
    "no text": {"path": 1, "to": "/b"},
    "a query that is a list": {"path": "^/a", "to": "/b", "query": ["v"]},
    "a query that is none": {"path": "^/a", "to": "/b", "query": {"v": "("}},
    "a status": {"path": "^/a", "to": "/b", "status": 200},
    "methods": {"path": "^/a", "to": "/b", "methods": "GET"},
    "carry_query": {"path": "^/a", "to": "/b", "carry_query": "yes"},
    "a name": {"path": "^/(?P<a>x)", "to": "/{b}"},
    "a number": {"path": "^/(x)", "to": "/{0}"},
    "an attribute": {"path": "^/(?P<a>x)", "to": "/{a.__class__}"},
    "an item": {"path": "^/(?P<a>x)", "to": "/{a[0]}"},
    "a width": {"path": "^/(?P<a>x)", "to": "/{a:>999999999}"},
    "a conversion": {"path": "^/(?P<a>x)", "to": "/{a!r}"},
    "an open brace": {"path": "^/(?P<a>x)", "to": "/{a"},
    "no text to go to": {"path": "^/a", "to": None},
    "two slashes": {"path": "^/a", "to": "//evil.test/"},
    "a backslash": {"path": "^/a", "to": "/\\evil.test"},
    "a relative one": {"path": "^/a", "to": "b"},
    "another scheme": {"path": "^/a", "to": "javascript:alert(1)"},
    "no host": {"path": "^/a", "to": "https:///x"},
    "a host by the client": {"path": "^/(?P<a>x)", "to": "https://{a}/"},
    "a host's end by the client": {"path": "^/(?P<a>x)", "to": "https://x.test{a}"},
    "a port by the client": {"path": "^/(?P<a>x)", "to": "https://x.test:{a}/"},
    "a query without a path": {"path": "^/(?P<a>x)", "to": "https://x.test?{a}"},
    "credentials": {"path": "^/a", "to": "https://a:b@x.test/"},
    "a new line": {"path": "^/a", "to": "/b\r\nX: y"},
    "a fragment": {"path": "^/a", "to": "/b#c"},
}


@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_rule_is_named_by_a_check(perfguard, settings, value):
    settings.MIDDLEWARE = ["perfguard.redirects.middleware.RedirectMiddleware"]
    with pytest.raises(InvalidSetting, match="REDIRECTS"):
        Redirect.read(value)
    perfguard(REDIRECTS=[value])
    assert [each.id for each in check_redirects()] == ["perfguard.E901"]


def test_rules_that_nobody_reads(perfguard, settings):
    settings.MIDDLEWARE = []
    perfguard(REDIRECTS=[WATCH])
    assert [each.id for each in check_redirects()] == ["perfguard.E902"]
    settings.MIDDLEWARE = ["perfguard.redirects.middleware.RedirectMiddleware"]
    assert check_redirects() == []
