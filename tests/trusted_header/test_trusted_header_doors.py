"""The middleware and DRF's authentication, on each request."""

from __future__ import annotations

import asyncio
import json

import pytest
from django.contrib.auth.models import AnonymousUser, Group
from django.contrib.sessions.models import Session
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.test import AsyncClient, Client

from perfguard.trusted_header.middleware import TrustedHeaderMiddleware
from project.demo.models import User
from tests.trusted_header.trusted_header_requests import ANN, PROXY, asking, meta

pytestmark = pytest.mark.django_db

BOB = "bob@example.com"
MINE = "perfguard.trusted_header.middleware.TrustedHeaderMiddleware"


@pytest.fixture
def site(trusted, settings):
    """Signed in by the header on each request."""
    settings.ROOT_URLCONF = "tests.trusted_header.trusted_header_urls"
    assert MINE in settings.MIDDLEWARE
    trusted(TRUSTED_PER_REQUEST=True)
    return trusted


@pytest.fixture
def ann():
    return User.objects.create_user(ANN, "password of ann")


@pytest.fixture
def bob():
    return User.objects.create_user(BOB, "password of bob")


def get(path, client=None, peer=PROXY, **headers):
    return (client or Client()).get(path, REMOTE_ADDR=peer, **meta(**headers))


def post(path, headers=None, **trusted_headers):
    client = Client(headers=headers or {})
    return client.post(path, REMOTE_ADDR=PROXY, **meta(**trusted_headers))


def view(request):
    return HttpResponse(getattr(request.user, "email", "nobody"))


def asking_as(user, **headers):
    request = asking(**headers)
    request.user = user
    return request


# -- the middleware, sync and async ----------------------------------------------------


def test_the_header_signs_in_for_the_request(serve, site, ann):
    request = asking_as(AnonymousUser(), email=ANN)
    assert serve(TrustedHeaderMiddleware, view, request).content.decode() == ANN
    assert asyncio.run(request.auser()) == ann


@pytest.mark.usefixtures("ann", "site")
def test_without_a_header_nobody_is_signed_in(serve):
    for request in (
        asking_as(AnonymousUser()),
        asking_as(AnonymousUser(), peer="203.0.113.7", email=ANN),
    ):
        assert serve(TrustedHeaderMiddleware, view, request).content == b"nobody"


@pytest.mark.usefixtures("ann", "trusted")
def test_at_sign_in_alone_the_middleware_signs_nobody_in(serve):
    for headers in ({"email": ANN}, {"email": "no address"}):
        request = asking_as(AnonymousUser(), **headers)
        assert serve(TrustedHeaderMiddleware, view, request).content == b"nobody"


@pytest.mark.parametrize("per_request", [False, True])
def test_a_session_of_somebody_else_is_401(serve, site, told, ann, per_request):
    site(TRUSTED_PER_REQUEST=per_request, TRUSTED_CREATE_USERS=True)
    request = asking_as(ann, email=BOB, name="Bob", groups="", role="admin")
    answer = serve(TrustedHeaderMiddleware, view, request)
    assert answer.status_code == 401
    assert json.loads(answer.content) == {
        "detail": "User mismatch. Please sign in again.",
        "code": "user_mismatch",
    }
    assert answer["WWW-Authenticate"] == 'TrustedHeader realm="api"'
    assert answer["Cache-Control"] == "no-store"
    assert answer.cookies["sessionid"]["max-age"] == 0
    assert told == [("user_mismatch", str(ann.pk))]
    assert not User.objects.filter(email=BOB).exists()


def test_a_session_of_somebody_else_changes_nobody(serve, site, ann, bob):
    bob.groups.set([Group.objects.create(name="ops")])
    site(TRUSTED_ROLES={"admin": {"is_staff": True}})
    request = asking_as(ann, email=BOB, name="Eve", groups="", role="admin")
    assert serve(TrustedHeaderMiddleware, view, request).status_code == 401
    for user in (ann, bob):
        user.refresh_from_db()
        assert (user.name, user.is_staff) == ("", False)
    assert bob.groups.count() == 1


def test_a_session_of_the_same_user_passes_and_follows_the_header(serve, site, ann):
    request = asking_as(ann, email="Ann@Example.com", name="Ann")
    assert serve(TrustedHeaderMiddleware, view, request).content.decode() == ANN
    ann.refresh_from_db()
    assert ann.name == "Ann"


