from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import RequestFactory

from perfguard.headers.intake import intake
from perfguard.headers.middleware import SecurityHeadersMiddleware
from perfguard.headers.plans import plans


@pytest.fixture(autouse=True)
def _forget() -> None:
    """No test sees the last good values, or the reports, of another."""
    plans.last_good = {}
    plans.reload()
    intake._ends = float("-inf")


@pytest.fixture
def send(serve: Any, rf: RequestFactory) -> Callable[..., HttpResponse]:
    """``send(view, path, **request)``: an answer, by a sync and an async middleware."""

    def run(view: Any = None, path: str = "/", **request: Any) -> HttpResponse:
        answer = view or (lambda given: HttpResponse("ok"))
        return serve(SecurityHeadersMiddleware, answer, rf.get(path, **request))

    return run


@pytest.fixture
def stack(settings: Any) -> Any:
    """The whole project with the headers, for Django's test client."""
    settings.TEMPLATES = deepcopy(settings.TEMPLATES)  # of this test's own, to change
    settings.ROOT_URLCONF = "tests.headers.headers_urls"
    return settings
