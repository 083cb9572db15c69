"""Where an API key may be used, however the path is spelled."""

from __future__ import annotations

import pytest
from asgiref.sync import async_to_sync
from django.http import Http404
from django.test import AsyncClient, RequestFactory

from perfguard.api_keys import services
from perfguard.api_keys.authentication import ApiKeyAuthentication
from perfguard.api_keys.models import ApiKey
from perfguard.tokens.tokens import AccessToken

pytestmark = [
    pytest.mark.urls("tests.api_keys.urls_api_keys"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("either_way"),
]

FORBIDDEN = {
    "detail": "The API key may not be used for this.",
    "code": "insufficient_scope",
}


@pytest.fixture
def limited(api, owner):
    """``limited("GET notes:list", ...)`` is a key with those rules."""

    def make(*rules):
        return services.create(owner, "limited", endpoints=rules).text

    return make


# -- rules of a key --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "allowed", "refused"),
    [
        ("GET chats", ["/api/v1/chats"], ["/api/v1/chats/", "/api/v1/chats/5"]),
        ("GET notes:list", ["/api/v1/notes"], ["/api/v1/notes/1", "/api/v1/chats"]),
        ("GET list", [], ["/api/v1/notes"]),
        (
            "GET /api/v1/chats",
            ["/api/v1/chats", "/api/v1/chats/", "/api/v1/chats/5/messages"],
            ["/api/v1/chatsX", "/api/v1/who"],
        ),
        ("GET /api/v1/chats/", ["/api/v1/chats", "/api/v1/chats/"], ["/api/v1/chatsX"]),
        (
            "GET /api/v1/chats/<int:pk>",
            ["/api/v1/chats/5"],
            ["/api/v1/chats", "/api/v1/chats/5/messages"],
        ),
        ("GET /api/v1/chats/5", ["/api/v1/chats/5"], ["/api/v1/chats/55"]),
        ("GET models", ["/api/models/a/b"], ["/api/models", "/api/admin/"]),
        ("* /", ["/api/v1/chats", "/api/admin/"], []),
    ],
)
def test_a_rule_allows_what_it_names_and_nothing_else(
    api, limited, rule, allowed, refused
):
    text = limited(rule) if rule != "GET list" else unchecked(limited, rule)
    assert [api.status(text, path) for path in allowed] == [200] * len(allowed)
    for path in refused:
        answer = api.get(path, text)
        assert (answer.status_code, answer.json()) == (403, FORBIDDEN)
        assert answer.headers["WWW-Authenticate"] == (
            'Api-Key realm="api", error="insufficient_scope"'
        )


def unchecked(limited, *rules):
    """A key with rules that no door would have taken."""
    text = limited("GET chats")
    ApiKey.objects.update(allowed_endpoints="\n".join(rules))
    return text


def test_a_key_with_several_rules_may_do_what_any_of_them_allows(api, limited):
    text = limited("GET chats", "GET,POST notes:list")
    assert api.status(text, "/api/v1/chats") == 200
    assert api.call("post", "/api/v1/notes", text).status_code == 200
    assert api.call("post", "/api/v1/chats", text).status_code == 403


@pytest.mark.parametrize(
    "rules", [[], [""], ["nonsense"], ["GET"], ["GE chats"], ["\x00"]]
)
def test_what_cannot_be_read_allows_nothing(api, limited, rules):
    assert api.status(unchecked(limited, *rules), "/api/v1/chats") == 403


def test_an_empty_list_allows_nothing_and_no_list_everything(api, owner):
    assert api.status(services.create(owner, "a", endpoints=[]).text) == 403
    assert api.status(services.create(owner, "b", endpoints=None).text) == 200


def test_a_key_that_is_refused_is_told_with_its_owner(api, limited, refused, owner):
    api.get("/api/v1/who", limited("GET chats"))
    (told,) = refused
    assert (told["code"], told["user_key"]) == ("insufficient_scope", str(owner.pk))


def test_where_nothing_is_it_is_404_for_a_limited_key_as_for_everyone(api, limited):
    answers = [
        api.get("/api/v1/nowhere", key) for key in ("", limited("GET chats"), "x")
    ]
    assert [answer.status_code for answer in answers] == [404] * 3
    assert len({answer.content for answer in answers}) == 1


