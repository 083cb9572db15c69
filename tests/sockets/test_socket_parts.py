"""Upgrades, origins, what a handshake offers, tickets, lifespan, and checks."""

from __future__ import annotations

import asyncio
import json

import pytest
from django.core.checks import run_checks
from django.http import HttpResponse
from django.test import override_settings

from perfguard.asgi import Guard
from perfguard.exceptions import (
    InvalidCredential,
    InvalidSetting,
    TruthUnavailable,
)
from perfguard.sockets import tickets
from perfguard.sockets.credentials import JWT, MARKER, read_offer, without_secrets
from perfguard.sockets.lifespan import Lifespan
from perfguard.sockets.middleware import UpgradeMiddleware, websocket_only
from perfguard.sockets.refusals import Refused
from perfguard.sockets.requests import check_origin, request_of
from perfguard.sockets.tickets import MemoryTickets, Stub, issue, redeem
from perfguard.sockets.upgrades import is_socket_path, path_of, refusal_of
from tests.sockets.socket_peers import scope_of

# -- upgrades --------------------------------------------------------------------------

GOOD = {
    "connection": "keep-alive, Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"connection": "keep-alive"}, "Connection"),
        ({"connection": "close, upgrades"}, "Connection"),
        ({"connection": ""}, "Connection"),
        ({"sec-websocket-key": ""}, "Sec-WebSocket-Key"),
        ({"sec-websocket-key": "AAAA"}, "Sec-WebSocket-Key"),
        ({"sec-websocket-key": "\xff" * 24}, "Sec-WebSocket-Key"),
        ({"sec-websocket-version": "8"}, "Sec-WebSocket-Version"),
        ({"sec-websocket-version": ""}, "Sec-WebSocket-Version"),
        (
            {"upgrade": "WebSocket", "connection": " ,\tUPGRADE ,"},
            "passes no WebSockets",
        ),
    ],
    ids=str,
)
def test_what_is_wrong_with_an_upgrade_is_said(changed, reason):
    answer = refusal_of("GET", {**GOOD, **changed}, "")
    assert (answer.status, answer.code) == (400, "invalid_upgrade")
    assert answer.detail.startswith("Invalid WebSocket upgrade request: ")
    assert reason in answer.detail
    assert answer.headers["Sec-WebSocket-Version"] == "13"


def test_the_query_claims_an_upgrade_too():
    assert "Upgrade" in refusal_of("GET", {}, "EIO=4&transport=websocket").detail
    assert "method" in refusal_of("POST", GOOD, "").detail
    assert "HTTP/1.1" in refusal_of("GET", GOOD, "", "1.0").detail


def test_what_claims_no_upgrade_is_left_alone():
    assert refusal_of("GET", {}, "") is None
    assert refusal_of("GET", {"upgrade": "h2c", "connection": "Upgrade"}, "") is None
    assert refusal_of("GET", {}, "transport=polling&x=transport=websocket") is None


def test_paths_of_sockets(perfguard):
    perfguard(SOCKET_PATHS=["/ws/", "/live"])
    good = ["/ws", "/ws/", "/ws/echo", "/live"]
    assert all(map(is_socket_path, good))
    assert not any(map(is_socket_path, ["/wsx", "/", "", "/api/ws/echo", "/livex/ws"]))
    perfguard(SOCKET_PATHS=[])
    assert is_socket_path("/anything")


def upgrade(rf, path, **headers):
    return rf.get(path, headers={"Upgrade": "websocket", **headers})


def test_middleware_refuses_a_malformed_upgrade_in_either_mode(serve, rf, perfguard):
    perfguard()

    def view(request):
        return HttpResponse("ok")

    answer = serve(UpgradeMiddleware, view, upgrade(rf, "/ws/echo"))
    assert answer.status_code == 400
    assert json.loads(answer.content)["code"] == "invalid_upgrade"
    assert answer.headers["Cache-Control"] == "no-store"
    for request in (upgrade(rf, "/api/v1/notes"), rf.get("/ws/echo")):
        assert serve(UpgradeMiddleware, view, request).content == b"ok"


