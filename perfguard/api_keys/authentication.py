"""API keys for DRF."""

from __future__ import annotations

from typing import Any

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException
from rest_framework.request import Request

from perfguard.api_keys.answers import CHALLENGE, NOT_HERE, Refusal, refusal_of
from perfguard.api_keys.records import ActiveKey
from perfguard.api_keys.requests import answer_for, is_permitted
from perfguard.api_keys.rules import match_of


class ApiKeyRefused(APIException):
    """401, 403 or 503.

    Not DRF's AuthenticationFailed: to that one DRF gives the challenge of the view's
    first authenticator, and 403 where that has none.
    """

    def __init__(self, refusal: Refusal) -> None:
        detail: Any = {"detail": refusal.detail, "code": refusal.code}
        super().__init__(detail, refusal.code)
        self.status_code = refusal.status
        # DRF's exception handler makes headers of these.
        self.auth_header = refusal.challenge
        self.wait = refusal.retry_after


class ApiKeyAuthentication(BaseAuthentication):
    """``request.user`` is the key's owner, ``request.auth`` an ``ActiveKey``.

    The restrictions of the key are enforced here, so that they hold whatever middleware
    there is.
    """

    def authenticate(self, request: Request) -> tuple[Any, ActiveKey] | None:
        http = request._request
        key, user, error = answer_for(http)
        if error is not None:
            raise ApiKeyRefused(refusal_of(error)) from error
        if key is None:
            return None
        if not is_permitted(http, match_of(http), key):
            raise ApiKeyRefused(NOT_HERE)
        return user, key

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE
