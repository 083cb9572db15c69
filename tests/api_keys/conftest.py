from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from perfguard.api_keys import services
from perfguard.api_keys.delivery import delivery
from perfguard.api_keys.keyring import keyring
from perfguard.api_keys.upkeep import uses
from perfguard.signals import api_key_changed, credential_refused
from tests.api_keys.counting import Proxy

MIDDLEWARE = "perfguard.api_keys.middleware.ApiKeyRestrictionMiddleware"


@pytest.fixture(autouse=True)
def _cold_process() -> None:
    """No use is remembered, and nothing is due."""
    delivery._due.clear()
    uses._since.clear()


@pytest.fixture
def owner(transactional_db: Any, django_user_model: Any) -> Any:
    return django_user_model.objects.create_user("ada@example.com", "a-long-password")


@pytest.fixture
def other(transactional_db: Any, django_user_model: Any) -> Any:
    return django_user_model.objects.create_user("bob@example.com", "a-long-password")


@pytest.fixture
def boss(transactional_db: Any, django_user_model: Any) -> Any:
    return django_user_model.objects.create_superuser("root@example.com", "a-password")


@pytest.fixture
def redis(redis_server: Any, perfguard: Any) -> Any:
    perfguard(REDIS_URL=redis_server.url)
    return redis_server


@pytest.fixture
def proxy(redis_server: Any, perfguard: Any) -> Any:
    """Between perfguard and an empty Redis, to count what goes by."""
    proxy = Proxy(redis_server.port)
    perfguard(REDIS_URL=f"redis://127.0.0.1:{proxy.port}/0")
    yield proxy
    proxy.close()


@pytest.fixture
def issued(owner: Any) -> services.Issued:
    return services.create(owner, "nightly report")


class Api:
    """The views of ``urls_api_keys``, as the holder of a key sees them."""

    def __init__(self) -> None:
        self.client = Client(raise_request_exception=False)

    def get(self, path: str, key: str = "", **headers: str) -> Any:
        return self.call("get", path, key, **headers)

    def call(self, method: str, path: str, key: str = "", **headers: str) -> Any:
        if key:
            headers = {"Authorization": f"Api-Key {key}", **headers}
        return getattr(self.client, method)(path, headers=headers)

    def status(self, key: str, path: str = "/api/v1/who") -> int:
        return self.get(path, key).status_code


@pytest.fixture
def api(perfguard: Any) -> Api:
    perfguard()
    return Api()


@pytest.fixture
def guarded(settings: Any) -> None:
    """With the middleware, last."""
    settings.MIDDLEWARE = [
        *(each for each in settings.MIDDLEWARE if each != MIDDLEWARE),
        MIDDLEWARE,
    ]


@pytest.fixture(params=["without middleware", "with middleware"])
def either_way(request: Any, settings: Any) -> None:
    without = [each for each in settings.MIDDLEWARE if each != MIDDLEWARE]
    is_with = request.param == "with middleware"
    settings.MIDDLEWARE = [*without, MIDDLEWARE] if is_with else without


@pytest.fixture
def ringing(clock: Any, monkeypatch: Any) -> Any:
    """The moved clock, for what finds keys."""
    monkeypatch.setattr(keyring, "clock", clock)
    return clock


@pytest.fixture
def refused() -> Any:
    """What was told of refused credentials."""
    seen: list[dict[str, Any]] = []

    def receiver(**kwargs: Any) -> None:
        seen.append(kwargs)

    credential_refused.connect(receiver)
    yield seen
    credential_refused.disconnect(receiver)


@pytest.fixture
def changed() -> Any:
    """What was told of changed keys."""
    seen: list[dict[str, Any]] = []

    def receiver(**kwargs: Any) -> None:
        seen.append(kwargs)

    api_key_changed.connect(receiver)
    yield seen
    api_key_changed.disconnect(receiver)
