"""The middleware, the decorator and the permissions, sync and async."""

from __future__ import annotations

import subprocess
import sys

import pytest
from asgiref.sync import async_to_sync
from django.http import HttpResponse
from django.test import AsyncClient, Client, RequestFactory

from perfguard.api_keys import services
from perfguard.api_keys.keys import as_text, generate
from perfguard.api_keys.middleware import ApiKeyRestrictionMiddleware
from perfguard.api_keys.requests import ATTRIBUTE
from tests.servers import ROOT

pytestmark = [
    pytest.mark.urls("tests.api_keys.urls_api_keys"),
    pytest.mark.django_db(transaction=True),
]
BAD = {"detail": "The API key is not valid.", "code": "invalid_api_key"}


@pytest.fixture
def through(serve, perfguard):
    """``through(path, text)``: the answer, and the request as the view saw it."""
    perfguard()

    def run(path, text="", view=None, **headers):
        seen = []
        if text:
            headers["Authorization"] = f"Api-Key {text}"
        request = RequestFactory().get(path, headers=headers)

        def default(request):
            seen.append(request)
            return HttpResponse("the view")

        answer = serve(ApiKeyRestrictionMiddleware, view or default, request)
        return answer, (seen or [None])[0]

    return run


# -- middleware ------------------------------------------------------------------------


def test_a_refused_call_costs_no_view(through, owner):
    text = services.create(owner, "limited", endpoints=["GET chats"]).text
    answer, seen = through("/api/v1/who", text)
    assert (answer.status_code, seen) == (403, None)
    answer, seen = through("/api/v1/chats", text)
    assert answer.status_code == 200
    assert getattr(seen, ATTRIBUTE).is_restricted


def test_restrictions_hold_for_a_view_without_a_door(through, owner):
    text = services.create(owner, "limited", endpoints=["GET chats"]).text
    for path in ("/api/v1/open", "/plain/unguarded"):
        answer, seen = through(path, text)
        assert (answer.status_code, seen) == (403, None)


def test_a_bad_key_passes_to_the_door_of_the_view(through):
    for text in (as_text(generate()), "garbage"):
        answer, seen = through("/api/v1/who", text)
        assert answer.content == b"the view"
        assert not hasattr(seen, ATTRIBUTE)


def test_switched_off_is_refused_before_the_view(through, issued, perfguard):
    perfguard(API_KEYS_ENABLED=False)
    answer, seen = through("/plain/unguarded", issued.text)
    assert (answer.status_code, seen) == (403, None)
    assert b"api_keys_disabled" in answer.content


def test_a_request_without_a_key_asks_nobody(through, proxy, django_assert_num_queries):
    with proxy.counted() as trips, django_assert_num_queries(0):
        answer, _ = through("/api/v1/who")
    assert answer.content == b"the view"
    assert trips == [0]


def test_caches_are_told_of_the_header_that_may_hold_a_key(through, perfguard):
    assert "Vary" not in through("/api/v1/who")[0].headers
    perfguard(API_KEYS_HEADER="X-API-Key")
    assert through("/api/v1/who")[0].headers["Vary"] == "X-API-Key"


def test_those_who_guess_are_counted_by_their_address(api, settings, perfguard):
    perfguard(
        THROTTLE_RATES={"guess": "5/minute"},
        THROTTLE_PATHS=[{"path": "^/api/", "scope": "guess"}],
    )
    settings.MIDDLEWARE = [
        "perfguard.api_keys.middleware.ApiKeyRestrictionMiddleware",
        "perfguard.throttling.middleware.ThrottleMiddleware",
    ]
    codes = [api.status(as_text(generate())) for _ in range(7)]
    assert codes == [401] * 5 + [429] * 2


# -- decorator -------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/plain/sync", "/plain/async"])
def test_a_plain_view_takes_a_good_key_and_nothing_else(api, issued, owner, path):
    answer = api.get(path, issued.text)
    assert answer.json() == {"user": owner.pk, "key": issued.api_key.key_id}
    missing = api.get(path)
    assert missing.status_code == 401
    assert missing.json()["code"] == "not_authenticated"
    assert missing.headers["WWW-Authenticate"] == 'Api-Key realm="api"'
    bad = api.get(path, as_text(generate()))
    assert (bad.status_code, bad.json()) == (401, BAD)
    assert 'error="invalid_token"' in bad.headers["WWW-Authenticate"]


def test_plain_views_and_drf_answer_alike(api, owner, settings):
    revoked = services.create(owner, "revoked")
    services.revoke(revoked.api_key)
    limited = services.create(owner, "limited", endpoints=[]).text
    for text in (revoked.text, limited, "garbage"):
        answers = [
            api.get(path, text)
            for path in ("/plain/sync", "/plain/async", "/api/v1/who")
        ]
        assert len({each.status_code for each in answers}) == 1
        assert all(each.json() == answers[0].json() for each in answers)
        challenges = {each.headers["WWW-Authenticate"] for each in answers}
        assert len(challenges) == 1


def test_a_session_is_no_key(api, issued, owner):
    api.client.force_login(owner)
    assert api.get("/plain/sync").status_code == 401


def test_a_post_with_a_key_needs_no_csrf_token(issued):
    client = Client(enforce_csrf_checks=True)
    headers = {"Authorization": f"Api-Key {issued.text}"}
    assert client.post("/plain/posts", headers=headers).status_code == 200
    assert client.post("/plain/posts").status_code == 401


def test_plain_views_work_under_asgi(issued, owner):
    headers = {"Authorization": f"Api-Key {issued.text}"}

    @async_to_sync
    async def get(path):
        return await AsyncClient().get(path, headers=headers)

    for path in ("/plain/sync", "/plain/async"):
        assert get(path).json() == {"user": owner.pk, "key": issued.api_key.key_id}


# -- permissions -----------------------------------------------------------------------


def test_people_alone_pass_where_keys_may_not(api, issued, owner):
    assert api.status(issued.text, "/api/v1/people-only") == 403
    assert api.status(issued.text, "/api/v1/keys-only") == 200
    assert api.get("/api/v1/keys-only").status_code == 401


# -- without DRF -----------------------------------------------------------------------


WITHOUT_DRF = """
import sys
sys.modules.update(dict.fromkeys(("rest_framework", "rest_framework_simplejwt")))
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
        "django.contrib.admin",
        "perfguard",
    ],
    SECRET_KEY="x" * 50,
    ROOT_URLCONF="tests.empty_urls",
)
django.setup()
from importlib import import_module
from pathlib import Path
here = Path("perfguard/api_keys")
known = {"authentication", "permissions", "serializers", "views"}
names = {each.stem for each in here.glob("*.py")} - known
for name in names:
    import_module(f"perfguard.api_keys.{name}")
import_module("perfguard.management.commands.perfguard_keys")
print(len(names))
"""


def test_everything_but_the_doors_of_drf_works_without_drf():
    command = [sys.executable, "-c", WITHOUT_DRF]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 15
