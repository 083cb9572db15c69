"""Which requests are on record, with which fields, and by whom."""

from __future__ import annotations

import asyncio
import io
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.http import HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from perfguard.api_keys.services import create
from perfguard.audit import log
from perfguard.audit.entries import FIELDS
from perfguard.audit.middleware import AuditMiddleware
from perfguard.audit.models import AuditEntry
from perfguard.tokens.tokens import RefreshToken

pytestmark = pytest.mark.urls("tests.audit.audit_site")

BODIES = {"request_headers", "request_body"}, {"response_headers", "response_body"}
PASSWORD = "a-long-demo-password"


@pytest.fixture(autouse=True)
def _settings(perfguard: Any, transactional_db: Any) -> None:
    perfguard(
        AUDIT_LEVEL="METADATA",
        AUDIT_ANONYMOUS=True,
        THROTTLE_RATES={"user": None, "anon": None},
    )


@pytest.fixture
def ada(django_user_model: Any) -> Any:
    return django_user_model.objects.create_user("ada@example.com", PASSWORD)


def filled(entry: AuditEntry) -> set[str]:
    return {name for name in FIELDS if getattr(entry, name) not in ("", None, False)}


# -- levels ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "more"),
    [
        ("METADATA", set()),
        ("REQUEST", BODIES[0]),
        ("REQUEST_RESPONSE", BODIES[0] | BODIES[1]),
    ],
)
def test_each_level_keeps_exactly_its_fields(
    level: str, more: set[str], client: Client, only: Any, perfguard: Any
) -> None:
    perfguard(AUDIT_LEVEL=level)
    client.post("/echo?a=1", {"name": "ada"}, "application/json")
    entry = only()
    assert filled(entry) == {
        *("entry_id", "at", "kind", "level", "method", "url", "route", "status"),
        *("outcome", "duration_us", "bytes_in", "bytes_out", "actor_kind", "address"),
        *("request_id", *more),
    }
    assert (entry.status, entry.outcome, entry.level) == (200, "completed", level)
    assert (entry.bytes_in, entry.bytes_out) == (15, 15)
    assert (entry.url, entry.route) == ("/echo?a=1", "echo")


def test_at_none_there_is_neither_a_query_nor_a_thread(
    client: Client, perfguard: Any
) -> None:
    perfguard(AUDIT_LEVEL="NONE")
    with CaptureQueriesContext(connection) as queries:
        client.post("/unread")
    assert not queries.captured_queries
    assert log.state() == {}


def test_a_request_costs_no_query_of_its_own_connection(client: Client) -> None:
    client.post("/unread")
    with CaptureQueriesContext(connection) as queries:
        client.post("/unread")
    assert not queries.captured_queries


def test_another_level_holds_from_the_next_request_on(
    client: Client, entries: Any, perfguard: Any
) -> None:
    client.post("/unread")
    assert log.flush()
    perfguard(AUDIT_LEVEL="REQUEST", AUDIT_ANONYMOUS=True)
    client.post("/unread")
    assert [each.level for each in entries()] == ["METADATA", "REQUEST"]


# -- which ----------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_methods_that_change_something_are_audited(
    method: str, client: Client, only: Any
) -> None:
    client.generic(method, "/unread")
    assert only().method == method


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_other_methods_are_audited_when_they_are_named(
    method: str, client: Client, entries: Any, perfguard: Any
) -> None:
    client.generic(method, "/unread")
    assert entries() == []
    perfguard(AUDIT_METHODS=["POST", method])
    client.generic(method, "/unread")
    assert [each.method for each in entries()] == [method]


