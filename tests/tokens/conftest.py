from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from perfguard.redis.client import get_client
from perfguard.tokens import revocation

PASSWORD = "a-long-demo-password"


@pytest.fixture(autouse=True)
def _cold_process() -> None:
    """No token is known to be revoked but by asking."""
    revocation.known = revocation.Known()


@pytest.fixture
def user(transactional_db: Any, django_user_model: Any) -> Any:
    return django_user_model.objects.create_user("ada@example.com", PASSWORD)


@pytest.fixture
def other(transactional_db: Any, django_user_model: Any) -> Any:
    return django_user_model.objects.create_user("bob@example.com", PASSWORD)


@pytest.fixture
def redis(redis_server: Any, perfguard: Any) -> Any:
    """A shared server, and the app on it."""
    perfguard(REDIS_URL=redis_server.url)
    assert get_client() is not None
    return redis_server


class Api:
    """The demo API, as a client sees it."""

    def __init__(self) -> None:
        self.client = APIClient(raise_request_exception=False)

    def post(self, path: str, body: Any = None, token: str = "", **headers: str) -> Any:
        return self._ask("post", path, token, data=body or {}, headers=headers)

    def get(self, path: str, token: str = "", **headers: str) -> Any:
        return self._ask("get", path, token, headers=headers)

    def delete(self, path: str, token: str = "") -> Any:
        return self._ask("delete", path, token, headers={})

    def _ask(self, method: str, path: str, token: str, headers: Any, **kwargs: Any):
        if token:
            headers = {"Authorization": f"Bearer {token}", **headers}
        call = getattr(self.client, method)
        return call(f"/api/v1/{path}", format="json", headers=headers, **kwargs)

    def sign_in(self, email: str = "ada@example.com", password: str = PASSWORD) -> Any:
        answer = self.post("auths/signin", {"email": email, "password": password})
        assert answer.status_code == 200, answer.content
        return answer.json()

    def status(self, token: str) -> int:
        return self.get("auths/me", token).status_code


@pytest.fixture
def api(perfguard: Any) -> Api:
    scopes = ("anon", "user", "sign_in", "sign_in_address", "refresh", "password")
    perfguard(THROTTLE_RATES=dict.fromkeys(scopes))
    return Api()
