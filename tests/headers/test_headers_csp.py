"""The content security policy: Django's names, nonces, decorators, and stable text."""

from __future__ import annotations

import gc
import re
import subprocess
import sys
import weakref
from pathlib import Path

import django
import pytest
from django.core.cache import cache
from django.http import HttpResponse
from django.test import RequestFactory

from perfguard.exceptions import InvalidSetting
from perfguard.headers.csp import CSP, Nonce, build_policy, csp, get_nonce
from perfguard.headers.decorators import csp_override, csp_report_only_override
from perfguard.headers.policies import PLACE, doubts, read_policy

ROOT = Path(__file__).resolve().parents[2]
ENFORCE = "Content-Security-Policy"
REPORT_ONLY = "Content-Security-Policy-Report-Only"
WITH_NONCE = {"script-src": [CSP.SELF, CSP.NONCE]}


def reads_nonce(request):
    return HttpResponse(str(csp(request)["csp_nonce"]))


def says_nothing(request):
    return HttpResponse("ok")


def test_the_names_are_djangos():
    if django.VERSION >= (6,):
        assert CSP.__module__ == "django.utils.csp"
        assert build_policy.__module__ == "django.utils.csp"
    assert CSP.SELF == "'self'"
    assert CSP.NONCE == "<CSP_NONCE_SENTINEL>"


POLICIES = [
    ({"default-src": [CSP.SELF]}, "default-src 'self'"),
    (
        {"default-src": CSP.NONE, "img-src": ("a", "b")},
        "default-src 'none'; img-src a b",
    ),
    (
        {"upgrade-insecure-requests": True, "a": False, "b": None},
        "upgrade-insecure-requests",
    ),
    ({"img-src": {"c", "a", "b"}}, "img-src a b c"),
    ({"script-src": [CSP.NONCE]}, ""),
    (WITH_NONCE, "script-src 'self'"),
]


@pytest.mark.parametrize(("policy", "text"), POLICIES, ids=range(len(POLICIES)))
def test_policies_are_built_as_django_6_builds_them(policy, text):
    assert build_policy(policy) == text
    assert build_policy(read_policy(policy)) == text


def test_settings_have_djangos_names(send, settings):
    settings.SECURE_CSP = {"default-src": [CSP.SELF]}
    settings.SECURE_CSP_REPORT_ONLY = {"default-src": [CSP.NONE]}
    response = send()
    assert response[ENFORCE] == "default-src 'self'"
    assert response[REPORT_ONLY] == "default-src 'none'"


def test_what_the_operator_says_stands_above_the_settings(send, settings, perfguard):
    settings.SECURE_CSP = {"default-src": [CSP.SELF]}
    perfguard(HEADERS={ENFORCE: "default-src 'none'; upgrade-insecure-requests"})
    assert send()[ENFORCE] == "default-src 'none'; upgrade-insecure-requests"


@pytest.mark.parametrize("preset", ["strict", "off"])
def test_a_nonce_that_is_read_is_in_the_header_and_new_each_time(
    send, settings, perfguard, preset
):
    perfguard(HEADERS_PRESET=preset)
    settings.SECURE_CSP = settings.SECURE_CSP_REPORT_ONLY = WITH_NONCE
    answers = [send(reads_nonce) for _ in range(3)]
    nonces = [answer.content.decode() for answer in answers]
    assert len(set(nonces)) == 3
    for nonce, answer in zip(nonces, answers, strict=True):
        assert re.fullmatch(r"[\w-]{22,}", nonce)
        assert answer[ENFORCE] == f"script-src 'self' 'nonce-{nonce}'"
        assert answer[REPORT_ONLY] == answer[ENFORCE]


def test_a_nonce_that_nobody_reads_is_not_sent(send, settings):
    settings.SECURE_CSP = WITH_NONCE
    assert send(says_nothing)[ENFORCE] == "script-src 'self'"


def test_a_nonce_has_a_place_in_text(send, perfguard):
    perfguard(HEADERS={ENFORCE: f"script-src 'self' {PLACE}"})
    answer = send(reads_nonce)
    assert answer[ENFORCE] == f"script-src 'self' 'nonce-{answer.content.decode()}'"
    assert send(says_nothing)[ENFORCE] == "script-src 'self'"


def test_a_view_alone_may_have_a_nonce(send, perfguard):
    perfguard(HEADERS_PRESET="off")
    answer = send(csp_override(WITH_NONCE)(reads_nonce))
    assert answer[ENFORCE] == f"script-src 'self' 'nonce-{answer.content.decode()}'"


def test_a_page_with_a_nonce_is_for_its_reader_alone(send, settings, perfguard):
    perfguard(HEADERS_PRESET="off")
    settings.SECURE_CSP = WITH_NONCE
    assert send(reads_nonce)["Cache-Control"] == "private"
    assert not send(says_nothing).has_header("Cache-Control")


