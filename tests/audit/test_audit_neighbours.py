"""The log beside what else there is: tests of a project, other middleware, sessions and
requests that are no usual ones. It sees all of them, and changes none."""

from __future__ import annotations

import errno
import gc
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import authenticate
from django.contrib.sessions.models import Session
from django.db import connections, transaction
from django.db.backends.signals import connection_created
from django.http import HttpResponse, HttpResponseForbidden, StreamingHttpResponse
from django.test import AsyncClient, Client, RequestFactory
from django.urls import resolve

from perfguard.audit import events, log
from perfguard.audit.database_sink import DatabaseSink
from perfguard.audit.entries import Entry, new_id, now
from perfguard.audit.lines import known_keys, to_line
from perfguard.audit.middleware import AuditMiddleware
from perfguard.audit.models import AuditEntry

pytestmark = pytest.mark.urls("tests.audit.audit_site")


@pytest.fixture(autouse=True)
def _settings(perfguard: Any, transactional_db: Any) -> None:
    perfguard(
        AUDIT_LEVEL="METADATA",
        AUDIT_ANONYMOUS=True,
        THROTTLE_RATES={"user": None, "anon": None},
    )


@pytest.fixture
def ada(django_user_model: Any) -> Any:
    return django_user_model.objects.create_user("ada@example.com", "a-long-password")


def a_line() -> bytes:
    return to_line(Entry(entry_id=new_id(), at=now(), kind="request"))


# -- a project's tests ----------------------------------------------------------------


def test_entries_of_a_test_are_in_its_transaction_and_leave_with_it(
    client: Client, perfguard: Any
) -> None:
    perfguard(AUDIT_DURABILITY="inline")
    with transaction.atomic():
        client.post("/unread")
        async_to_sync(AsyncClient().post)("/unread")
        assert AuditEntry.objects.count() == 2
        assert log.state() == {}  # and no thread has been started
        transaction.set_rollback(True)
    assert AuditEntry.objects.count() == 0


def test_what_is_left_of_a_test_does_not_go_into_the_real_database() -> None:
    sink = DatabaseSink()
    connection = connections["default"]
    name = connection.settings_dict["NAME"]
    sink.write([a_line()])
    connection.settings_dict["NAME"] = "the real one"
    try:
        sink.write([a_line()])
    finally:
        connection.settings_dict["NAME"] = name
    assert AuditEntry.objects.count() == 1


# -- others who set attributes, and call themselves requests --------------------------


def test_ids_of_another_kind_are_written_as_text(rf: RequestFactory, only: Any) -> None:
    request = rf.post("/")
    request.request_id = uuid.UUID(int=7)
    request.trace_id = None
    AuditMiddleware(lambda request: HttpResponse())(request)
    assert only().request_id == str(uuid.UUID(int=7))


@pytest.mark.parametrize("request_", [{}, object(), None], ids=["dict", "object", "no"])
def test_a_sign_in_by_what_is_no_request_goes_on(request_: Any) -> None:
    assert authenticate(request_, username="ada", password="x") is None


def test_a_request_without_a_body_to_read_goes_on(
    rf: RequestFactory, perfguard: Any
) -> None:
    perfguard(AUDIT_LEVEL="REQUEST")
    request = rf.post("/")
    del request._stream
    assert AuditMiddleware(lambda request: HttpResponse("ok"))(request).content == b"ok"


# -- sessions -------------------------------------------------------------------------


def test_who_signs_in_otherwise_beside_a_session_is_not_taken_for_its_user(
    ada: Any, rf: RequestFactory, only: Any
) -> None:
    request = rf.post("/")
    request.COOKIES["sessionid"] = request.META["HTTP_COOKIE"] = "sessionid=eves"
    request.user = ada
    AuditMiddleware(lambda request: HttpResponse())(request)
    assert (only().actor_kind, only().marker) == ("other", "")


def test_a_stale_cookie_is_answered_as_without_the_log(
    ada: Any, client: Client, only: Any
) -> None:
    client.force_login(ada)
    Session.objects.all().delete()
    response = client.post("/unread")
    assert "Cookie" not in response.headers.get("Vary", "")
    assert not response.cookies
    assert only().actor_kind == "unknown"