@pytest.mark.parametrize(
    ("path", "is_audited"),
    [
        ("/api/v1/chat", False),
        ("/api/v1/chat/7", False),
        ("/chat", False),
        ("/api/v1/chat-x", True),
        ("/api/v1/chatter", True),
        ("/api/v2/chat", True),
    ],
)
def test_excluded_paths_are_literal_and_end_at_a_slash(
    path: str, is_audited: bool, client: Client, entries: Any, perfguard: Any
) -> None:
    perfguard(AUDIT_EXCLUDED_PATHS=["/chat", "/api/v1/n.tes"])
    client.post(path)
    client.post("/api/v1/notes")
    assert [each.url for each in entries()] == [path] * is_audited + ["/api/v1/notes"]


def test_included_paths_win_over_excluded_ones(
    client: Client, entries: Any, perfguard: Any
) -> None:
    perfguard(AUDIT_INCLUDED_PATHS=["/chat"], AUDIT_EXCLUDED_PATHS=["/chat"])
    client.post("/api/v1/chat/7")
    client.post("/unread")
    assert [each.url for each in entries()] == ["/api/v1/chat/7"]


def test_some_paths_are_audited_whatever_else_is_set(
    client: Client, only: Any, perfguard: Any
) -> None:
    perfguard(
        AUDIT_ALWAYS_PATHS=["/unread"],
        AUDIT_EXCLUDED_PATHS=["/unread"],
        AUDIT_ANONYMOUS=False,
    )
    client.get("/unread")
    assert only().method == "GET"


@pytest.mark.parametrize("status", [401, 403, 404, 405, 429])
def test_refusals_of_anonymous_callers_can_be_audited(
    status: int, rf: RequestFactory, only: Any
) -> None:
    AuditMiddleware(lambda request: HttpResponse(status=status))(rf.post("/"))
    entry = only()
    is_refused = status != 404
    assert (entry.status, entry.outcome) == (
        status,
        "refused" if is_refused else "completed",
    )
    assert bool(entry.refused_by) is is_refused


def test_csrf_failures_are_told_apart_from_other_refusals(only: Any) -> None:
    Client(enforce_csrf_checks=True).post("/guarded")
    entry = only()
    assert (entry.status, entry.outcome, entry.refused_by) == (403, "refused", "csrf")


# -- by whom --------------------------------------------------------------------------


@pytest.mark.usefixtures("ada")
def test_anonymous_requests_are_left_out_unless_they_are_wanted(
    client: Client, entries: Any, perfguard: Any
) -> None:
    perfguard(AUDIT_ANONYMOUS=False, API_KEYS_HEADER="X-Key")
    client.post("/unread")
    assert entries() == []
    for number, header in enumerate(("Authorization", "X-Key", "Cookie"), 1):
        value = "sessionid=abc" if header == "Cookie" else "Bearer abc"
        client.post("/unread", headers={header: value})
        assert len(entries(kind="request")) == number


def test_the_user_of_a_session_is_known_when_no_view_has_asked(
    client: Client, ada: Any, only: Any
) -> None:
    client.force_login(ada)
    response = client.post("/unread")
    entry = only(route="unread")
    assert (entry.actor_kind, entry.actor_id) == ("session", str(ada.pk))
    assert entry.actor_label == "ada@example.com"
    assert len(entry.marker) == 16
    assert client.cookies["sessionid"].value not in entry.marker
    assert "Cookie" not in response.headers.get("Vary", "")


def test_the_same_under_asgi(ada: Any, only: Any) -> None:
    client = AsyncClient()
    client.force_login(ada)
    async_to_sync(client.post)("/unread")
    entry = only(route="unread")
    assert (entry.actor_kind, entry.actor_label) == ("session", "ada@example.com")


def test_a_user_whom_drf_found_late_is_known_with_the_session_of_the_token(
    ada: Any, only: Any
) -> None:
    refresh = RefreshToken.for_user(ada)
    client = APIClient(headers={"Authorization": f"Bearer {refresh.access_token}"})
    response = client.post("/api/v1/notes", {"text": "x"}, format="json")
    assert response.status_code == 201
    entry = only(route="api/v1/notes")
    assert (entry.actor_kind, entry.actor_id) == ("token", str(ada.pk))
    assert entry.marker == refresh["sid"]