@pytest.mark.parametrize("said", ["public, max-age=600", "max-age=60", "no-cache"])
def test_a_page_with_a_nonce_is_never_public(send, settings, perfguard, said):
    settings.SECURE_CSP = WITH_NONCE

    def view(request):
        return HttpResponse(csp(request)["csp_nonce"], headers={"Cache-Control": said})

    answer = send(view)["Cache-Control"]
    assert "private" in answer
    assert "public" not in answer
    perfguard(HEADERS={"Cache-Control": said}, HEADERS_FORCE=["Cache-Control"])
    assert "private" in send(reads_nonce)["Cache-Control"]


OVERRIDDEN = {csp_override: ENFORCE, csp_report_only_override: REPORT_ONLY}


@pytest.mark.parametrize("override", OVERRIDDEN)
def test_a_304_has_no_policy_of_a_views_own(send, override):
    def view(request):
        csp(request)["csp_nonce"]
        return HttpResponse(status=304)

    answer = send(override(WITH_NONCE)(view))
    assert "nonce-" not in str(answer.headers)
    assert OVERRIDDEN[override] not in answer.headers


def nonces_of(response):
    in_body = re.search(r'nonce="([^"]+)"', response.content.decode())[1]
    in_header = re.search(r"'nonce-([^']+)'", response[ENFORCE])[1]
    return in_body, in_header


@pytest.mark.django_db
@pytest.mark.usefixtures("stack")
@pytest.mark.parametrize("path", ["/page", "/cached"])
def test_body_and_header_have_the_same_nonce_also_where_pages_are_cached(client, path):
    cache.clear()
    found = [nonces_of(client.get(path)) for _ in range(3)]
    assert all(in_body == in_header for in_body, in_header in found)
    assert len(set(found)) == 3


@pytest.mark.django_db
def test_a_page_without_a_nonce_is_cached(client, stack):
    cache.clear()
    stack.TEMPLATES[0]["OPTIONS"]["context_processors"].remove(
        "perfguard.headers.csp.csp"
    )
    stack.TEMPLATES = list(stack.TEMPLATES)
    first = client.get("/cached")
    assert 'nonce=""' in first.content.decode()
    assert client.get("/cached")["Expires"] == first["Expires"]


@pytest.mark.usefixtures("stack")
def test_a_stored_page_keeps_the_policy_of_its_nonce(client):
    """304 would replace it, and the page's scripts would not run again."""
    assert "nonce-" in client.get("/etag")[ENFORCE]
    response = client.get("/etag", HTTP_IF_NONE_MATCH='"1"')
    assert response.status_code == 304
    assert not response.has_header(ENFORCE)


def test_a_nonce_makes_no_circle_for_the_garbage_collector():
    gc.disable()
    try:
        request = RequestFactory().get("/")
        request._csp_nonce = Nonce(request)
        assert str(request._csp_nonce)
        known = weakref.ref(request)
        del request
        assert known() is None
    finally:
        gc.enable()


def test_a_nonce_outlives_its_request():
    assert str(Nonce(RequestFactory().get("/")))


def test_requests_without_the_middleware_have_no_nonce(rf):
    assert get_nonce(rf.get("/")) is None


def test_a_view_has_a_policy_of_its_own(send):
    view = csp_override({"default-src": ["a.example"]})(says_nothing)
    view = csp_report_only_override({"img-src": [CSP.NONE]})(view)
    response = send(view)
    assert response[ENFORCE] == "default-src a.example"
    assert response[REPORT_ONLY] == "img-src 'none'"


def test_a_view_has_no_policy(send):
    assert not send(csp_override({})(says_nothing)).has_header(ENFORCE)


def test_a_forced_policy_stands_above_a_views(send, perfguard):
    perfguard(HEADERS_FORCE=[ENFORCE])
    assert "'none'" in send(csp_override({})(says_nothing))[ENFORCE]


@pytest.mark.skipif(django.VERSION < (6,), reason="Django's own decorators")
def test_djangos_own_decorators_and_middleware_are_honoured(send, client, stack):
    from django.views.decorators.csp import csp_override  # noqa: PLC0415

    response = send(csp_override({"default-src": ["a.example"]})(says_nothing))
    assert response[ENFORCE] == "default-src a.example"
    stack.SECURE_CSP = WITH_NONCE
    stack.MIDDLEWARE = [
        *stack.MIDDLEWARE,
        "django.middleware.csp.ContentSecurityPolicyMiddleware",
    ]
    in_body, in_header = nonces_of(client.get("/page"))
    assert in_body == in_header


