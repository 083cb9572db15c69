"""The replay buffer, the renderer, and what a view remembers."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from django.contrib.auth import get_user_model, login
from django.contrib.sessions.backends.db import SessionStore
from rest_framework.exceptions import NotAuthenticated
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from perfguard.http.standing import questions, remember, still_good
from perfguard.streaming.events import Event
from perfguard.streaming.renderers import EventStreamRenderer
from perfguard.streaming.replay import ReplayBuffer
from perfguard.streaming.responses import event_stream
from perfguard.streaming.session import remember_session

# -- replay ----------------------------------------------------------------------------


def test_a_client_that_comes_back_gets_what_it_missed():
    buffer = ReplayBuffer(3)
    events = [buffer.add({"n": number}) for number in range(5)]
    assert len({each.id for each in events}) == 5
    assert buffer.since("") == []
    assert buffer.since(events[3].id) == [events[4]]
    assert buffer.since(events[4].id) == []
    # Gone, or another process's: all there is.
    assert buffer.since(events[0].id) == events[2:]
    assert buffer.since(ReplayBuffer(1).add("x").id) == events[2:]


def test_a_buffer_keeps_type_and_retry_and_gives_the_id():
    event = ReplayBuffer(1).add(Event("x", event="note", id="mine", retry=5))
    assert (event.data, event.event, event.retry) == ("x", "note", 5)
    assert event.id != "mine"
    assert ReplayBuffer(1).add("text").data == "text"


def test_a_buffer_is_bounded_and_safe_among_threads():
    buffer = ReplayBuffer(100)

    def add():
        for number in range(500):
            buffer.add(number)

    threads = [threading.Thread(target=add) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    kept = [int(each.id.partition("-")[2]) for each in buffer.since("unknown")]
    assert kept == list(range(3901, 4001))


@pytest.mark.parametrize("size", [0, -1])
def test_a_buffer_without_room_is_refused(size):
    with pytest.raises(ValueError, match="use 1 or more"):
        ReplayBuffer(size)


# -- the renderer ----------------------------------------------------------------------


class View(APIView):
    renderer_classes = (EventStreamRenderer,)
    authentication_classes = permission_classes = throttle_classes = ()

    def get(self, request):
        kind = request.query_params.get("kind")
        if kind == "refused":
            raise NotAuthenticated
        if kind == "plain":
            return Response({"not": "a stream"})
        return event_stream([{"n": 1}], request=request)


def get(query, accept="text/event-stream"):
    request = APIRequestFactory().get(f"/?{query}", headers={"Accept": accept})
    response = View.as_view()(request)
    return response if response.streaming else response.render()


def test_a_browsers_event_source_is_served():
    response = get("")
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert b"".join(response) == b'data: {"n":1}\n\n'
    response.close()


@pytest.mark.parametrize(
    ("query", "accept", "status", "body"),
    [
        ("kind=plain", "text/event-stream", 200, b'{"not":"a stream"}'),
        ("kind=refused", "text/event-stream", 403, b'{"detail":"Auth'),
        ("", "image/png", 406, b'{"detail":"Could not'),
    ],
    ids=["plain", "refused", "unacceptable"],
)
def test_everything_but_the_stream_is_json_and_says_so(query, accept, status, body):
    response = get(query, accept)
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/json"
    assert response.content.startswith(body)


# -- standing --------------------------------------------------------------------------


def test_a_request_that_nobody_remembers_is_good(rf):
    assert still_good(rf.get("/"))


def test_all_that_was_remembered_counts_also_through_drfs_request(rf):
    request = rf.get("/")
    remember(SimpleNamespace(_request=request), lambda: True)
    assert still_good(request)
    remember(request, lambda: False)
    assert not still_good(SimpleNamespace(_request=request))
    assert len(questions(request)) == 2


@pytest.fixture
def browser(rf, db):
    """A request by a session, of somebody who was looked up."""
    user = get_user_model().objects.create_user("who@example.com", "a-good-password")
    request = rf.get("/")
    request.session = SessionStore()
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    request.session.save()
    request._cached_user = user
    return request


def test_a_session_is_asked_again(browser):
    remember_session(browser)
    assert still_good(browser)
    SessionStore(browser.session.session_key).delete()
    assert not still_good(browser)


@pytest.mark.parametrize("change", ["password", "is_active"])
def test_a_session_ends_with_the_password_and_with_the_account(browser, change):
    remember_session(browser)
    user = browser._cached_user
    if change == "password":
        user.set_password("another-good-one")
    else:
        user.is_active = False
    user.save()
    assert not still_good(browser)


def test_a_session_is_not_asked_where_a_token_was_accepted_or_nobody_looked(
    browser, rf
):
    remember(browser, lambda: True)
    remember_session(browser)
    assert len(questions(browser)) == 1
    stranger = rf.get("/")
    remember_session(stranger)
    assert questions(stranger) == ()
