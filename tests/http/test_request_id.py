"""One id for a request, from its first log line to its last."""

from __future__ import annotations

import asyncio
import logging

import pytest
from django.http import HttpResponse, StreamingHttpResponse

from perfguard.http.request_id import (
    RequestIdFilter,
    RequestIdMiddleware,
    current_request_id,
)


def seen(request):
    return HttpResponse(f"{request.request_id} {current_request_id()}")


def test_the_view_the_log_and_the_answer_have_one_id(serve, rf):
    response = serve(RequestIdMiddleware, seen)
    name = response.headers["X-Request-ID"]
    assert len(name) == 32
    assert response.content.decode() == f"{name} {name}"


def test_each_request_has_another(serve):
    answers = [serve(RequestIdMiddleware, seen) for _ in range(20)]
    assert len({each.headers["X-Request-ID"] for each in answers}) == 20


WELL_FORMED = ["a", "6d6e0d3c-1c0b-4d1a", "req_1.2:3/4+5=@x", "0" * 128]
MALFORMED = ["", " ", "-a", "a b", "a\nb", "a,b", "é", "a" * 129, "{x}", "<b>", "%0a"]


@pytest.mark.parametrize("given", WELL_FORMED)
def test_a_well_formed_id_is_taken(serve, rf, given):
    response = serve(RequestIdMiddleware, seen, rf.get("/", HTTP_X_REQUEST_ID=given))
    assert response.headers["X-Request-ID"] == given


@pytest.mark.parametrize("given", MALFORMED)
def test_any_other_is_replaced(serve, rf, given):
    response = serve(RequestIdMiddleware, seen, rf.get("/", HTTP_X_REQUEST_ID=given))
    assert len(response.headers["X-Request-ID"]) == 32


@pytest.mark.parametrize(
    ("source", "peer", "is_taken"),
    [
        ("anybody", "203.0.113.7", True),
        ("proxies", "203.0.113.7", False),
        ("proxies", "10.0.0.1", True),
        ("proxies", "", False),  # a Unix socket that is not listed
        ("nobody", "10.0.0.1", False),
    ],
)
def test_the_setting_says_whose_id_is_taken(
    serve, rf, perfguard, source, peer, is_taken
):
    perfguard(REQUEST_ID_FROM=source, TRUSTED_PROXIES=["10.0.0.0/8"])
    request = rf.get("/", HTTP_X_REQUEST_ID="given-1", REMOTE_ADDR=peer)
    response = serve(RequestIdMiddleware, seen, request)
    assert (response.headers["X-Request-ID"] == "given-1") is is_taken


def test_the_header_may_have_another_name_or_none(serve, rf, perfguard):
    perfguard(REQUEST_ID_HEADER="X-Correlation-ID")
    request = rf.get("/", HTTP_X_CORRELATION_ID="c1", HTTP_X_REQUEST_ID="r1")
    assert serve(RequestIdMiddleware, seen, request)["X-Correlation-ID"] == "c1"
    perfguard(REQUEST_ID_HEADER="")
    response = serve(RequestIdMiddleware, seen, rf.get("/", HTTP_X_REQUEST_ID="r1"))
    assert "X-Request-ID" not in response.headers
    assert len(response.content) == 65


def record():
    made = logging.LogRecord("x", logging.INFO, "", 0, "said", None, None)
    assert RequestIdFilter().filter(made)
    return made


@pytest.mark.django_db
def test_log_lines_have_the_id_until_the_request_is_finished(rf):
    """A stream works for its request after the middleware is left."""
    lines = []

    def view(request):
        def body():
            lines.append(record().request_id)
            yield b"x"

        lines.append(record().request_id)
        return StreamingHttpResponse(body())

    response = RequestIdMiddleware(view)(rf.get("/", HTTP_X_REQUEST_ID="r1"))
    list(response)
    response.close()
    assert lines == ["r1", "r1"]
    assert record().request_id == "-"


def test_requests_on_one_loop_do_not_take_each_others_id(rf):
    async def view(request):
        await asyncio.sleep(0)
        return seen(request)

    async def both():
        door = RequestIdMiddleware(view)
        names = [f"r{number}" for number in range(50)]
        requests = [rf.get("/", HTTP_X_REQUEST_ID=each) for each in names]
        answers = await asyncio.gather(*map(door, requests))
        return names, [each.content.decode() for each in answers]

    names, bodies = asyncio.run(both())
    assert bodies == [f"{each} {each}" for each in names]