def test_an_answer_under_asgi_does_not_vary_for_the_log(ada: Any, only: Any) -> None:
    client = AsyncClient()
    client.force_login(ada)
    response = async_to_sync(client.post)("/unread")
    assert "Cookie" not in response.headers.get("Vary", "")
    assert only(route="unread").actor_label == ada.email


def test_a_session_of_an_old_password_is_nobodys(
    ada: Any, client: Client, only: Any
) -> None:
    client.force_login(ada)
    ada.set_password("another-long-password")
    ada.save()
    client.post("/unread")
    assert only(route="unread").actor_id == ""
    assert Session.objects.exists()  # whose end is not for the log to make


def test_a_credential_that_nobody_has_looked_at_is_of_somebody_unknown(
    client: Client, only: Any
) -> None:
    client.post("/nowhere", headers={"Authorization": "Bearer abc"})
    assert (only().status, only().actor_kind) == (404, "unknown")


# -- answers --------------------------------------------------------------------------


def test_a_stream_that_somebody_throws_away_is_on_record(
    rf: RequestFactory, entries: Any
) -> None:
    def replaces(request: Any) -> HttpResponse:
        AuditMiddleware(lambda request: StreamingHttpResponse(iter([b"x"])))(request)
        return HttpResponse(status=400)

    replaces(rf.post("/"))
    gc.collect()
    (entry,) = entries()
    assert entry.outcome == "aborted"


def test_a_403_without_the_csrf_middleware_is_none_of_csrf(
    rf: RequestFactory, settings: Any, only: Any
) -> None:
    settings.MIDDLEWARE = []
    request = rf.post("/unread")
    request._dont_enforce_csrf_checks = False
    request.resolver_match = resolve("/guarded")
    AuditMiddleware(lambda request: HttpResponseForbidden())(request)
    assert only().refused_by == "permission"


def test_a_part_of_the_path_that_the_route_calls_a_token_is_not_kept(
    client: Client, only: Any
) -> None:
    client.post("/invite/Hunter2Zq99/7/")
    assert only().url == "/invite/********/7/"


# -- the writer -----------------------------------------------------------------------


def test_the_writer_keeps_its_connection_whatever_requests_do(
    client: Client, entries: Any, settings: Any
) -> None:
    settings.DATABASES["default"]["CONN_MAX_AGE"] = 0
    made = []

    def note(**kwargs: Any) -> None:
        made.append(threading.current_thread().name)

    connection_created.connect(note)
    try:
        for number in range(1, 4):
            client.post("/unread")
            assert len(entries()) == number
    finally:
        connection_created.disconnect(note)
    assert made.count("perfguard-audit-database") == 1


def test_a_disk_that_cannot_be_forced_keeps_nothing_from_the_database(
    client: Client,
    entries: Any,
    perfguard: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    perfguard(AUDIT_DURABILITY="spool", AUDIT_SPOOL_DIR=str(tmp_path))
    monkeypatch.setattr("os.fdatasync", fails)
    client.post("/unread")
    assert len(entries()) == 1


def test_with_a_key_of_its_own_the_secret_key_verifies_nothing(
    perfguard: Any, settings: Any
) -> None:
    perfguard(AUDIT_OLD_SIGNING_KEYS=[""])
    before = set(known_keys())
    perfguard(AUDIT_SIGNING_KEY="k" * 40, AUDIT_OLD_SIGNING_KEYS=["o" * 40])
    assert len(known_keys()) == 2
    assert not before & set(known_keys())


# -- events ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["", "request", "entries_pruned", "sign_in", "Blank it", "x" * 33]
)
def test_a_kind_of_event_that_is_none_of_ones_own_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="kind"):
        events.record(kind)


@pytest.mark.parametrize("value", [{"password": "x"}, ["x"], b"x"], ids=str)
def test_details_that_hold_details_are_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="'data' is a"):
        events.record("own", data=value)


def test_long_details_are_cut_and_secret_ones_blanked(entries: Any) -> None:
    events.record("own", kind="k", note="word " * 1000, password="hunter2", none=None)
    (event,) = entries(kind="own")
    assert len(event.details) < 2200
    assert "hunter2" not in event.details
