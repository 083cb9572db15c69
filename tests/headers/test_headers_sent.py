"""What is sent, and what is left as a view set it."""

from __future__ import annotations

import logging

import pytest
from asgiref.sync import async_to_sync
from django.http import HttpResponse, StreamingHttpResponse
from django.test import override_settings
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.clickjacking import (
    xframe_options_exempt,
    xframe_options_sameorigin,
)
from rest_framework.response import Response
from rest_framework.views import APIView

from perfguard.exceptions import InvalidSetting
from perfguard.headers.decorators import security_headers, security_headers_exempt

STRICT = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Origin-Agent-Cluster": "?1",
    "X-Permitted-Cross-Domain-Policies": "none",
    "X-Download-Options": "noopen",
    "Cache-Control": "no-store",
}
# The headers that the system to match knows, each with another value than the preset's.
OTHERS = {
    "Strict-Transport-Security": "max-age=300",
    "X-Frame-Options": "SAMEORIGIN",
    "Permissions-Policy": "camera=(self)",
    "Referrer-Policy": "strict-origin",
    "Cache-Control": "private, max-age=60",
    "X-Content-Type-Options": "nosniff",
    "X-Download-Options": "noopen",
    "X-Permitted-Cross-Domain-Policies": "master-only",
    "Content-Security-Policy": "default-src 'self'",
    "Content-Security-Policy-Report-Only": "default-src 'none'",
    "Cross-Origin-Embedder-Policy": "credentialless",
    "Cross-Origin-Opener-Policy": "same-origin-allow-popups",
    "Cross-Origin-Resource-Policy": "same-site",
    "Reporting-Endpoints": 'csp="/csp-reports"',
}


def answer(**headers):
    return lambda request: HttpResponse(
        "ok", headers={name.replace("_", "-"): it for name, it in headers.items()}
    )


def test_strict_is_the_default(send):
    response = send()
    assert STRICT.items() <= dict(response.items()).items()
    assert "camera=()" in response["Permissions-Policy"]
    assert "default-src 'none'" in response["Content-Security-Policy"]


def test_the_preset_for_an_api_lets_nothing_be_shown(send, perfguard):
    perfguard(HEADERS_PRESET="api")
    policy = send()["Content-Security-Policy"]
    assert policy == "default-src 'none'; frame-ancestors 'none'"


def test_off_sends_nothing(send, perfguard):
    perfguard(HEADERS_PRESET="off")
    response = send(answer(Server="of the view"), secure=True)
    assert dict(response.items()) == {
        "Content-Type": "text/html; charset=utf-8",
        "Server": "of the view",
    }


@pytest.mark.parametrize("name", OTHERS)
def test_off_sends_what_is_given_and_no_more(send, perfguard, name):
    perfguard(HEADERS_PRESET="off", HEADERS={name: OTHERS[name]})
    headers = dict(send(secure=True).items())
    del headers["Content-Type"]
    assert headers == {name: OTHERS[name]}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_given_is_laid_over_the_preset(send, perfguard, name):
    perfguard(HEADERS={name.lower(): OTHERS[name]})
    response = send(secure=True)
    assert response[name] == OTHERS[name]
    assert [key.lower() for key, _ in response.items()].count(name.lower()) == 1


@pytest.mark.parametrize("name", OTHERS)
def test_none_is_not_sent(send, perfguard, name):
    perfguard(HEADERS={name: None})
    assert not send(secure=True).has_header(name)


@pytest.mark.parametrize(
    "name", ["Content-Security-Policy", "Cache-Control", "X-Frame-Options"]
)
def test_what_a_view_set_stays_and_is_sent_once(send, perfguard, name):
    perfguard(HEADERS={name: OTHERS[name]})
    response = send(lambda request: HttpResponse(headers={name.lower(): "view's own"}))
    assert [it for key, it in response.items() if key.lower() == name.lower()] == [
        "view's own"
    ]


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_forced_takes_the_place_of_a_views_own(send, perfguard, name):
    perfguard(HEADERS={name: OTHERS[name]}, HEADERS_FORCE=[name.upper()])
    response = send(
        lambda request: HttpResponse(headers={name: "view's own"}), secure=True
    )
    assert response[name] == OTHERS[name]