def test_plain_http_is_told_that_there_is_a_socket(rf, perfguard):
    perfguard()
    assert json.loads(websocket_only(rf.get("/ws/echo")).content)["code"] == (
        "websocket_only"
    )
    answer = websocket_only(upgrade(rf, "/ws/echo"))
    assert json.loads(answer.content)["code"] == "invalid_upgrade"


# -- origins ---------------------------------------------------------------------------


def origin_refusal(origin, *, by_cookie=False, **kwargs):
    headers = {"host": "api.example.com"} | ({"origin": origin} if origin else {})
    scope = scope_of(headers=headers, **kwargs)
    try:
        check_origin(request_of(scope), by_cookie=by_cookie)
    except Refused as error:
        return error.answer.code
    return ""


@pytest.fixture
def _host(settings):
    settings.ALLOWED_HOSTS = ["api.example.com"]


@pytest.mark.usefixtures("_host")
@pytest.mark.parametrize(
    ("origin", "code"),
    [
        ("http://api.example.com", ""),
        ("https://api.example.com", ""),  # TLS may have ended at a proxy
        ("HTTPS://API.example.com", ""),
        ("https://api.example.com:8443", "origin"),
        ("https://app.example.com", "origin"),
        ("https://api.example.com.evil.example", "origin"),
        ("https://api.example.com@evil.example", "origin"),
        ("null", "origin"),
        ("https://[", "origin"),
        ("https://api.example.com, https://evil.example", "origin"),
        ("", ""),
    ],
    ids=str,
)
def test_origins_without_a_setting(origin, code, perfguard):
    perfguard()
    assert origin_refusal(origin) == code


@pytest.mark.usefixtures("_host")
def test_a_page_without_tls_is_not_of_a_site_with_tls(perfguard):
    perfguard()
    assert origin_refusal("http://api.example.com", scheme="wss") == "origin"
    assert origin_refusal("https://api.example.com", scheme="wss") == ""


@pytest.mark.usefixtures("_host")
def test_listed_origins_and_no_others(perfguard, settings):
    settings.CSRF_TRUSTED_ORIGINS = ["https://app.example.com"]
    perfguard(SOCKET_ORIGINS=["https://App.example.org:444"])
    assert origin_refusal("https://app.example.org:444") == ""
    for origin in ("https://app.example.com", "https://api.example.com", "null"):
        assert origin_refusal(origin) == "origin"
    perfguard(SOCKET_ORIGINS=["*"])
    assert origin_refusal("https://evil.example") == ""
    assert origin_refusal("null") == "origin"


@pytest.mark.usefixtures("_host")
def test_origins_that_the_project_trusts_already(perfguard, settings):
    settings.CSRF_TRUSTED_ORIGINS = ["https://*.friends.example"]
    settings.CORS_ALLOWED_ORIGINS = ["https://spa.example"]
    perfguard()
    assert origin_refusal("https://a.b.friends.example") == ""
    assert origin_refusal("http://a.friends.example") == "origin"
    assert origin_refusal("https://notfriends.example") == "origin"
    assert origin_refusal("https://spa.example") == ""
    # Who may read answers is not trusted with cookies.
    perfguard(SOCKET_AUTHENTICATION=["session"])
    assert origin_refusal("https://spa.example") == "origin"


@pytest.mark.usefixtures("_host")
def test_a_missing_origin(perfguard):
    perfguard(SOCKET_ALLOW_NO_ORIGIN=False)
    assert origin_refusal("") == "origin_missing"
    perfguard(SOCKET_ALLOW_NO_ORIGIN=True)
    assert origin_refusal("") == ""
    assert origin_refusal("", by_cookie=True) == "origin_missing"


