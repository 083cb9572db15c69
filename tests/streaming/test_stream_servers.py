"""Real servers of every kind, with all of the project's middleware."""

from __future__ import annotations

import socket

import httpx
import pytest

from tests.servers import wait_until


@pytest.fixture(params=["sync", "async"])
def kind(request):
    return request.param


@pytest.fixture(params=["sync", "async"])
def view(request):
    return request.param


def test_each_event_is_with_the_client_before_the_next_is_made(site, view, kind):
    run = site.run()
    with site.open(view, source="gated", kind=kind, run=run.name, events=4) as stream:
        assert stream.response.status_code == 200
        for number in range(4):
            assert stream.next().data == f'{{"number":{number}}}'
            made = [line for line in run.lines if line != "closed"]
            assert made == [f"made {each}" for each in range(number + 1)]
            run.tell(number + 1)
        assert stream.next() is None
    run.wait_for("closed")
    assert run.lines.count("closed") == 1


def test_an_infinite_source_of_either_kind_is_read_as_fast_as_the_client_reads(
    site, view, kind
):
    run = site.run()
    with site.open(view, source="endless", kind=kind, run=run.name) as stream:
        numbers = [stream.next().data for _ in range(100)]
        assert numbers == [f'{{"number":{each}}}' for each in range(1, 101)]
    run.wait_for("closed")
    assert run.lines.count("closed") == 1


def test_silence_is_covered_and_a_client_that_leaves_is_noticed(site, view, kind):
    run = site.run()
    stream = site.open(view, source="gated", kind=kind, run=run.name)
    assert stream.next().data == '{"number":0}'
    for _ in range(3):
        stream.beat()
    stream.close()
    run.wait_for("closed")
    assert run.lines == ["made 0", "closed"]