def test_what_is_forced_to_none_is_taken_away(send, perfguard):
    view = answer(X_Frame_Options="DENY")
    perfguard(HEADERS={"X-Frame-Options": None})
    assert send(view).has_header("X-Frame-Options")
    perfguard(HEADERS_FORCE=["X-Frame-Options"])
    assert not send(view).has_header("X-Frame-Options")


def test_what_tells_of_the_server_is_taken_away(send, perfguard):
    view = answer(Server="gunicorn/23", X_Powered_By="Django")
    response = send(view)
    assert not response.has_header("Server")
    assert not response.has_header("X-Powered-By")
    perfguard(HEADERS={"Server": "a server"}, HEADERS_FORCE=["Server"])
    assert send(view)["Server"] == "a server"


def test_hsts_is_sent_over_tls_alone(send):
    assert not send().has_header("Strict-Transport-Security")
    sent = send(secure=True)["Strict-Transport-Security"]
    assert sent == "max-age=31536000; includeSubDomains"


def by_proxy(peer):
    return {"REMOTE_ADDR": peer, "HTTP_X_FORWARDED_PROTO": "https"}


@pytest.fixture
def proxied(settings):
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")


@pytest.mark.usefixtures("proxied")
def test_hsts_believes_a_trusted_proxy(send, perfguard):
    perfguard(TRUSTED_PROXIES=["10.0.0.0/8"])
    assert send(**by_proxy("10.0.0.5")).has_header("Strict-Transport-Security")
    assert send(**by_proxy("")).has_header("Strict-Transport-Security") is False
    perfguard(TRUSTED_PROXIES=["unix"])
    assert send(**by_proxy("")).has_header("Strict-Transport-Security")


@pytest.mark.usefixtures("proxied")
def test_hsts_does_not_believe_anybody_else_whoever_set_it(send, perfguard):
    perfguard(TRUSTED_PROXIES=["10.0.0.0/8"])
    view = answer(Strict_Transport_Security="max-age=1")
    for peer in ("203.0.113.7", "10.0.0.5x", "garbage"):
        assert not send(**by_proxy(peer)).has_header("Strict-Transport-Security")
        assert not send(view, **by_proxy(peer)).has_header("Strict-Transport-Security")


@pytest.mark.usefixtures("proxied")
def test_hsts_is_sent_to_an_untrusted_peer_that_came_by_tls_itself(send, perfguard):
    perfguard(TRUSTED_PROXIES=["10.0.0.0/8"])
    response = send(secure=True, REMOTE_ADDR="203.0.113.7")
    # Django sees a header that is missing, and takes the scheme of the socket.
    assert response.has_header("Strict-Transport-Security")


@pytest.mark.parametrize("name", ["PROTO", "PROTOCOL", "SSL"])
def test_a_server_that_believed_too_much_is_not_believed(send, perfguard, name):
    perfguard(TRUSTED_PROXIES=["10.0.0.0/8"])
    told = {"secure": True, f"HTTP_X_FORWARDED_{name}": "https"}
    assert not send(REMOTE_ADDR="127.0.0.1", **told).has_header(
        "Strict-Transport-Security"
    )
    assert send(REMOTE_ADDR="10.0.0.5", **told).has_header("Strict-Transport-Security")


@pytest.mark.usefixtures("proxied")
def test_networks_that_make_no_sense_are_nobody(send, perfguard):
    perfguard(TRUSTED_PROXIES=["10.0.0.1/8"])
    assert not send(**by_proxy("10.0.0.5")).has_header("Strict-Transport-Security")


@pytest.mark.usefixtures("proxied")
def test_hsts_believes_django_where_no_proxies_are_listed(send):
    assert send(**by_proxy("203.0.113.7")).has_header("Strict-Transport-Security")


def test_a_view_that_may_be_framed_is_not_kept_from_it_by_the_policy(send):
    response = send(xframe_options_exempt(answer()))
    assert not response.has_header("X-Frame-Options")
    assert "frame-ancestors" not in response["Content-Security-Policy"]
    response = send(xframe_options_sameorigin(answer()))
    assert response["X-Frame-Options"] == "SAMEORIGIN"
    assert "frame-ancestors 'self'" in response["Content-Security-Policy"]