# -- what a handshake offers -----------------------------------------------------------

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
KEY = "pgk_" + "0" * 62


@pytest.mark.parametrize(
    ("query", "left", "tickets", "leaks"),
    [
        (b"", b"", [], False),
        (b"a=1&ticket=t&b=2", b"a=1&b=2", ["t"], False),
        (b"%74icket=a%2Bb&ticket=", b"", ["a+b", ""], False),
        (b"token=" + TOKEN.encode(), b"", [], True),
        (b"x=1&t=Bearer+" + TOKEN.encode().replace(b".", b"%2E"), b"x=1", [], True),
        (b"k=" + KEY.encode(), b"", [], True),
        (b"access_token=opaque", b"", [], True),
        (
            b"token=of-the-application&pgk_=1",
            b"token=of-the-application&pgk_=1",
            [],
            False,
        ),
        (b"\xff=\xfe&&=", b"\xff=\xfe&&=", [], False),
    ],
    ids=str,
)
def test_secrets_leave_the_servers_own_scope(query, left, tickets, leaks, perfguard):
    perfguard()
    scope = scope_of(query_string=query)
    offer = read_offer(scope)
    assert (scope["query_string"], offer.tickets, offer.leaks) == (left, tickets, leaks)


@pytest.mark.parametrize(
    ("given", "bearers", "left"),
    [
        ([], [], []),
        (["chat"], [], ["chat"]),
        ([MARKER, TOKEN], [TOKEN], []),
        (["a", MARKER, TOKEN, "b"], [TOKEN], ["a", "b"]),
        ([MARKER], [""], []),
        ([MARKER, TOKEN, MARKER, TOKEN], [TOKEN, TOKEN], []),
    ],
    ids=str,
)
def test_the_application_sees_its_own_subprotocols(given, bearers, left):
    headers = {"sec-websocket-protocol": ", ".join(given), "x": "y"}
    scope = scope_of(subprotocols=given, headers=headers)
    offer = read_offer(scope)
    assert offer.bearers == bearers
    inner = without_secrets(scope, offer)
    assert inner["subprotocols"] == left
    assert TOKEN not in repr(inner)
    assert TOKEN not in repr(offer)
    assert dict(inner["headers"])[b"x"] == b"y"


# -- tickets ---------------------------------------------------------------------------

STUB = Stub({"sub": "1", "jti": "j"}, "https://app.example.com")
ORIGIN = STUB.origin


@pytest.fixture(params=["memory", "redis"])
def held(request, perfguard):
    """Where tickets are kept."""
    if request.param == "redis":
        perfguard(REDIS_URL=request.getfixturevalue("redis_server").url)
    else:
        perfguard()
    return request.param


def code_of(ticket, origin=ORIGIN):
    with pytest.raises(InvalidCredential) as caught:
        redeem(ticket, origin)
    return caught.value.code


@pytest.mark.usefixtures("held")
def test_a_ticket_is_good_once():
    ticket = issue(STUB)
    assert redeem(ticket, ORIGIN) == STUB
    assert code_of(ticket) == "ticket_invalid"


@pytest.mark.usefixtures("held")
def test_one_of_many_at_once_gets_it():
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    def attempt(ticket):
        try:
            return bool(redeem(ticket, ORIGIN))
        except InvalidCredential:
            return False

    with ThreadPoolExecutor(16) as pool:
        for _ in range(20):
            assert sum(pool.map(attempt, [issue(STUB)] * 16)) == 1


@pytest.mark.usefixtures("held")
def test_what_is_no_ticket():
    for ticket in ("", "x", "x" * 65, "\ud800", "}{", "a" * 43):
        assert code_of(ticket) == "ticket_invalid"


@pytest.mark.usefixtures("held")
def test_a_ticket_of_another_origin_is_used_up():
    ticket = issue(STUB)
    assert code_of(ticket, "https://evil.example") == "ticket_origin"
    assert code_of(ticket) == "ticket_invalid"
    assert redeem(issue(Stub(STUB.claims)), "https://any.example").origin == ""