@pytest.mark.parametrize(
    "header", ["Authorization: Api-Key {}", "Authorization: Bearer {}", "X-API-Key: {}"]
)
def test_restrictions_hold_by_every_transport(api, limited, perfguard, header):
    perfguard(API_KEYS_HEADER="X-API-Key")
    name, _, value = header.format(limited("GET chats")).partition(": ")
    assert api.get("/api/v1/chats", **{name: value}).status_code == 200
    for path in ("/api/v1/who", "/api/v1/jwt-first", "/plain/sync", "/plain/async"):
        assert api.get(path, **{name: value}).status_code == 403
    cookie = api.client.cookies
    cookie["key"] = limited("GET chats")
    assert api.get("/api/v1/who").status_code == 401


def test_a_forged_host_leads_nowhere(api, limited, settings):
    settings.ALLOWED_HOSTS = ["*"]
    text = limited("GET chats")
    for host in ("evil/api/v1/chats", "api", "x/api/v1/chats?", "api%2fv1%2fchats"):
        assert api.get("/api/v1/who", text, Host=host).status_code in {400, 403}


# -- methods ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "method", "path", "status"),
    [
        ("GET chats", "post", "/api/v1/chats", 403),
        ("GET chats", "head", "/api/v1/chats", 200),
        ("GET chats", "options", "/api/v1/chats", 403),
        ("GET,OPTIONS chats", "options", "/api/v1/chats", 200),
        ("HEAD chats", "get", "/api/v1/chats", 403),
        ("POST chats", "head", "/api/v1/chats", 403),
        ("* chats", "delete", "/api/v1/chats", 200),
        ("* chats", "patch", "/api/v1/chats", 405),
        ("get chats", "get", "/api/v1/chats", 200),
        # A class with a head() of its own; a view set; a function.
        ("GET own-head", "head", "/api/v1/own-head", 403),
        ("GET,HEAD own-head", "head", "/api/v1/own-head", 200),
        ("GET notes:list", "head", "/api/v1/notes", 200),
        ("POST notes:list", "head", "/api/v1/notes", 403),
        ("GET function", "head", "/api/v1/function", 405),
        ("GET plain", "head", "/plain/sync", 403),
        ("GET,HEAD plain", "head", "/plain/sync", 200),
    ],
)
def test_methods_follow_the_handler_that_runs(api, limited, rule, method, path, status):
    text = limited(rule)
    for _ in range(2):  # view sets learn of HEAD with their first request
        assert api.call(method, path, text).status_code == status


@pytest.mark.parametrize(
    "header", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"]
)
def test_no_header_turns_one_method_into_another(api, limited, header):
    text = limited("GET chats")
    answer = api.call("post", "/api/v1/chats", text, **{header: "GET"})
    assert answer.status_code == 403
    answer = api.call("get", "/api/v1/chats", text, **{header: "DELETE"})
    assert answer.json() == {"view": "chats"}


# -- how a path may be spelled ---------------------------------------------------------

ODD = [
    "//api/v1/who",
    "/api//v1/who",
    "/api/v1//who",
    "/api/v1/./who",
    "/./api/v1/who",
    "/api/v1/chats/../who",
    "/api/v1/chats/..%2fwho",
    "/api/v1/chats/%2e%2e/who",
    "/api/v1/chats/%2E%2E%2Fwho",
    "/api/v1/chats/%252e%252e/who",
    "/api/v1/chats%2f..%2fwho",
    "/api/v1/chats;x=1/../who",
    "/api/v1/who;x=1",
    "/api/v1/chats;/../who",
    "/api/v1/chats%00/../who",
    "/api/v1/who%00",
    "/api/v1/who%0a",
    "/api/v1/who%20",
    "/API/V1/WHO",
    "/api/v1/Who",
    "/api/v1/who/",
    "/api/v１/who",
    "/api/v1/chats\\..\\who",
    "/api/v1/chats%5c..%5cwho",
    "/api/v1/who?/api/v1/chats",
    "/api/v1/who#/api/v1/chats",
    "/api/v1/chats/..;/who",
    "/api/models/../v1/who",
    "http://testserver/api/v1/chats/../who",
]


