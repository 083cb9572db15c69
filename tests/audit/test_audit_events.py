"""Security events, as signals and views tell of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client, RequestFactory
from rest_framework.test import APIClient

from perfguard import signals
from perfguard.api_keys.services import create, revoke
from perfguard.audit import events, log
from perfguard.audit.quiet import MOST_QUIET, QUIET_SECONDS, Quiet
from perfguard.tokens.tokens import RefreshToken

PASSWORD = "a-long-demo-password"


@pytest.fixture(autouse=True)
def _settings(perfguard: Any, transactional_db: Any) -> None:
    perfguard(
        AUDIT_LEVEL="METADATA",
        THROTTLE_RATES={
            "user": None,
            "anon": None,
            "refresh": None,
            "sign_in": "2/minute",
            "sign_in_address": None,
        },
    )


@pytest.fixture
def ada(django_user_model: Any) -> Any:
    return django_user_model.objects.create_user("ada@example.com", PASSWORD)


@pytest.fixture
def told(entries: Any) -> Any:
    """``told(kind)``: the details of such events, with the user's id."""

    def of(kind: str) -> list[tuple[str, dict[str, Any]]]:
        return [
            (each.actor_id, json.loads(each.details)) for each in entries(kind=kind)
        ]

    return of


def sign_in(email: str, password: str) -> Any:
    given = {"email": email, "password": password}
    return APIClient().post("/api/v1/auths/signin", given, format="json")


def with_token(path: str, token: object) -> Any:
    client = APIClient(headers={"Authorization": f"Bearer {token}"})
    return client.post(path, {"text": "x"}, format="json")


def test_a_sign_in_is_told_once(ada: Any, told: Any) -> None:
    sign_in(ada.email, PASSWORD)
    assert told("sign_in") == [(str(ada.pk), {"by": "password"})]


@pytest.mark.usefixtures("ada")
def test_a_refused_sign_in_is_told_once_and_without_what_was_typed(
    told: Any, entries: Any
) -> None:
    sign_in("my-password-in-the-wrong-field", "hunter2-secret")
    sign_in("ada@example.com", "hunter2-secret")
    Client().post("/admin/login/", {"username": "hunter2", "password": "hunter2"})
    assert len(told("sign_in_refused")) >= 2
    rows = str([vars(each) for each in entries()])
    assert "hunter2" not in rows
    assert "wrong-field" not in rows


def test_a_refused_throttle_is_told_once_a_minute(ada: Any, told: Any) -> None:
    for _ in range(5):
        sign_in(ada.email, "wrong")
    ((_, details),) = told("throttle_refused")
    assert details["scope"] == "sign_in"
    assert "account:" in details["identity"]
    assert ada.email not in details["identity"]


def test_a_revoked_token_that_is_used_is_told_with_its_user(
    ada: Any, told: Any
) -> None:
    token = RefreshToken.for_user(ada).access_token
    with_token("/api/v1/auths/signout", token)
    assert with_token("/api/v1/notes", token).status_code == 401
    assert told("revoked_token_used") == [
        (str(ada.pk), {"presented": "token", "code": "token_revoked"})
    ]
    assert [each["what"] for _, each in told("token_revoked")] == ["token", "session"]


@pytest.mark.usefixtures("ada")
def test_a_token_that_is_none_is_told(told: Any) -> None:
    assert with_token("/api/v1/notes", "abc").status_code == 401
    ((user, details),) = told("token_refused")
    assert (user, details["presented"]) == ("", "token")


def test_a_refresh_token_that_comes_back_is_told(
    ada: Any, told: Any, perfguard: Any
) -> None:
    perfguard(TOKEN_REUSE_GRACE=0)
    refresh = str(RefreshToken.for_user(ada))
    client = APIClient()
    for _ in range(2):
        client.post("/api/v1/auths/refresh", {"refresh": refresh}, format="json")
    assert [user for user, _ in told("token_reused")] == [str(ada.pk)]


def test_api_keys_that_change_or_are_refused_are_told(ada: Any, told: Any) -> None:
    key = create(ada, "ci", by=str(ada.pk))
    revoke(key.api_key, by=str(ada.pk))
    client = APIClient(headers={"Authorization": f"Api-Key {key.text}"})
    assert client.post("/api/v1/notes").status_code == 401
    changes = [details["change"] for _, details in told("api_key_changed")]
    assert changes == ["created", "revoked"]
    ((user, details),) = told("api_key_refused")
    assert (user, details["code"]) == (str(ada.pk), "revoked")


def test_an_event_has_the_id_of_the_request_that_it_belongs_to(
    ada: Any, entries: Any
) -> None:
    sign_in(ada.email, PASSWORD)
    (event,) = entries(kind="sign_in")
    assert event.request_id
    assert (event.method, event.route) == ("POST", "api/v1/auths/signin")


def test_events_can_be_left_out_and_none_are_told_at_none(
    ada: Any, entries: Any, perfguard: Any
) -> None:
    perfguard(AUDIT_EVENTS=["token_revoked"])
    sign_in(ada.email, PASSWORD)
    assert entries() == []
    perfguard(AUDIT_LEVEL="NONE")
    signals.token_reused.send(None, user_key="1", sid="s")
    assert log.state() == {}


def test_details_are_redacted(rf: RequestFactory, entries: Any) -> None:
    request = rf.get("/reset/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjMifQ.c2lnbmF0dXJl")
    events.record("custom", request=request, note="password=hunter2-secret", count=3)
    (event,) = entries(kind="custom")
    assert "hunter2" not in event.details
    assert json.loads(event.details)["count"] == 3
    assert "c2lnbmF0dXJl" not in event.url


def test_a_flood_of_identities_does_not_fill_the_memory(clock: Any) -> None:
    quiet = Quiet(clock)
    assert all(quiet.begins(number) for number in range(MOST_QUIET + 1))
    assert not quiet.begins(1)
    assert quiet.begins(0)  # the oldest was forgotten for the newest
    clock.advance(QUIET_SECONDS)
    assert quiet.begins(5)


def test_the_audit_log_is_a_part_of_readiness(
    client: Client, perfguard: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    perfguard(AUDIT_LEVEL="METADATA")
    assert client.get("/readyz").json()["audit"] == "ok"
    log.writers().database.failing = "OperationalError"
    log.lost("not made")
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["audit"] == "away"
    assert answer.json()["audit_dropped"] == 1
    perfguard(AUDIT_LEVEL="NONE")
    assert "audit" not in client.get("/readyz").json()


def test_signing_out_by_token_is_a_sign_out_of_somebody_from_somewhere(
    ada: Any, entries: Any
) -> None:
    token = RefreshToken.for_user(ada).access_token
    with_token("/api/v1/auths/signout", token)
    (event,) = entries(kind="sign_out")
    assert (event.kind, event.actor_id) == ("sign_out", str(ada.pk))
    assert (event.address, event.route) == ("127.0.0.1", "api/v1/auths/signout")