def test_a_ticket_lasts_as_long_as_the_setting_says(redis_server, perfguard):
    perfguard(REDIS_URL=redis_server.url, SOCKET_TICKET_SECONDS=7.5)
    ticket = issue(STUB)
    client = redis_server.client()
    (key,) = client.keys("*ticket*")
    assert 0 < client.pttl(key) <= 7500
    # Who reads Redis gets no ticket from it.
    assert ticket.encode() not in key + client.get(key)


def test_a_ticket_in_memory_lasts_so_long_and_they_are_bounded(clock, monkeypatch):
    memory = MemoryTickets(clock)
    memory.put("a", b"1", 30)
    clock.advance(29.9)
    assert memory.take("a") == b"1"
    memory.put("a", b"1", 30)
    clock.advance(30)
    assert memory.take("a") is None
    monkeypatch.setattr(tickets, "MOST_IN_MEMORY", 3)
    for name in "abcd":
        memory.put(name, b"1", 30)
    assert [memory.take(name) for name in "abcd"] == [None, b"1", b"1", b"1"]


def test_without_redis_there_are_no_tickets_for_other_processes(own_redis, perfguard):
    perfguard(REDIS_URL=own_redis.url)
    ticket = issue(STUB)
    own_redis.kill()
    with pytest.raises(TruthUnavailable):
        redeem(ticket, ORIGIN)
    with pytest.raises(TruthUnavailable):
        issue(STUB)


# -- kinds of scope --------------------------------------------------------------------


async def django_like(scope, receive, send):
    if scope["type"] != "http":
        raise ValueError("Django can only handle ASGI/HTTP connections.")
    await send({"type": "http.response.start", "status": 204, "headers": []})


def talk(application, scope, *messages):
    sent, given = [], list(messages)

    async def receive():
        return {"type": given.pop(0)}

    async def send(message):
        sent.append(message)

    asyncio.run(application(scope, receive, send))
    return sent


LIFE = ("lifespan.startup", "lifespan.shutdown")
LIVED = [{"type": f"{each}.complete"} for each in LIFE]


def test_a_lifespan_is_answered_where_the_application_knows_none():
    async def half(scope, receive, send):
        await receive()
        raise ValueError

    async def silent(scope, receive, send):
        return

    for application in (django_like, half, silent):
        assert talk(Lifespan(application), {"type": "lifespan"}, *LIFE) == LIVED


def test_an_application_with_a_lifespan_has_the_word():
    async def knowing(scope, receive, send):
        message = await receive()
        await send({"type": f"{message['type']}.failed"})

    async def late(scope, receive, send):
        await send({"type": "lifespan.startup.complete"})
        raise ValueError

    sent = talk(Lifespan(knowing), {"type": "lifespan"}, *LIFE)
    assert sent == [{"type": "lifespan.startup.failed"}]
    with pytest.raises(ValueError):  # noqa: PT011
        talk(Lifespan(late), {"type": "lifespan"}, *LIFE)


def test_each_scope_goes_to_its_own_application(perfguard):
    perfguard()

    async def websocket(scope, receive, send):
        await send({"type": "websocket.close"})

    guard = Guard(django_like, websocket)
    http = {"type": "http", "path": "/ws/x", "method": "GET", "headers": []}
    assert talk(guard, http)[0]["status"] == 204
    assert talk(guard, {"type": "websocket"}) == [{"type": "websocket.close"}]
    assert talk(guard, {"type": "lifespan"}, *LIFE) == LIVED
    with pytest.raises(InvalidSetting, match="'mqtt'"):
        talk(guard, {"type": "mqtt"})