def test_the_user_of_an_api_key_is_known_with_the_public_part_of_the_key(
    ada: Any, only: Any
) -> None:
    key = create(ada, "ci")
    client = APIClient(headers={"Authorization": f"Api-Key {key.text}"})
    assert client.post("/api/v1/notes", {"text": "x"}, format="json").status_code == 201
    entry = only(route="api/v1/notes")
    assert (entry.actor_kind, entry.actor_id) == ("api_key", str(ada.pk))
    assert entry.marker
    assert entry.marker in key.text


def test_a_user_who_is_deleted_keeps_id_and_name_in_the_log(
    client: Client, ada: Any, only: Any
) -> None:
    client.force_login(ada)
    client.post("/unread")
    key = str(ada.pk)
    assert log.flush()
    ada.delete()
    entry = only(route="unread")
    assert (entry.actor_id, entry.actor_label) == (key, "ada@example.com")


@pytest.mark.usefixtures("ada")
def test_signing_in_and_out_is_on_record_with_the_user(
    client: Client, entries: Any
) -> None:
    client.post("/sign_in")
    client.post("/sign_out")
    labels = [(each.kind, each.route, each.actor_label) for each in entries()]
    assert sorted(labels) == [
        ("request", "sign_in", "ada@example.com"),
        ("request", "sign_out", "ada@example.com"),
        ("sign_in", "sign_in", "ada@example.com"),
        ("sign_out", "sign_out", "ada@example.com"),
    ]


@pytest.mark.urls("tests.urls")
def test_the_demo_api_has_the_user_on_signing_in_and_out(
    ada: Any, entries: Any, perfguard: Any
) -> None:
    perfguard(AUDIT_ANONYMOUS=False, AUDIT_ALWAYS_PATHS=["/auths/signin"])
    client = APIClient()
    given = {"email": ada.email, "password": PASSWORD}
    token = client.post("/api/v1/auths/signin", given, format="json").data["token"]
    given["password"] = "wrong"
    client.post("/api/v1/auths/signin", given, format="json")
    client.post("/api/v1/auths/signout", headers={"Authorization": f"Bearer {token}"})
    rows = [(each.status, each.actor_label) for each in entries(kind="request")]
    assert rows == [(200, ada.email), (401, ""), (200, ada.email)]


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("198.51.100.7", "6.6.6.6, 203.0.113.9", "198.51.100.7"),
        ("10.0.0.1", "6.6.6.6, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "6.6.6.6, [2001:db8::7]:4711", "2001:db8::7"),
        ("10.0.0.1", "6.6.6.6, unknown", "10.0.0.1"),
        ("10.0.0.1", ", ".join(["10.0.0.2"] * 100), "10.0.0.2"),
        ("10.0.0.1", "\x00';--", "10.0.0.1"),
    ],
    ids=["untrusted", "trusted", "ipv6-port", "unknown", "hundred-hops", "garbage"],
)
def test_the_address_is_the_last_that_no_trusted_proxy_has(
    peer: str, forwarded: str, address: str, client: Client, only: Any, perfguard: Any
) -> None:
    perfguard(TRUSTED_PROXIES=["10.0.0.0/8"])
    client.post("/unread", REMOTE_ADDR=peer, headers={"X-Forwarded-For": forwarded})
    assert only().address == address


# -- how it ended ---------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/fails", "/rolls_back"])
def test_a_view_that_raises_is_on_record_without_what_it_said(
    path: str, only: Any, django_user_model: Any, settings: Any
) -> None:
    settings.DATABASES["default"]["ATOMIC_REQUESTS"] = True
    client = Client(raise_request_exception=False)
    client.post(path, {"password": "hunter2-secret"}, "application/json")
    settings.DATABASES["default"]["ATOMIC_REQUESTS"] = False
    entry = only()
    assert (entry.status, entry.outcome) == (500, "error")
    assert entry.error == "builtins.RuntimeError"
    assert "hunter2" not in str(vars(entry))
    assert not django_user_model.objects.exists()


