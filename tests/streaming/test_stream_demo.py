"""``GET /api/v1/stream`` of the demo."""

from __future__ import annotations

import json

import pytest
from rest_framework.test import APIClient

from project.demo.models import User
from tests.streaming.sse import parsed


@pytest.fixture(autouse=True)
def _rates(db, perfguard):
    perfguard(THROTTLE_RATES={"user": "1000/hour", "anon": "1000/hour"})


@pytest.fixture
def api():
    client = APIClient()
    user = User.objects.create_user("who@example.com", "a-good-password")
    client.force_authenticate(user)
    return client


def stream(api, query, **headers):
    response = api.get(f"/api/v1/stream?{query}", **headers)
    assert response.status_code == 200, response.content
    messages = parsed(b"".join(response))
    response.close()
    return messages


def test_so_many_events_are_sent(api):
    messages = stream(api, "events=3&interval_ms=1", HTTP_ACCEPT="text/event-stream")
    assert [json.loads(each.data) for each in messages] == [
        {"number": number, "of": 3} for number in (1, 2, 3)
    ]
    assert [each.id for each in messages] == ["1", "2", "3"]


def test_a_client_that_comes_back_goes_on_where_it_was(api):
    query = "events=5&interval_ms=0"
    messages = stream(api, query, HTTP_LAST_EVENT_ID="3")
    assert [each.id for each in messages] == ["4", "5"]
    messages = stream(api, query, HTTP_LAST_EVENT_ID="of another")
    assert len(messages) == 5


def test_words_are_joined(api):
    messages = stream(api, "events=5&interval_ms=0&deltas=2")
    assert [each.data for each in messages] == [
        "word 1 word 2 ",
        "word 3 word 4 ",
        "word 5 ",
    ]


@pytest.mark.parametrize(
    "query",
    [
        "events=many",
        "events=-1",
        "events=10001",
        "interval_ms=x",
        "interval_ms=60001",
        "deltas=0",
        "deltas=many",
        "deltas=1001",
    ],
)
def test_a_bad_parameter_is_a_400_that_names_it(api, query):
    response = api.get(f"/api/v1/stream?{query}")
    assert response.status_code == 400
    assert query.partition("=")[0] in response.json()


def test_it_is_open_to_all_but_not_to_who_shows_a_bad_token():
    assert stream(APIClient(), "events=0") == []
    refused = APIClient().get("/api/v1/stream", HTTP_AUTHORIZATION="Bearer a.b.c")
    assert refused.status_code == 401


def test_the_parameters_are_in_the_openapi_document():
    document = APIClient().get("/api/schema").json()
    operation = document["paths"]["/api/v1/stream"]["get"]
    names = {each["name"] for each in operation["parameters"]}
    assert {"events", "interval_ms", "deltas", "Last-Event-ID"} <= names
    assert "text/event-stream" in operation["responses"]["200"]["content"]
    assert {"401", "429"} <= operation["responses"].keys()