def test_a_policy_of_the_sites_own_is_not_touched_for_that(send, perfguard):
    perfguard(HEADERS={"Content-Security-Policy": "frame-ancestors 'none'"})
    response = send(xframe_options_exempt(answer()))
    assert response["Content-Security-Policy"] == "frame-ancestors 'none'"


@pytest.mark.parametrize("name", ["ETag", "Last-Modified", "Expires"])
def test_an_answer_that_can_be_asked_for_again_is_kept_by_its_reader_alone(send, name):
    response = send(lambda request: HttpResponse(headers={name: "x"}))
    assert response["Cache-Control"] == "private, no-cache"


def test_a_cache_control_of_the_site_is_for_all_answers(send, perfguard):
    perfguard(HEADERS={"Cache-Control": "no-cache"})
    assert send(answer(ETag="x"))["Cache-Control"] == "no-cache"
    assert send()["Cache-Control"] == "no-cache"


def test_streams_have_them_before_the_first_chunk(send):
    read = []

    def chunks():
        for chunk in (b"one", b"two"):
            read.append(chunk)
            yield chunk

    response = send(lambda request: StreamingHttpResponse(chunks()))
    assert response["X-Frame-Options"] == "DENY"
    assert read == []
    assert b"".join(response.streaming_content) == b"onetwo"


PATHS = [
    {"path": "^/api/", "preset": "api"},
    {"path": "^/embed/", "headers": {"X-Frame-Options": "SAMEORIGIN"}},
    {"path": "^/bare/", "preset": "off", "headers": {"X-Download-Options": "noopen"}},
]


def test_paths_have_headers_of_their_own(send, perfguard):
    perfguard(HEADERS_PATHS=PATHS, HEADERS={"Strict-Transport-Security": "max-age=300"})
    api = send(path="/api/notes", secure=True)
    assert api["Content-Security-Policy"] == (
        "default-src 'none'; frame-ancestors 'none'"
    )
    assert api["Strict-Transport-Security"] == "max-age=300"
    embed = send(path="/embed/1")
    assert embed["X-Frame-Options"] == "SAMEORIGIN"
    assert "frame-ancestors 'self'" in embed["Content-Security-Policy"]
    assert "script-src" in send(path="/elsewhere")["Content-Security-Policy"]


def test_a_path_may_have_none(send, perfguard):
    perfguard(HEADERS_PATHS=PATHS, HEADERS={"X-Frame-Options": "DENY"})
    headers = dict(send(path="/bare/1", secure=True).items())
    del headers["Content-Type"]
    assert headers == {"X-Download-Options": "noopen"}


def test_a_path_may_have_a_preset_where_the_site_has_a_policy(send, perfguard):
    perfguard(HEADERS_PATHS=PATHS, HEADERS={"Content-Security-Policy": "img-src *"})
    assert send(path="/api/")["Content-Security-Policy"].startswith("default-src 'none")
    assert send(path="/")["Content-Security-Policy"] == "img-src *"


def test_settings_are_read_again_when_they_change(send, perfguard):
    assert send()["X-Frame-Options"] == "DENY"
    perfguard(HEADERS={"X-Frame-Options": "SAMEORIGIN"})
    assert send()["X-Frame-Options"] == "SAMEORIGIN"
    with override_settings(SECURE_CSP={"default-src": ["'self'"]}):
        assert send()["Content-Security-Policy"] == "default-src 'self'"
    assert "'none'" in send()["Content-Security-Policy"]


def test_a_wrong_value_leaves_the_last_good_one_and_is_logged_once(
    send, perfguard, caplog
):
    perfguard(HEADERS={"X-Frame-Options": "SAMEORIGIN"})
    send()
    with caplog.at_level(logging.ERROR, "perfguard.headers"):
        perfguard(HEADERS={"X-Frame-Options": "ALLOWALL"})
        assert [send()["X-Frame-Options"] for _ in range(3)] == ["SAMEORIGIN"] * 3
    assert [record.message.count("ALLOWALL") for record in caplog.records] == [1]


