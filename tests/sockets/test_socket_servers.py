"""Sockets by real clients at real servers: uvicorn, and gunicorn's own ASGI worker."""

from __future__ import annotations

import contextlib
import json
import time

import pytest
from websockets.exceptions import ConnectionClosed

from tests.servers import wait_until
from tests.sockets.inner_sockets import SECRET
from tests.sockets.socket_peers import LIMIT, Site, new_address

MARKER = "perfguard.bearer"


def greeting(socket):
    return json.loads(socket.recv(timeout=LIMIT))


def closing(socket):
    """(code, reason) of what ends it."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            socket.recv(timeout=LIMIT)
    return socket.close_code, socket.close_reason


def refused(site, status, code, *args, **kwargs):
    wanted = (status, code) if site.tells else (403, None)
    assert site.refusal(*args, **kwargs) == wanted


# -- who is let in ---------------------------------------------------------------------


def test_a_token_in_the_header_opens_a_socket(site):
    with site.open(token=site.sign_in()) as socket:
        assert greeting(socket)["user"] == "demo@example.com"
        socket.send("hello")
        assert socket.recv(timeout=LIMIT) == "hello"
        socket.send(b"\x00\xff")
        assert socket.recv(timeout=LIMIT) == b"\x00\xff"


def test_a_token_after_the_marker_opens_a_socket_and_is_not_said_back(site):
    token = site.sign_in()
    with site.open("/ws/tell", subprotocols=[MARKER, token]) as socket:
        assert socket.subprotocol == MARKER
        told = greeting(socket)
    assert (told["user"], told["subprotocols"]) == ("demo@example.com", [])
    assert told["offered"] == ""


def test_subprotocols_of_the_application_work_beside_the_token(site):
    offered = ["mqtt", MARKER, site.sign_in(), "chat"]
    with site.open("/ws/tell", subprotocols=offered) as socket:
        assert greeting(socket)["subprotocols"] == ["mqtt", "chat"]
    with site.open("/ws/chat", subprotocols=offered) as socket:
        assert socket.subprotocol == "chat"


def test_a_consumer_of_channels_works_inside(site):
    with site.open("/ws/chat", token=site.sign_in()) as socket:
        assert socket.recv(timeout=LIMIT) == "demo@example.com"
        socket.send("hello")
        assert socket.recv(timeout=LIMIT) == "hello"


def test_nobody_is_refused_and_so_is_a_bad_token(site):
    refused(site, 401, "not_authenticated")
    assert not site.tells or site.last.headers["WWW-Authenticate"].startswith("Bearer")
    refused(site, 401, "token_invalid", token="a.b.c")
    refused(site, 401, "token_invalid", subprotocols=[MARKER, "nonsense"])
    refused(site, 401, "token_invalid", subprotocols=[MARKER])


def test_two_credentials_are_refused(site):
    token = site.sign_in()
    refused(site, 400, "ambiguous", token=token, subprotocols=[MARKER, token])


def test_the_address_is_that_before_the_trusted_proxies(site):
    address = new_address()
    with site.open("/ws/tell", token=site.sign_in(), address=address) as socket:
        assert greeting(socket)["client"] == [address, 0]


def test_the_user_of_a_token_must_be_active(site):
    token = site.sign_in("admin@example.com")
    run(site, "User.objects.filter(email='admin@example.com').update(is_active=False)")
    try:
        refused(site, 401, "user_inactive", token=token)
    finally:
        run(site, "User.objects.update(is_active=True)")


def run(site, code):
    code = f"from project.demo.models import User\n{code}"
    return site.manage("shell", "-v", "0", "-c", code).strip()


# -- from where ------------------------------------------------------------------------


def test_pages_of_other_origins_are_refused(site):
    token = site.sign_in()
    for origin in ("https://evil.example", "null", "https://localhost.evil.example"):
        refused(site, 403, "origin", token=token, origin=origin)


def test_pages_of_the_site_and_of_its_friends_are_let_in(site):
    token = site.sign_in()
    own = f"http://127.0.0.1:{site.port}"
    for origin in (own, "https://app.friends.example"):
        with site.open(token=token, origin=origin) as socket:
            assert greeting(socket)


def test_a_host_that_is_not_the_sites_is_refused(site):
    token = site.sign_in()
    raw = handshake(site, Host="evil.example", Authorization=f"Bearer {token}")
    assert raw.startswith(b"HTTP/1.1 400" if site.tells else b"HTTP/1.1 403")


def test_no_socket_where_none_is(site):
    refused(site, 404, "not_found", "/api/v1/public", token=site.sign_in())


def handshake(site, path="/ws/echo", **headers):
    lines = {
        "Host": "localhost",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "X-Forwarded-For": new_address(),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return site.raw(path, lines)


# -- tickets ---------------------------------------------------------------------------


def test_a_ticket_opens_one_socket_and_no_second(site):
    ticket = site.ticket(site.sign_in())
    with site.open(f"/ws/tell?a=1&ticket={ticket}&b=2") as socket:
        told = greeting(socket)
    assert (told["user"], told["query"]) == ("demo@example.com", "a=1&b=2")
    refused(site, 401, "ticket_invalid", f"/ws/tell?ticket={ticket}")


def test_a_ticket_of_one_server_is_good_at_another(fleet):
    ticket = fleet.uvicorn.ticket(fleet.uvicorn.sign_in())
    with fleet.asgi.open(f"/ws/tell?ticket={ticket}") as socket:
        assert greeting(socket)["user"] == "demo@example.com"
    assert fleet.uvicorn.refusal(f"/ws/tell?ticket={ticket}")[0] == 401


def test_a_ticket_is_for_pages_of_the_origin_that_asked(site):
    own = f"http://127.0.0.1:{site.port}"
    ticket = site.ticket(site.sign_in(), Origin="https://app.friends.example")
    refused(site, 401, "ticket_origin", f"/ws/echo?ticket={ticket}", origin=own)
    # It is used up all the same.
    refused(
        site,
        401,
        "ticket_invalid",
        f"/ws/echo?ticket={ticket}",
        origin="https://app.friends.example",
    )


def test_a_ticket_ends_with_its_token(site):
    token = site.sign_in()
    ticket = site.ticket(token)
    assert site.http("POST", "/api/v1/auths/signout", token).status_code == 200
    refused(site, 401, "token_revoked", f"/ws/echo?ticket={ticket}")


def test_tickets_are_kept_by_nobody_and_given_for_tokens_alone(site):
    answer = site.http("POST", "/api/v1/auths/socket-ticket", site.sign_in())
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json()["expires_in"] == 30
    assert site.http("POST", "/api/v1/auths/socket-ticket").status_code == 401
    key = api_key(site)["key"]
    assert site.http("POST", "/api/v1/auths/socket-ticket", key).status_code == 403


# -- API keys --------------------------------------------------------------------------


def api_key(site, **fields):
    body = {"label": "of a test", **fields}
    answer = site.http("POST", "/api/v1/auths/api-keys", site.sign_in(), json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_an_api_key_in_a_header_opens_a_socket(site):
    key = api_key(site)["key"]
    for headers in ({"Authorization": f"Api-Key {key}"}, {"X-API-Key": key}):
        with site.open("/ws/tell", headers=headers) as socket:
            told = greeting(socket)
        assert (told["user"], told["auth"]) == ("demo@example.com", "ActiveKey")
    refused(site, 401, "invalid_api_key", headers={"X-API-Key": f"{key[:-1]}~"})


def test_a_restricted_key_opens_the_sockets_that_its_rules_list(site):
    rules = {"GET /ws/echo": 101, "* echo": 101, "* /ws": 101, "POST /ws/echo": 403}
    for rule, status in {**rules, "* /api/v1/notes": 403}.items():
        key = api_key(site, endpoints=[rule])["key"]
        assert site.refusal(headers={"X-API-Key": key})[0] == status, rule


def test_a_revoked_key_ends_its_sockets(site):
    key = api_key(site)
    with site.open(headers={"X-API-Key": key["key"]}) as socket:
        greeting(socket)
        path = f"/api/v1/auths/api-keys/{key['key_id']}"
        assert site.http("DELETE", path, site.sign_in()).status_code == 204
        assert closing(socket) == (4401, "revoked")


# -- secrets ---------------------------------------------------------------------------


def test_a_token_in_the_url_is_refused_and_written_nowhere(site):
    token, key = site.sign_in(), api_key(site)["key"]
    ticket = site.ticket(token)
    for query in (
        f"token={token}",
        f"jwt=Bearer%20{token}",
        f"k={key}",
        "access_token=x",
    ):
        refused(site, 400, "credential_in_url", f"/ws/echo?{query}")
    with site.open(f"/ws/echo?ticket={ticket}"), site.open(token=token):
        pass
    with site.open(subprotocols=[MARKER, token]):
        pass
    text = site.log_text()
    # Each part: what is written may be cut.
    for secret in (token, *token.split(".")[1:], key, ticket):
        assert secret not in text


# -- while it is open ------------------------------------------------------------------


def test_signing_out_at_another_server_ends_idle_and_busy_sockets(fleet, site):
    token = fleet.asgi.sign_in()
    with site.open(token=token) as idle, site.open(token=token) as busy:
        greeting(idle), greeting(busy)
        begun = time.monotonic()
        fleet.uvicorn.http("POST", "/api/v1/auths/signout", token)
        with contextlib.suppress(ConnectionClosed):
            while True:
                busy.send("x" * 100)
                busy.recv(timeout=LIMIT)
        assert closing(busy) == (4401, "token_revoked")
        assert closing(idle) == (4401, "token_revoked")
    # SOCKET_RECHECK_SECONDS is 1 here; the rest is for a busy machine.
    assert time.monotonic() - begun < LIMIT


def test_a_socket_that_a_ticket_opened_ends_with_its_token(site):
    token = site.sign_in()
    with site.open(f"/ws/echo?ticket={site.ticket(token)}") as socket:
        greeting(socket)
        site.http("POST", "/api/v1/auths/signout", token)
        assert closing(socket) == (4401, "token_revoked")


SHORT = """
from datetime import timedelta
from perfguard.tokens.tokens import AccessToken
token = AccessToken.for_user(User.objects.get(email="demo@example.com"))
token.set_exp(lifetime=timedelta(seconds=6))
print(token["exp"], token)
"""


def test_a_socket_ends_when_its_token_expires(fleet):
    exp, token = run(fleet.asgi, SHORT).split()
    with fleet.asgi.open(token=token) as socket:
        greeting(socket)
        assert closing(socket) == (4401, "token_expired")
    assert int(exp) <= time.time() < int(exp) + LIMIT


def test_deactivation_ends_a_socket_though_no_signal_told_of_it(site):
    with site.open(token=site.sign_in("admin@example.com")) as socket:
        greeting(socket)
        run(
            site, "User.objects.filter(email__startswith='adm').update(is_active=False)"
        )
        try:
            assert closing(socket) == (4401, "user_inactive")
        finally:
            run(site, "User.objects.update(is_active=True)")


def test_a_message_that_is_too_long_ends_a_socket(site):
    with site.open(token=site.sign_in()) as socket:
        greeting(socket)
        socket.send("é" * 500)
        assert socket.recv(timeout=LIMIT) == "é" * 500
        socket.send("é" * 501)
        assert closing(socket) == (1009, "message_too_big")


def test_a_failure_inside_is_logged_once_and_told_to_nobody(site):
    token = site.sign_in()
    before = site.log_text().count(SECRET)
    with site.open("/ws/broken/late", token=token) as socket:
        assert closing(socket) == (1011, "error")
    refused(site, 500, "error", "/ws/broken", token=token)
    refused(site, 403, "refused", "/ws/mute", token=token)
    wait_until(lambda: site.log_text().count(SECRET) >= before + 2, "the log")
    assert site.log_text().count(f"ValueError: {SECRET}") == before + 2


# -- how many --------------------------------------------------------------------------


def test_too_many_connects_of_one_address_are_refused(site):
    address, token = new_address(), site.sign_in()
    # Whoever guesses is counted as well.
    for wrong in ("a.b.c", "", "a.b.c"):
        refused(site, 401, *code_of(wrong), token=wrong, address=address)
    refused(site, 429, "throttled", token=token, address=address)
    assert not site.tells or 0 < int(site.last.headers["Retry-After"]) <= 3600
    with site.open(token=token) as socket:
        assert greeting(socket)


def code_of(token):
    return ["token_invalid" if token else "not_authenticated"]


def test_a_user_has_so_many_sockets_in_a_process_and_gets_them_back(fleet):
    site, token = fleet.uvicorn, fleet.uvicorn.sign_in("admin@example.com")
    with contextlib.ExitStack() as stack:
        for _ in range(12):
            greeting(stack.enter_context(site.open(token=token)))
        assert site.refusal(token=token) == (429, "too_many_sockets")
    wait_until(lambda: site.refusal(token=token)[0] == 101, "a place", LIMIT)


# -- the project itself ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("worker", "status"), [("asgi", b"101"), ("gthread", b"400"), ("sync", b"")]
)
def test_the_project_serves_sockets_where_its_worker_can(
    worker, status, fleet, tmp_path
):
    site = Site(tmp_path / "log", **{**fleet.asgi.env, "WORKER_CLASS": worker})
    site.env["PORT"] = str(site.port)
    if not status:
        with pytest.raises(RuntimeError, match="use gthread or asgi"):
            site.serve()
        return
    try:
        site.serve()
        token = f"Bearer {site.sign_in()}"
        answer = handshake(site, Authorization=token)
    finally:
        site.close()
    assert answer[9:12] == status
    # Under WSGI the project says why, and not the server.
    assert status == b"101" or b"content-type: application/json" in answer.lower()