def test_a_malformed_upgrade_is_refused_before_django(perfguard):
    perfguard()
    headers = [(b"Upgrade", b"foo"), (b"upgrade", b" WebSocket"), (b"host", b"x")]
    scope = {"type": "http", "path": "/ws/x", "method": "GET", "headers": headers}
    start, body = talk(Guard(django_like, None), scope)
    assert start["status"] == 400
    assert "Connection" in json.loads(body["body"])["detail"]
    assert talk(Guard(django_like, None), {**scope, "path": "/x"})[0]["status"] == 204


# -- checks ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "ids"),
    [
        ({}, []),
        ({"SOCKET_ORIGINS": ["https://a.example", "http://localhost:3000"]}, []),
        ({"SOCKET_ORIGINS": ["capacitor://localhost"]}, []),
        ({"SOCKET_ORIGINS": ["a.example"]}, ["E801"]),
        ({"SOCKET_ORIGINS": ["https://a.example/"]}, ["E801"]),
        ({"SOCKET_ORIGINS": ["https://a.example/app"]}, ["E801"]),
        ({"SOCKET_ORIGINS": ["https://*.a.example"]}, ["E801"]),
        ({"SOCKET_ORIGINS": ["https://u@a.example"]}, ["E801"]),
        ({"SOCKET_ORIGINS": ["https://a.example:443"]}, ["E801"]),
        ({"SOCKET_ORIGINS": ["https://a.example:x", "https://[", ""]}, ["E801"] * 3),
        ({"SOCKET_ORIGINS": ["null"]}, ["E801"]),
        ({"SOCKET_ORIGINS": ["*"]}, ["W801"]),
        (
            {"SOCKET_ORIGINS": ["*"], "SOCKET_AUTHENTICATION": ["session"]},
            ["E802"],
        ),
        ({"SOCKET_PATHS": ["ws", "/ws/*", "/ws/<id>", "/ok"]}, ["E803"] * 3),
        ({"SOCKET_TICKET_SECONDS": 301}, ["W802"]),
        ({"SOCKET_RECHECK_SECONDS": 301}, ["W802"]),
        ({"SOCKET_RECHECK_SECONDS": 0}, ["E002"]),
        ({"SOCKET_AUTHENTICATION": ["cookie"], "SOCKET_ORIGINS": ["x"]}, ["E002"]),
        ({"SOCKET_UNKNOWN_SECONDS": -1}, ["E002"]),
    ],
    ids=str,
)
def test_wrong_settings_of_sockets_are_found(values, ids, perfguard):
    perfguard(**values)
    assert found() == ids


def found():
    messages = [each.id.removeprefix("perfguard.") for each in run_checks()]
    return sorted(it for it in messages if it[1] == "8" or it == "E002")


def test_sessions_that_nobody_keeps_are_found(perfguard, settings):
    perfguard(SOCKET_AUTHENTICATION=["session"])
    left = [it for it in settings.INSTALLED_APPS if "sessions" not in it]
    with override_settings(INSTALLED_APPS=left):
        assert "W803" in found()


def test_looking_for_a_token_ends_whatever_the_length():
    """If each beginning were tried to the end, this would be hours."""
    assert JWT.search("eyJ" * 1_000_000) is None
    assert JWT.search("Bearer eyJhbGciOiJI.eyJzdWIiOiI0.c2ln")


@pytest.mark.parametrize(
    ("path", "root", "wanted"),
    [
        ("/app/ws/x", "/app", "/ws/x"),
        ("/app", "/app/", "/"),
        ("/apple/ws", "/app", "/apple/ws"),
        ("/ws", "", "/ws"),
    ],
)
def test_a_prefix_of_the_server_is_no_part_of_the_path(path, root, wanted):
    assert path_of({"path": path, "root_path": root}) == wanted


def test_a_handshake_whose_charset_is_none_is_malformed():
    headers = {"content-type": "text/plain; title*=foo'en'%41"}
    with pytest.raises(Refused) as raised:
        request_of(scope_of(headers=headers))
    assert raised.value.answer.status == 400