@pytest.mark.parametrize("rule", ["* chats", "* /api/v1/chats"])
def test_no_spelling_leads_to_a_view_that_is_not_allowed(api, limited, rule):
    text = limited(rule)
    codes = {path: api.get(path, text).status_code for path in ODD}
    assert {path: code for path, code in codes.items() if code not in {403, 404}} == {}


def test_no_spelling_passes_the_restriction_of_all_keys(api, issued, perfguard):
    perfguard(
        API_KEYS_ENDPOINT_RESTRICTIONS=True,
        API_KEYS_ALLOWED_ENDPOINTS=["/api/v1/chats"],
    )
    codes = {path: api.get(path, issued.text).status_code for path in ODD}
    assert {path: code for path, code in codes.items() if code not in {403, 404}} == {}


def test_a_route_that_takes_anything_grants_its_own_view_and_no_other(api, limited):
    by_name, by_path = limited("GET models"), limited("GET /api/models")
    answer = api.get("/api/models/../admin/", by_name)
    assert answer.json() == {"view": "models", "rest": "../admin/"}
    # A path that readers would take apart in different ways is under no path.
    assert api.status(by_path, "/api/models/../admin/") == 403
    assert api.status(by_path, "/api/models/%2e%2e/admin/") == 403
    assert api.status(by_path, "/api/models/%252e%252e/admin/") == 403
    assert api.status(by_path, "/api/models/a/b") == 200
    assert api.status(by_name, "/api/admin/") == 403


def test_digits_of_other_scripts_and_any_case_are_the_route_that_they_match(
    api, limited
):
    by_name, by_path = limited("GET odd"), limited("GET /api/odd")
    wide = "/api/odd/%EF%BC%91%EF%BC%92"
    assert api.get(wide, by_name).json() == {"view": "odd", "number": "１２"}
    assert api.status(by_path, wide) == 200  # below the path, and that very view
    assert api.status(limited("GET /api/odd/12"), wide) == 403
    any_case = limited("GET any-case"), limited("* /any/case")
    assert api.status(any_case[0], "/any/Case") == 200
    assert api.status(any_case[1], "/any/Case") == 403
    assert api.status(any_case[1], "/any/case") == 200


def test_the_place_of_the_site_is_no_part_of_the_path(api, limited):
    text = limited("* /api/v1/chats")
    answer = api.client.get(
        "/api/v1/who",
        headers={"Authorization": f"Api-Key {text}"},
        SCRIPT_NAME="/api/v1/chats",
    )
    assert answer.status_code == 403
    answer = api.client.get(
        "/api/v1/who",
        headers={"Authorization": f"Api-Key {text}", "SCRIPT_NAME": "/api/v1/chats"},
    )
    assert answer.status_code == 403


# -- the restriction of all keys -------------------------------------------------------


@pytest.mark.parametrize(
    ("entries", "path", "status"),
    [
        (["/api/v1/chats"], "/api/v1/chats", 200),
        (["/api/v1/chats"], "/api/v1/chats/", 200),
        (["/api/v1/chats"], "/api/v1/chats/5", 200),
        (["/api/v1/chats"], "/api/v1/chatsX", 403),
        (["/api/v1/chats/"], "/api/v1/chats", 200),
        (["/api/v1/chats/"], "/api/v1/chats/5", 200),
        (["/api/v1/chats/"], "/api/v1/chatsX", 403),
        (["/api/v1/who", "/api/v1/chats"], "/api/v1/chats", 200),
        (["/"], "/api/v1/chats", 200),
        ([], "/api/v1/chats", 403),
        ([""], "/api/v1/chats", 403),
        ([" "], "/api/v1/chats", 403),
        (["", "/api/v1/who"], "/api/v1/chats", 403),
        (["api/v1/chats"], "/api/v1/chats", 403),
        (["/api/v1/chat"], "/api/v1/chats", 403),
    ],
)
def test_all_keys_are_kept_to_the_listed_paths(
    api, issued, perfguard, entries, path, status
):
    perfguard(API_KEYS_ENDPOINT_RESTRICTIONS=True, API_KEYS_ALLOWED_ENDPOINTS=entries)
    assert api.status(issued.text, path) == status


