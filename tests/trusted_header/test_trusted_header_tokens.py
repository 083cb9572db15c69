"""A token of one person behind a header of another."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import path
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from perfguard.tokens.authentication import JWTAuthentication
from perfguard.tokens.tokens import RefreshToken
from project.demo.models import User
from tests.trusted_header.trusted_header_requests import ANN, PROXY, meta

pytestmark = pytest.mark.django_db

BOB = "bob@example.com"


class Api(APIView):
    authentication_classes = (JWTAuthentication,)
    permission_classes = (IsAuthenticated,)
    throttle_classes = ()

    def get(self, request):
        return Response({"email": request.user.email})


urlpatterns = [path("", Api.as_view())]


@pytest.fixture
def ask(settings, trusted):
    settings.ROOT_URLCONF = __name__
    trusted(TRUSTED_CREATE_USERS=True)
    user = User.objects.create_user(ANN, "password of ann")
    token = str(RefreshToken.for_user(user).access_token)
    client = Client(headers={"Authorization": f"Bearer {token}"})

    def ask(peer=PROXY, **headers):
        return client.get("/", REMOTE_ADDR=peer, **meta(**headers))

    return ask


@pytest.mark.parametrize("email", [None, ANN, "Ann@Example.COM"])
def test_a_token_of_the_headers_user_passes(ask, email):
    headers = {} if email is None else {"email": email}
    assert ask(**headers).json() == {"email": ANN}


def test_a_token_of_somebody_else_is_401_and_changes_nobody(ask):
    answer = ask(email=BOB, name="Eve", role="admin", groups="ops")
    assert answer.status_code == 401
    assert "mismatch" in answer.content.decode()
    assert not User.objects.filter(email=BOB).exists()
    assert User.objects.get().name == ""


@pytest.mark.parametrize("email", ["", f"{ANN},{ANN}", "no address"])
def test_a_header_that_cannot_be_read_is_401(ask, email):
    assert ask(email=email).status_code == 401


def test_a_header_from_elsewhere_is_ignored(ask):
    assert ask("203.0.113.7", email=BOB).json() == {"email": ANN}
