"""Secrets that a request or its answer carries are found in nothing that is stored."""

from __future__ import annotations

import base64
import gzip
import io
import json
import logging
import string
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfguard.audit import log
from perfguard.audit.exports import export_lines
from perfguard.audit.middleware import AuditMiddleware
from perfguard.audit.models import AuditEntry
from perfguard.audit.spool import Segment
from perfguard.signals import audit_recorded

# As they are met: unlike anything else that is in an entry.
SECRETS = st.text(string.ascii_letters + string.digits, min_size=12, max_size=40).map(
    lambda text: f"Zq{text}"
)
NAMES = st.sampled_from(
    [
        *("password", "newPassword", "user_password", "access_token", "refreshToken"),
        *("api-key", "client_secret", "Authorization", "sessionid"),
    ]
)


@st.composite
def planted(draw: Any) -> dict[str, Any]:
    return {
        "secrets": [draw(SECRETS) for _ in range(8)],
        "name": draw(NAMES),
        "kind": draw(st.sampled_from(["json", "form", "multipart", "text", "events"])),
        "depth": draw(st.integers(0, 5)),
        "padding": draw(st.integers(0, 3000)),
        "status": draw(st.sampled_from([200, 401, 500])),
    }


def body_of(kind: str, name: str, secret: str, plan: dict[str, Any]) -> tuple[Any, str]:
    padding = "word " * plan["padding"]
    if kind == "form":
        return urlencode({"padding": padding, name: secret}), FORM
    if kind == "multipart":
        parts = (("padding", padding), (name, secret))
        text = "".join(
            f'--b\r\nContent-Disposition: form-data; name="{each}"\r\n\r\n{value}\r\n'
            for each, value in parts
        )
        return f"{text}--b--\r\n", "multipart/form-data; boundary=b"
    if kind == "text":
        return f"{padding} {name}={secret} {padding}", "text/plain"
    value: Any = {"padding": padding, name: secret}
    for _ in range(plan["depth"]):
        value = {"in": [value]}
    if kind == "events":
        return f"data: {json.dumps(value)}\n\n", "text/event-stream"
    return json.dumps(value), "application/json"


FORM = "application/x-www-form-urlencoded"


def request_of(plan: dict[str, Any], rf: RequestFactory) -> HttpRequest:
    in_query, in_header, in_cookie, in_body, in_name, *_ = plan["secrets"]
    name = plan["name"]
    body, kind = body_of(plan["kind"], name, in_body, plan)
    basic = base64.b64encode(f"ada:{in_header}".encode()).decode()
    request = rf.generic(
        "POST",
        f"/notes?page=2&{quote(name)}={in_query}",
        body,
        content_type=kind,
        HTTP_AUTHORIZATION=f"Basic {basic}",
        HTTP_X_API_KEY=in_header,
        HTTP_REFERER=f"https://ada:{in_name}@example.com/?token={in_query}",
    )
    request.COOKIES["sessionid"] = in_cookie
    request.META["HTTP_COOKIE"] = f"sessionid={in_cookie}; theme=dark"
    return request


def view_of(plan: dict[str, Any]) -> Any:
    *_, in_cookie, in_body, in_location = plan["secrets"]

    def view(request: HttpRequest) -> HttpResponse:
        assert request.body
        body, kind = body_of(plan["kind"], plan["name"], in_body, plan)
        response = HttpResponse(body, status=plan["status"], content_type=kind)
        response.set_cookie("sid", in_cookie)
        response.headers["Location"] = f"/next?access_token={in_location}"
        return response

    return view


@pytest.fixture
def everything(
    perfguard: Any,
    transactional_db: Any,
    tmp_path: Path,
    caplog: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    """All that was written anywhere since, as one text."""
    perfguard(
        AUDIT_LEVEL="REQUEST_RESPONSE",
        AUDIT_ANONYMOUS=True,
        AUDIT_SINKS=["database", "file", "stdout", "telemetry"],
        AUDIT_FILE_PATH=str(tmp_path / "audit.log"),
        AUDIT_DURABILITY="spool",
        AUDIT_SPOOL_DIR=str(tmp_path / "spool"),
        API_KEYS_HEADER="X-API-Key",
    )
    caplog.set_level(logging.DEBUG)
    spooled: list[bytes] = []
    append = Segment.append

    def spy(self: Segment, record: bytes) -> bool:
        spooled.append(record)
        return append(self, record)

    monkeypatch.setattr(Segment, "append", spy)
    told: list[Any] = []

    def hear(entries: Any, **kwargs: Any) -> None:
        told.extend(entries)

    audit_recorded.connect(hear, weak=False, dispatch_uid="everything")

    def text() -> str:
        assert log.flush()
        rows = list(AuditEntry.objects.order_by("id"))
        parts = [str(vars(each)) for each in rows]
        for form in ("csv", "jsonl"):
            parts += export_lines(AuditEntry.objects.order_by("id"), form)
        parts += [each.decode() for each in spooled]
        for path in tmp_path.glob("audit.log*"):
            content = path.read_bytes()
            is_packed = path.suffix == ".gz"
            parts.append((gzip.decompress(content) if is_packed else content).decode())
        parts += [caplog.text, str(told)]
        assert rows
        assert spooled
        assert told
        spooled.clear()
        told.clear()
        AuditEntry.objects.all().delete()
        return "\n".join(parts)

    yield text
    audit_recorded.disconnect(dispatch_uid="everything")


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(plan=planted())
def test_no_planted_secret_is_found_in_anything_that_is_written(
    everything: Any, rf: RequestFactory, capfd: Any, plan: dict[str, Any]
) -> None:
    AuditMiddleware(view_of(plan))(request_of(plan, rf))
    text = everything() + capfd.readouterr().out
    for secret in plan["secrets"]:
        # Nor the greater part of it, nor another way to write it.
        for form in (secret, secret[:9], base64.b64encode(secret.encode()).decode()):
            assert form not in text
    assert "/notes?page=2" in text
    assert "theme" in text


def test_the_search_would_find_a_secret(everything: Any, rf: RequestFactory) -> None:
    """What is no secret is found where the other test looks."""
    request = rf.post("/notes", io.BytesIO(b"Zq-no-secret"), content_type="text/plain")
    request.META["HTTP_USER_AGENT"] = "Zq-no-secret"
    AuditMiddleware(lambda request: HttpResponse("Zq-no-secret"))(request)
    # The row, two exports, the spool, the file, and the signal.
    assert everything().count("Zq-no-secret") >= 6