def test_a_list_without_the_switch_restricts_nothing(api, issued, perfguard):
    perfguard(API_KEYS_ALLOWED_ENDPOINTS=["/api/v1/chats"])
    assert api.status(issued.text) == 200


def test_both_restrictions_must_allow(api, limited, perfguard):
    text = limited("GET chats", "GET who")
    perfguard(
        API_KEYS_ENDPOINT_RESTRICTIONS=True,
        API_KEYS_ALLOWED_ENDPOINTS=["/api/v1/chats"],
    )
    assert api.status(text, "/api/v1/chats") == 200
    assert api.status(text, "/api/v1/who") == 403
    assert api.status(text, "/api/v1/chats/5") == 403


def test_people_are_not_restricted(api, owner, perfguard):
    perfguard(API_KEYS_ENDPOINT_RESTRICTIONS=True)
    token = str(AccessToken.for_user(owner))
    assert api.get("/api/v1/who", Authorization=f"Bearer {token}").status_code == 200
    assert api.get("/api/v1/public").status_code == 200


# -- views that are closed to keys -----------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/closed",
        "/api/v1/closed-by-decorator",
        "/api/v1/closed-function",
        "/api/v1/people-only",
        "/api/v1/keys",
    ],
)
def test_a_closed_view_takes_no_key_whatever_its_rules(api, issued, limited, path):
    everywhere = limited("* /")
    for text in (issued.text, everywhere):
        answer = api.get(path, text)
        assert (answer.status_code, answer.json()) == (403, FORBIDDEN)


def test_a_closed_class_is_opened_by_an_option_of_one_url(api, issued):
    assert api.status(issued.text, "/api/v1/opened") == 200


def test_a_key_signs_nobody_in_on_the_admin_site(api, boss):
    text = services.create(boss, "of a superuser").text
    answer = api.get("/admin/", text)
    assert (answer.status_code, answer.url) == (302, "/admin/login/?next=/admin/")


def test_a_view_for_keys_alone_takes_no_person(api, issued, owner):
    token = str(AccessToken.for_user(owner))
    answer = api.get("/api/v1/keys-only", Authorization=f"Bearer {token}")
    assert answer.status_code == 403
    assert api.status(issued.text, "/api/v1/keys-only") == 200


# -- order -----------------------------------------------------------------------------


def test_the_authenticator_restricts_by_itself(limited):
    text = limited("GET chats")
    factory = RequestFactory(headers={"Authorization": f"Api-Key {text}"})
    door = ApiKeyAuthentication()

    class Wrapped:
        def __init__(self, request):
            self._request = request

    _, key = door.authenticate(Wrapped(factory.get("/api/v1/chats")))
    assert key.is_restricted
    with pytest.raises(Exception, match="may not be used") as caught:
        door.authenticate(Wrapped(factory.get("/api/v1/who")))
    assert caught.value.status_code == 403
    with pytest.raises(Http404):
        door.authenticate(Wrapped(factory.get("/api/v1/nowhere")))


def test_a_request_that_is_sent_elsewhere_after_the_middleware_is_still_restricted(
    api, limited, settings
):
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "tests.api_keys.middleware_api_keys.elsewhere",
    ]
    text = limited("GET chats")
    assert (
        api.get("/api/v1/chats", text, **{"X-Path": "/api/v1/who"}).status_code == 403
    )
    method = {"X-Method": "DELETE"}
    assert api.get("/api/v1/chats", text, **method).status_code == 403
    assert api.get("/api/v1/chats", text).status_code == 200


def test_restrictions_hold_under_asgi(api, limited):
    text = limited("GET chats", "GET aplain")
    client, headers = AsyncClient(), {"Authorization": f"Api-Key {text}"}

    @async_to_sync
    async def status(path):
        return (await client.get(path, headers=headers)).status_code

    assert status("/api/v1/chats") == 200
    assert status("/plain/async") == 200
    assert status("/api/v1/who") == 403
    assert status("/plain/sync") == 403
    assert status("/api/v1/nowhere") == 404