def test_a_client_that_resets_the_connection_is_noticed(site, kind):
    run = site.run()
    with socket.create_connection(("127.0.0.1", site.server.port)) as raw:
        query = f"source=gated&kind={kind}&run={run.name}"
        raw.sendall(f"GET /sync?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert raw.recv(100).startswith(b"HTTP/1.1 200")
        linger = b"\1\0\0\0\0\0\0\0"
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    run.wait_for("closed")


def test_the_headers_are_those_of_a_stream(site):
    with site.open(source="gated", run=site.run().name, events=1) as stream:
        headers = stream.response.headers
        stream.rest()
    assert headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert headers["Cache-Control"] == "no-cache"
    assert headers["X-Accel-Buffering"] == "no"
    assert "Content-Length" not in headers
    # Not the application's: PEP 3333 leaves it to the server.
    assert headers.get("Connection", "keep-alive").lower() in {"keep-alive", "close"}
    assert headers["X-Frame-Options"] == "DENY"


def test_a_head_request_is_answered_at_once(site):
    run = site.run()
    query = f"source=gated&run={run.name}"
    response = httpx.head(f"{site.url}/sync?{query}", timeout=20)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert run.lines == []


# -- errors ----------------------------------------------------------------------------


def test_an_error_before_the_first_event_is_a_normal_answer(site, view, kind):
    with site.open(view, source="broken", kind=kind, events=0) as stream:
        assert stream.response.status_code == 500
        body = stream.response.read()
    assert b"secret" not in body
    assert "text/event-stream" not in stream.response.headers["Content-Type"]


def test_an_error_after_it_is_an_event_and_is_logged_once(site, view, kind):
    before = site.log.count("A stream has failed: ")
    with site.open(view, source="broken", kind=kind, events=2) as stream:
        *events, last = stream.rest()
    assert len(events) == 2
    assert (last.event, last.data) == ("error", '{"detail":"The stream has failed."}')
    assert site.log.count("A stream has failed: ") == before + 1


def test_a_refusal_of_a_drf_view_is_json_with_its_status(site):
    accept = {"Accept": "text/event-stream"}
    for path, status in (("forbidden", 403), ("guarded?source=gated", 401)):
        answer = httpx.get(f"{site.url}/{path}", headers=accept, timeout=20)
        assert answer.status_code == status
        assert answer.headers["Content-Type"] == "application/json"
        assert "detail" in answer.json()


@pytest.mark.parametrize("deltas", ["many", "0", "99999"])
def test_a_wrong_parameter_is_a_400(site, deltas):
    with site.open(source="gated", deltas=deltas) as stream:
        assert stream.response.status_code == 400


def test_a_compressed_stream_is_as_prompt(site):
    run = site.run()
    headers = {"Accept-Encoding": "gzip"}
    with site.open(headers=headers, source="gated", run=run.name, events=3) as stream:
        for number in range(3):
            assert stream.next().data == f'{{"number":{number}}}'
            run.tell(number + 1)
        assert stream.next() is None


# -- limits ----------------------------------------------------------------------------


def test_hundreds_of_aborted_connects_leave_room_for_as_many(own_site):
    for kind in ("gthread", "asgi"):
        site = own_site(kind, STREAM_TEST_MOST="20", STREAM_TEST_HEARTBEAT="0.2")
        for number in range(200):
            _abort(site, number)
        opened = []
        # Those of the clients that have left go one by one.
        wait_until(
            lambda site=site, opened=opened: _open_one(site, opened) == 20,
            "twenty streams at once",
            limit=30,
        )
        assert _open_one(site, opened) == 20
        for each in opened:
            each.close()


def _abort(site, number):
    path = f"/{'async' if number % 3 else 'sync'}?source=gated&kind=async&run=aborted"
    with socket.create_connection(("127.0.0.1", site.server.port)) as raw:
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        if number % 2:
            raw.recv(100)


def _open_one(site, opened):
    stream = site.open("async", source="gated", kind="async", run=site.run().name)
    if stream.response.status_code == 200:
        opened.append(stream)
    else:
        assert stream.response.status_code in {429, 503}
        stream.close()
    return len(opened)


# -- standing --------------------------------------------------------------------------


def signed_in(site):
    body = {"email": "demo@example.com", "password": "demo-password"}
    answer = httpx.post(f"{site.url}/api/v1/auths/signin", json=body, timeout=20)
    return {"Authorization": f"Bearer {answer.json()['token']}"}


def guarded(site, headers, run):
    stream = site.open("guarded", headers, source="gated", run=run.name)
    assert stream.response.status_code == 200
    assert stream.next().data == '{"number":0}'
    return stream


def test_signing_out_ends_the_streams_of_the_session(sites):
    for kind in ("gthread", "asgi"):
        site = sites(kind)
        mine, others = signed_in(site), signed_in(site)
        run, other_run = site.run(), site.run()
        with guarded(site, mine, run) as stream, guarded(site, others, other_run) as it:
            out = httpx.post(f"{site.url}/api/v1/auths/signout", headers=mine)
            assert out.status_code == 200
            (last,) = stream.rest()
            assert (last.event, last.data) == ("close", '{"reason":"revoked"}')
            run.wait_for("closed")
            it.beat()  # who is signed in goes on
        again = site.open("guarded", mine, source="gated", run=run.name)
        assert again.response.status_code == 401
        again.close()


def test_revoking_an_api_key_ends_its_streams(sites):
    for kind in ("gthread", "asgi"):
        site = sites(kind)
        owner = signed_in(site)
        keys = f"{site.url}/api/v1/auths/api-keys"
        made = httpx.post(keys, headers=owner, json={"label": "stream"}).json()
        header = {"Authorization": f"Api-Key {made['key']}"}
        with guarded(site, header, site.run()) as stream:
            path = f"{keys}/{made['key_id']}"
            assert httpx.delete(path, headers=owner).status_code in {200, 204}
            assert stream.rest()[-1].data == '{"reason":"revoked"}'


def test_ending_a_session_of_the_admin_ends_its_streams(sites, stream_database):
    for kind in ("gthread", "asgi"):
        site = sites(kind)
        with httpx.Client(base_url=site.url, timeout=20) as browser:
            sign_in_to_admin(browser)
            cookie = {"Cookie": f"sessionid={browser.cookies['sessionid']}"}
            stream = site.open("by-session", cookie, source="gated", run="session")
            assert stream.response.status_code == 200
            stream.next()
            stream.beat()
            stream.beat()
            token = browser.cookies["csrftoken"]
            done = browser.post(
                "/admin/logout/",
                data={"csrfmiddlewaretoken": token},
                headers={"Referer": site.url},
            )
            assert done.status_code == 200
        assert stream.rest()[-1].data == '{"reason":"revoked"}'
        stream.close()


def sign_in_to_admin(browser):
    page = browser.get("/admin/login/")
    assert page.status_code == 200
    form = {
        "username": "admin@example.com",
        "password": "admin-password",
        "csrfmiddlewaretoken": browser.cookies["csrftoken"],
    }
    answer = browser.post("/admin/login/?next=/livez", data=form)
    assert answer.status_code == 302