@pytest.mark.parametrize(
    "values",
    [
        {"HEADERS": {"X-Frame-Options": "DENY\r\nX-Evil: 1"}},
        {"HEADERS": {"X-Odd": "€"}},
        {"HEADERS": {"X-Odd\r\n": "1", 7: "1", "Set-Cookie": "a=b"}},
        {"HEADERS": {"X-Frame-Options": 7}},
        {"HEADERS": {"Content-Security-Policy": {"script-src": "a; script-src *"}}},
        {"HEADERS": {"Content-Security-Policy": 7}},
        {"HEADERS": "X-Frame-Options: DENY"},
        {"HEADERS_PRESET": "stricter"},
        {"HEADERS_PRESET": ["strict"]},
        {"HEADERS_FORCE": 7},
        {"HEADERS_PATHS": [{"path": "("}, 7, {"headers": 7, "preset": ["x"]}]},
        {"HEADERS_CLEAR_SITE_DATA": ["everything\r\n"]},
        {"HEADERS_REPORT_URL": 'javascript:"\r\n'},
    ],
    ids=range(13),
)
def test_nothing_that_is_wrong_in_the_settings_is_raised_or_sent(
    send, perfguard, values
):
    perfguard(**values)
    response = send(secure=True)
    assert STRICT.items() <= dict(response.items()).items()
    sent = "".join(name + value for name, value in response.items())
    assert sent.isprintable()
    assert "Evil" not in sent
    assert not response.has_header("Set-Cookie")


def test_a_view_has_headers_of_its_own(send):
    view = security_headers(
        {"X-Frame-Options": "SAMEORIGIN", "Permissions-Policy": {"camera": ["self"]}}
    )(answer(X_Frame_Options="DENY"))
    response = send(view)
    assert response["X-Frame-Options"] == "DENY"
    assert response["Permissions-Policy"] == "camera=(self)"


def test_a_view_does_without(send, perfguard):
    view = security_headers({"Cache-Control": None, "Content-Security-Policy": None})(
        answer()
    )
    response = send(view)
    assert not response.has_header("Cache-Control")
    assert not response.has_header("Content-Security-Policy")
    assert response["X-Frame-Options"] == "DENY"
    perfguard(HEADERS_FORCE=["Cache-Control"])
    assert send(view)["Cache-Control"] == "no-store"


def test_a_view_that_is_exempt_has_none(send):
    response = send(security_headers_exempt(answer()), secure=True)
    assert dict(response.items()) == {"Content-Type": "text/html; charset=utf-8"}


def test_decorators_refuse_what_cannot_be_sent():
    with pytest.raises(InvalidSetting, match="none of: DENY"):
        security_headers({"X-Frame-Options": "ALLOWALL"})
    with pytest.raises(TypeError, match="csp_override"):
        security_headers({"Content-Security-Policy": "default-src 'self'"})


mark = security_headers({"X-Frame-Options": "SAMEORIGIN"})


async def coroutine(request):
    return HttpResponse("ok")


class Plain(View):
    def get(self, request):
        return HttpResponse("ok")


@method_decorator(mark, name="dispatch")
class AsyncMethod(View):
    async def get(self, request):
        return HttpResponse("ok")


class Rest(APIView):
    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()

    def get(self, request):
        return Response({})


@method_decorator(mark, name="dispatch")
class RestMethod(Rest):
    pass


urlpatterns = [
    path("async", mark(coroutine)),
    path("class", mark(Plain.as_view())),
    path("async-method", AsyncMethod.as_view()),
    path("drf", mark(Rest.as_view())),
    path("drf-method", RestMethod.as_view()),
]


@pytest.fixture
def _views(settings):
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = ["perfguard.headers.middleware.SecurityHeadersMiddleware"]


@pytest.mark.usefixtures("_views")
@pytest.mark.parametrize("name", [str(each.pattern) for each in urlpatterns])
def test_decorators_fit_every_kind_of_view(name, client, async_client):
    assert client.get(f"/{name}")["X-Frame-Options"] == "SAMEORIGIN"
    response = async_to_sync(async_client.get)(f"/{name}")
    assert response["X-Frame-Options"] == "SAMEORIGIN"
