"""The demo API on a real Redis, behind throttles that nobody meets."""

from __future__ import annotations

import logging

import pytest
import schemathesis
from django.core.handlers.wsgi import WSGIHandler

from tests.fuzz.sites import EMAIL, PASSWORD, PROXY, SCOPES, Site


@pytest.fixture
def site(transactional_db, redis_server, perfguard, settings, django_user_model):
    settings.ROOT_URLCONF = "project.urls"
    perfguard(
        REDIS_URL=redis_server.url,
        API_KEYS_HEADER="X-API-Key",
        TRUSTED_PROXIES=[PROXY],
        # Events for days may be asked for.
        STREAM_MAX_SECONDS=0.01,
        STREAM_FIRST_EVENT_WAIT=0.01,
        TRUSTED_EMAIL_HEADER="X-Email",
        TRUSTED_NAME_HEADER="X-Name",
        TRUSTED_ROLE_HEADER="X-Role",
        TRUSTED_ROLES={"admin": {"is_staff": True}, "pending": {"is_active": False}},
        TRUSTED_CREATE_USERS=True,
        THROTTLE_RATES=dict.fromkeys(SCOPES, "1000000/minute"),
    )
    logging.disable()  # a line for each refusal
    yield Site(django_user_model.objects.create_user(EMAIL, PASSWORD))
    logging.disable(logging.NOTSET)


@pytest.fixture
def operations(site):
    """Of the OpenAPI document, as the site serves it."""
    document = schemathesis.openapi.from_wsgi("/api/schema", behind_proxy)
    return [found.ok() for found in document.get_all_operations()]


def behind_proxy(environ, start_response):
    return WSGIHandler()({**environ, "REMOTE_ADDR": PROXY}, start_response)