def test_a_session_without_a_header_passes(serve, site, ann):
    for headers in ({}, {"peer": "203.0.113.7", "email": BOB, "name": "Eve"}):
        request = asking_as(ann, **headers)
        assert serve(TrustedHeaderMiddleware, view, request).content.decode() == ANN
    ann.refresh_from_db()
    assert ann.name == ""


def test_at_sign_in_alone_a_session_is_compared_and_does_not_follow(serve, site, ann):
    site(TRUSTED_PER_REQUEST=False)
    request = asking_as(ann, email=ANN, name="Ann")
    assert serve(TrustedHeaderMiddleware, view, request).content.decode() == ANN
    ann.refresh_from_db()
    assert ann.name == ""


@pytest.mark.usefixtures("site")
def test_a_header_that_is_ignored_asks_nothing_of_the_sessions_user(serve, ann):
    ann.is_active = False  # whom some back ends of Django let in
    request = asking_as(ann, peer="203.0.113.7", email=ANN)
    assert serve(TrustedHeaderMiddleware, view, request).content.decode() == ANN


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(
    ("email", "code"),
    [(f"{ANN},{ANN}", "several_values"), ("", "malformed"), (BOB, "unknown_user")],
)
def test_a_header_that_leads_nowhere_is_401(serve, told, email, code):
    request = asking_as(AnonymousUser(), email=email)
    answer = serve(TrustedHeaderMiddleware, view, request)
    assert (answer.status_code, json.loads(answer.content)["code"]) == (401, code)
    assert told == [(code, "")]


def test_an_inactive_user_is_401(serve, site, ann):
    User.objects.update(is_active=False)
    ann.refresh_from_db()
    for user in (AnonymousUser(), ann):
        answer = serve(TrustedHeaderMiddleware, view, asking_as(user, email=ANN))
        assert json.loads(answer.content)["code"] == "inactive"


@pytest.mark.usefixtures("site")
def test_without_authentication_before_it_nothing_is_answered(serve):
    with pytest.raises(ImproperlyConfigured, match="AuthenticationMiddleware"):
        serve(TrustedHeaderMiddleware, view, asking(email=ANN))


def test_switched_off_it_does_nothing(serve, django_assert_num_queries):
    with django_assert_num_queries(0):
        request = asking_as(AnonymousUser(), email=ANN)
        answer = serve(TrustedHeaderMiddleware, view, request)
    assert answer.content == b"nobody"
    assert "Vary" not in answer


@pytest.mark.usefixtures("site")
def test_a_cache_is_told_that_answers_differ_by_person(serve):
    answer = serve(TrustedHeaderMiddleware, view, asking_as(AnonymousUser()))
    assert answer["Vary"] == "X-Email"


# -- plain views of a whole site -------------------------------------------------------


@pytest.mark.usefixtures("site", "ann")
def test_a_plain_view_sees_the_user_and_no_session_begins():
    answer = get("/plain", email=ANN)
    assert answer.json() == {"email": ANN}
    assert not answer.cookies
    assert not Session.objects.exists()
    assert get("/plain").json() == {"email": None}


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("ann")
@pytest.mark.parametrize(("proxy", "status"), [("127.0.0.1", 200), ("10.0.0.1", 302)])
def test_an_async_view_sees_the_user(site, proxy, status):
    site(TRUSTED_PROXIES=[proxy])

    async def ask():  # from 127.0.0.1
        return await AsyncClient().get("/waiting", headers={"X-Email": ANN})

    answer = asyncio.run(ask())
    assert answer.status_code == status
    assert (ANN in answer.content.decode()) is (status == 200)


def test_the_admin_lets_in_staff_whom_a_role_made(site, ann):
    site(TRUSTED_ROLES={"admin": {"is_staff": True}})
    assert get("/admin/", email=ANN).status_code == 302
    assert get("/admin/", email=ANN, role="admin").status_code == 200


def test_a_real_session_of_somebody_else_is_401_and_lives_on(site, ann, bob):
    client = Client()
    client.force_login(bob)
    assert get("/plain", client, email=BOB).json() == {"email": BOB}
    refused = get("/plain", client, email=ANN)
    assert refused.status_code == 401
    assert refused.cookies["sessionid"].value == ""
    assert Session.objects.count() == 1
    # The browser has forgotten it, and is let in as who it is.
    assert get("/plain", client, email=ANN).json() == {"email": ANN}