@pytest.mark.parametrize(
    "policy",
    [
        {"script-src": ["a; script-src *"]},
        {"script-src": ["a", 7]},
        {"script-src\r\nX": ["a"]},
    ],
    ids=range(3),
)
def test_a_views_wrong_policy_leaves_the_sites(send, policy, caplog):
    response = send(csp_override(policy)(says_nothing))
    assert "default-src 'none'" in response[ENFORCE]
    assert "left out" in caplog.text


def test_a_decorator_takes_a_dictionary_and_nothing_else():
    with pytest.raises(TypeError, match="mapping"):
        csp_override("default-src 'self'")


WRONG = [
    {"script-src": ["https://a.example; script-src *"]},
    {"script-src": ["https://a.example, default-src *"]},
    {"script-src": ["'self'\r\nX-Evil: 1"]},
    {"script-src": ["caf\u00e9.example"]},
    {"script-src": 7},
    {"script-src": [None]},
    {"script src": ["'self'"]},
    {"": ["'self'"]},
    {7: []},
    "default-src 'self', script-src *",
    "default-src 'self'; default-src *",
    "default-src caf\u00e9.example",
    ["default-src"],
]


@pytest.mark.parametrize("policy", WRONG, ids=range(len(WRONG)))
def test_a_policy_that_a_browser_would_read_otherwise_is_refused(policy):
    with pytest.raises(InvalidSetting):
        read_policy(policy)


DOUBTS = [
    ({"scrpt-src": ["'self'"]}, "Did you mean 'script-src'?"),
    ({"script-src": ["self"]}, "Write 'self'."),
    ({"script-src": ["sha256-aBc="]}, "Write 'sha256-aBc='."),
    ({"script-src": ["'slef'"]}, "Did you mean 'self'?"),
    ({"script-src": ["'nonce-abc'"]}, "CSP.NONCE"),
    ({"script-src": ["'none'", "a"]}, "stands alone"),
    ({"script-src": ["'qqqqqq'"]}, "pass over"),
]


@pytest.mark.parametrize(("policy", "hint"), DOUBTS, ids=range(len(DOUBTS)))
def test_a_slip_of_the_pen_is_found(policy, hint):
    ((_, found),) = doubts(read_policy(policy))
    assert hint in found


GOOD = [
    *({"default-src": [it.value]} for it in CSP if "'" in it.value),
    {"script-src": ["'sha256-B2yPHKaXnvFWtRChIbabYmUBFZdVfKKXHbWtWidDVF8='"]},
    {"img-src": ["data:", "https:", "*.a.example:8443", "https://a.example/x/"]},
    {"sandbox": ["allow-forms"], "upgrade-insecure-requests": True},
    {"report-uri": ["/r?a=b"], "report-to": ["group"]},
    {"require-trusted-types-for": ["'script'"], "trusted-types": ["a", "'none'"]},
]


@pytest.mark.parametrize("policy", GOOD, ids=range(len(GOOD)))
def test_a_sound_policy_raises_no_doubt(policy):
    assert list(doubts(read_policy(policy))) == []


PROGRAM = """
from django.conf import settings
settings.configure(
    SECURE_CSP={
        "img-src": {"b.example", "a.example", "c.example"}, "font-src": {"z", "y"}
    },
    PERFGUARD={"HEADERS": {"Permissions-Policy": {"usb": ("self",), "hid": []}}},
)
import django
django.setup()
from django.http import HttpResponse
from django.test import RequestFactory
from perfguard.headers.middleware import SecurityHeadersMiddleware
answer = SecurityHeadersMiddleware(lambda request: HttpResponse())
print(answer(RequestFactory().get("/", secure=True)).serialize_headers())
"""


def test_headers_are_the_same_to_the_byte_in_every_process():
    found = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            cwd=ROOT,
            env={"PYTHONHASHSEED": str(seed)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in range(4)
    }
    (text,) = found
    assert b"img-src a.example b.example c.example; font-src y z" in text


def test_debug_pages_have_no_policy_and_other_pages_have(stack, client):
    stack.DEBUG = True
    client.raise_request_exception = False
    for path in ("/boom", "/nowhere"):
        response = client.get(path)
        assert response.status_code in {404, 500}
        assert not response.has_header(ENFORCE)
        assert response["X-Frame-Options"] == "DENY"
    assert client.get("/plain").has_header(ENFORCE)


def test_policies_say_where_to_report(send, perfguard, settings):
    perfguard(HEADERS_REPORT_URL="/csp-reports")
    settings.SECURE_CSP_REPORT_ONLY = {"img-src": [], "report-uri": ["/elsewhere"]}
    response = send()
    assert response[ENFORCE].endswith("report-uri /csp-reports; report-to perfguard")
    assert "/csp-reports" not in response[REPORT_ONLY]
    assert response["Reporting-Endpoints"] == 'perfguard="/csp-reports"'