def test_a_task_that_is_cancelled_is_on_record_as_aborted(
    rf: RequestFactory, only: Any
) -> None:
    async def cancelled() -> None:
        async def view(request: Any) -> None:
            await asyncio.sleep(60)

        task = asyncio.create_task(AuditMiddleware(view)(rf.post("/")))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async_to_sync(cancelled)()
    entry = only()
    assert (entry.outcome, entry.status, entry.error) == (
        "aborted",
        None,
        "CancelledError",
    )


def test_what_a_middleware_raises_is_on_record_and_raised(
    rf: RequestFactory, only: Any
) -> None:
    def raises(request: Any) -> None:
        raise KeyError("hunter2")

    with pytest.raises(KeyError):
        AuditMiddleware(raises)(rf.post("/"))
    entry = only()
    assert (entry.outcome, entry.error) == ("error", "KeyError")


def test_an_entry_that_cannot_be_made_harms_no_answer(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    client.post("/unread")

    def raises(*args: Any) -> str:
        raise RuntimeError("hunter2")

    monkeypatch.setattr("perfguard.audit.watch.redact_url", raises)
    assert client.post("/unread").content == b"done"
    assert client.post("/unread").content == b"done"
    assert caplog.text.count("An audit entry could not be made: RuntimeError") == 1
    assert "hunter2" not in caplog.text
    assert log.state()["database"]["lost"] == {"not made": 2}


# -- bodies ---------------------------------------------------------------------------


def test_a_body_is_redacted_before_it_is_cut_and_the_cut_is_marked(
    client: Client, only: Any, perfguard: Any
) -> None:
    perfguard(AUDIT_LEVEL="REQUEST_RESPONSE", AUDIT_BODY_BYTES=40)
    body = '{"name": "ada", "password": "hunter2-and-a-long-tail-of-it", "more": 1}'
    client.post("/echo", body, "application/json")
    entry = only()
    for text, is_cut in (
        (entry.request_body, entry.request_truncated),
        (entry.response_body, entry.response_truncated),
    ):
        assert text.startswith('{"name": "ada"')
        assert "hunter2" not in text
        assert len(text) <= 40
        assert is_cut


def test_a_short_body_is_kept_as_it_is(
    client: Client, only: Any, perfguard: Any
) -> None:
    perfguard(AUDIT_LEVEL="REQUEST_RESPONSE")
    client.post("/echo", '{"b": [1, 2.50], "a": "ü"}', "application/json")
    entry = only()
    assert entry.request_body == entry.response_body == '{"b": [1, 2.50], "a": "ü"}'
    assert not entry.request_truncated
    assert not entry.response_truncated


def test_tokens_and_cookies_of_an_answer_are_redacted(
    client: Client, only: Any, perfguard: Any
) -> None:
    perfguard(AUDIT_LEVEL="REQUEST_RESPONSE")
    client.post(
        "/secret?access_token=query-12345678", headers={"X-Api-Key": "key-1234"}
    )
    entry = only()
    everything = str(vars(entry))
    assert "12345678" not in everything
    assert "key-1234" not in everything
    assert '"name": "ada"' in entry.response_body
    assert "sid=" in entry.response_headers


def test_a_body_that_no_view_read_is_not_read_for_the_log(
    client: Client, only: Any, perfguard: Any
) -> None:
    perfguard(AUDIT_LEVEL="REQUEST_RESPONSE")
    client.post("/unread", b"x" * 1000, "text/plain")
    entry = only()
    assert entry.request_body == ""
    assert entry.request_truncated
    assert entry.bytes_in == 1000


@pytest.mark.parametrize("client_class", [Client, AsyncClient], ids=["sync", "async"])
def test_uploads_above_the_limit_of_memory_reach_the_view(
    client_class: Any, only: Any, perfguard: Any
) -> None:
    perfguard(AUDIT_LEVEL="REQUEST_RESPONSE")
    client = client_class()
    post = async_to_sync(client.post) if client_class is AsyncClient else client.post
    upload = io.BytesIO(b"f" * 4_000_000)
    upload.name = "big.bin"
    response = post("/form", {"password": "hunter2", "a": "b", "file": upload})
    assert response.json() == {"password": "hunter2", "a": "b", "file": 4_000_000}
    entry = only()
    assert "hunter2" not in entry.request_body
    assert len(entry.request_body) <= 2048
    assert entry.request_truncated
    assert entry.bytes_in > 4_000_000


@pytest.mark.parametrize("client_class", [Client, AsyncClient], ids=["sync", "async"])
def test_a_view_that_reads_its_body_by_parts_goes_on_to_do_so(
    client_class: Any, only: Any, perfguard: Any
) -> None:
    perfguard(AUDIT_LEVEL="REQUEST")
    client = client_class()
    post = async_to_sync(client.post) if client_class is AsyncClient else client.post
    response = post(
        "/by_parts", b"one two three four. " * 150_000, content_type="text/plain"
    )
    assert response.json() == {"size": 3_000_000}
    entry = only()
    assert (entry.bytes_in, len(entry.request_body)) == (3_000_000, 2048)
    assert entry.request_truncated


# -- streams --------------------------------------------------------------------------


def test_a_stream_is_on_record_when_it_ends_and_not_before(
    client: Client, entries: Any, perfguard: Any
) -> None:
    perfguard(AUDIT_LEVEL="REQUEST_RESPONSE", AUDIT_METHODS=["GET"])
    response = client.get("/stream?n=100")
    assert entries() == []
    assert len(b"".join(response.streaming_content)) == 100_000
    (entry,) = entries()
    assert (entry.outcome, entry.bytes_out) == ("completed", 100_000)
    assert len(entry.response_body) == 2048
    assert entry.response_truncated


def test_a_stream_that_is_left_is_aborted_and_one_that_fails_is_an_error(
    client: Client, entries: Any, perfguard: Any
) -> None:
    perfguard(AUDIT_METHODS=["GET"])
    left = client.get("/stream?n=100")
    for _ in range(3):
        next(iter(left.streaming_content))
    left.close()
    failed = client.get("/stream?n=13")
    with pytest.raises(RuntimeError):
        b"".join(failed.streaming_content)
    rows = [(each.outcome, each.bytes_out, each.error) for each in entries()]
    assert rows == [("aborted", 3000, ""), ("error", 1000, "RuntimeError")]


def test_an_async_stream_is_counted_to_its_end(entries: Any, perfguard: Any) -> None:
    perfguard(AUDIT_METHODS=["GET"])

    async def read(count: int, path: str) -> None:
        response = await AsyncClient().get(path)
        stream = aiter(response.streaming_content)
        for _ in range(count):
            await anext(stream, None)
        response.close()

    async_to_sync(read)(6, "/astream?n=5")
    async_to_sync(read)(2, "/astream?n=5")
    rows = [(each.outcome, each.bytes_out) for each in entries()]
    assert rows == [("completed", 5000), ("aborted", 2000)]


def test_a_stream_that_nobody_reads_for_head_or_that_refuses_says_so(
    rf: RequestFactory, entries: Any, perfguard: Any
) -> None:
    perfguard(AUDIT_METHODS=["HEAD", "POST"])

    def view(request: Any) -> StreamingHttpResponse:
        status = 200 if request.method == "HEAD" else 403
        return StreamingHttpResponse(iter([b"x"]), status=status)

    AuditMiddleware(view)(rf.head("/")).close()
    refused = AuditMiddleware(view)(rf.post("/"))
    assert b"".join(refused.streaming_content) == b"x"
    assert [each.outcome for each in entries()] == ["completed", "refused"]


@pytest.mark.parametrize("durability", ["async", "spool"])
def test_an_entry_is_made_before_a_stream_only_where_it_is_kept(
    durability: str, client: Client, only: Any, perfguard: Any, tmp_path: Path
) -> None:
    perfguard(
        AUDIT_METHODS=["GET"],
        AUDIT_DURABILITY=durability,
        AUDIT_SPOOL_DIR=str(tmp_path),
    )
    response = client.get("/stream?n=1")
    spooled = b"".join(path.read_bytes() for path in tmp_path.glob("*.spool"))
    assert (b"ProcessEnded" in spooled) is (durability == "spool")
    assert b"".join(response.streaming_content)
    assert only().outcome == "completed"


def test_a_file_is_counted_to_its_end(
    client: Client, only: Any, perfguard: Any
) -> None:
    perfguard(AUDIT_METHODS=["GET"])
    response = client.get("/file")
    size = len(b"".join(response.streaming_content))
    response.close()
    assert (only().outcome, only().bytes_out) == ("completed", size)


# -- what clients may send -------------------------------------------------------------


ODD = "a\x00b\rc\nd\x1b[31me\x7f\u202e\ud800"


def test_odd_characters_are_stored_safely(
    rf: RequestFactory, only: Any, perfguard: Any
) -> None:
    perfguard(AUDIT_LEVEL="REQUEST_RESPONSE")
    request = rf.post("/", HTTP_USER_AGENT=ODD, HTTP_X_ODD=ODD)
    request.path = request.path_info = f"/{ODD}"
    request.request_id = ODD
    AuditMiddleware(lambda request: HttpResponse(request.body))(request)
    entry = only()
    safe = ODD.replace("\x00", "\ufffd").replace("\ud800", "\ufffd")
    assert entry.user_agent == safe
    assert entry.request_id == safe
    assert "\x00" not in entry.url


@pytest.mark.parametrize(
    "length", ["", "-1", "1e9", "9" * 400, "\u0661", "12abc"], ids=range(6)
)
def test_a_length_that_is_none_is_not_believed(
    length: str, rf: RequestFactory, only: Any
) -> None:
    request = rf.post("/")
    request.META["CONTENT_LENGTH"] = length
    AuditMiddleware(lambda request: HttpResponse())(request)
    assert only().bytes_in in (0, None)


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health"])
def test_probes_are_not_audited(
    path: str, client: Client, entries: Any, perfguard: Any
) -> None:
    perfguard(AUDIT_METHODS=["GET"])
    client.get(path, headers={"Authorization": "Bearer abc"})
    assert entries() == []


def test_the_user_whom_a_trusted_proxy_names_is_known(
    ada: Any, client: Client, only: Any, perfguard: Any
) -> None:
    perfguard(
        TRUSTED_EMAIL_HEADER="X-Email",
        TRUSTED_PROXIES=["127.0.0.1"],
        TRUSTED_PER_REQUEST=True,
    )
    client.post("/who", headers={"X-Email": ada.email})
    entry = only()
    assert (entry.actor_kind, entry.actor_label) == ("trusted_header", ada.email)


def test_the_memory_does_not_grow_with_the_body(
    rf: RequestFactory, only: Any, perfguard: Any
) -> None:
    perfguard(AUDIT_LEVEL="REQUEST_RESPONSE")
    size = 100_000_000
    chunk = b"one two three four. " * 5000

    def view(request: Any) -> StreamingHttpResponse:
        while request.read(len(chunk)):
            pass
        return StreamingHttpResponse(chunk for _ in range(size // len(chunk)))

    class Body:
        left = size

        def read(self, most: int = -1) -> bytes:
            part = chunk[: min(most, self.left)]
            self.left -= len(part)
            return part

    request = rf.generic("POST", "/", content_type="text/plain")
    request._stream = Body()
    request.META["CONTENT_LENGTH"] = str(size)
    tracemalloc.start()
    response = AuditMiddleware(view)(request)
    for _ in response.streaming_content:
        pass
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    response.close()
    assert (only().bytes_in, only().bytes_out) == (size, size)
    assert most < 2_000_000
