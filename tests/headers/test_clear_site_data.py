"""What a browser keeps of the site goes with the sign-out, and at no other time."""

from __future__ import annotations

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("stack")]

NAME = "Clear-Site-Data"


@pytest.fixture
def user():
    return get_user_model().objects.create_superuser(
        email="root@example.com", password="pw", name="Root"
    )


@pytest.fixture
def cleared(perfguard):
    perfguard(HEADERS_CLEAR_SITE_DATA=["cache", "storage"], THROTTLE_RATES={})


@pytest.mark.usefixtures("cleared")
def test_the_end_of_a_session_clears_and_nothing_else_does(client, user):
    assert not client.get("/admin/login/").has_header(NAME)
    client.force_login(user)
    assert not client.get("/admin/").has_header(NAME)
    assert client.post("/admin/logout/")[NAME] == '"cache", "storage"'
    response = client.get("/admin/")
    assert response.status_code == 302
    assert not response.has_header(NAME)


@pytest.mark.usefixtures("cleared")
def test_the_end_of_a_session_clears_under_asgi(async_client, user):
    async_to_sync(async_client.aforce_login)(user)
    response = async_to_sync(async_client.post)("/admin/logout/")
    assert response[NAME] == '"cache", "storage"'


@pytest.mark.usefixtures("cleared")
def test_a_view_that_ends_a_token_clears_unless_it_refuses(client):
    assert client.post("/token-sign-out")[NAME] == '"cache", "storage"'
    for status in (400, 401, 503):
        response = client.post(f"/token-sign-out?status={status}")
        assert response.status_code == status
        assert not response.has_header(NAME)


def test_it_is_off_by_default(client, user):
    client.force_login(user)
    assert not client.post("/admin/logout/").has_header(NAME)
    assert not client.post("/token-sign-out").has_header(NAME)