def test_a_session_costs_no_look_for_the_user(site, ann, django_assert_num_queries):
    client = Client()
    client.force_login(ann)
    with django_assert_num_queries(2):  # the session and its user
        get("/plain", client, email=ANN, name="")


# -- DRF -------------------------------------------------------------------------------


@pytest.fixture
def api(trusted, settings):
    settings.ROOT_URLCONF = "tests.trusted_header.trusted_header_urls"
    trusted(TRUSTED_PER_REQUEST=True)
    return trusted


@pytest.mark.usefixtures("api", "ann")
def test_an_api_sees_the_user():
    assert get("/api", email=ANN).json() == {"email": ANN}
    assert get("/open", email=ANN).json() == {"email": ANN}


@pytest.mark.usefixtures("ann")
def test_an_api_steps_aside_unless_it_is_per_request(api):
    api(TRUSTED_PER_REQUEST=False)
    for email in (ANN, "no address"):
        assert get("/api", email=email).status_code == 401
        assert get("/open", email=email).json() == {"email": None}


@pytest.mark.usefixtures("api", "ann")
@pytest.mark.parametrize("headers", [{}, {"peer": "203.0.113.7", "email": ANN}])
def test_an_api_without_a_header_that_counts_is_401(headers):
    answer = get("/api", **headers)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == 'TrustedHeader realm="api"'


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize(
    ("email", "code"),
    [(f"{ANN},{BOB}", "several_values"), ("x", "malformed"), (ANN, "unknown_user")],
)
def test_an_api_refuses_a_header_that_leads_nowhere(told, email, code):
    for path in ("/api", "/open"):
        answer = get(path, email=email)
        assert answer.status_code == 401
        assert answer.json()["code"] == code
        assert answer["WWW-Authenticate"] == 'TrustedHeader realm="api"'
    assert told == [(code, "")] * 2


@pytest.mark.usefixtures("api", "ann")
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.org"}, 403),
        ({"Origin": "http://testserver"}, 200),
        ({"Origin": "https://testserver"}, 403),
        ({"Origin": "http://testserver.evil.org"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "https://app.example.com"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://a.b.example.org"}, 200),
        ({"Origin": "http://app.example.com"}, 403),
        ({"Origin": "https://app.example.com.evil.org"}, 403),
    ],
    ids=str,
)
def test_a_browser_that_acts_for_another_site_is_403(settings, headers, status):
    settings.CSRF_TRUSTED_ORIGINS = [
        "https://app.example.com",
        "https://*.example.org",
    ]
    assert post("/api", headers, email=ANN).status_code == status


@pytest.mark.usefixtures("api", "ann")
def test_reading_for_another_site_is_cors_business():
    client = Client(headers={"Sec-Fetch-Site": "cross-site"})
    assert get("/api", client, email=ANN).status_code == 200


def test_another_site_creates_and_changes_nobody(api, told):
    api(TRUSTED_CREATE_USERS=True)
    answer = post("/api", {"Sec-Fetch-Site": "cross-site"}, email=ANN)
    assert answer.status_code == 403
    assert not User.objects.exists()
    assert told == [("cross_site", "")]


def test_the_middleware_signs_nobody_in_for_another_site(site):
    site(TRUSTED_PER_REQUEST=True, TRUSTED_CREATE_USERS=True)
    answer = post("/plain", {"Sec-Fetch-Site": "cross-site"}, email=ANN)
    assert answer.json() == {"email": None}
    assert not User.objects.exists()
    assert post("/plain", {"Sec-Fetch-Site": "same-origin"}, email=ANN).json() == {
        "email": ANN
    }


# -- not Django's own ------------------------------------------------------------------


@pytest.mark.usefixtures("api", "site", "ann")
@pytest.mark.parametrize("name", ["HTTP_REMOTE_USER", "REMOTE_USER"])
def test_remote_user_is_nothing_here(name):
    for path in ("/plain", "/open"):
        answer = Client().get(path, REMOTE_ADDR=PROXY, **{name: ANN})
        assert answer.json() == {"email": None}
