"""Tokens for plain Django views, sync and async."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponse, JsonResponse

from perfguard.exceptions import InvalidCredential, TruthUnavailable
from perfguard.tokens.authentication import (
    JWTAuthentication,
    presented_token,
    tell_refused,
    verify_token,
)
from perfguard.tokens.errors import RETRY_AFTER

View = TypeVar("View", bound=Callable[..., Any])


def token_required(view: View) -> View:
    """Answer 401 instead of the view, or 503, unless the request has a good token.

    Sets ``request.user`` and ``request.auth``, the token. The checks are those of
    ``JWTAuthentication``. Outside of other decorators that look at the user.
    """

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return _sign_in(request) or view(request, *args, **kwargs)

    @wraps(view)
    async def aguarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        refusal = await sync_to_async(_sign_in)(request)  # Redis, and the user's row
        return refusal or await view(request, *args, **kwargs)

    # A token is no cookie, which a browser would send by itself.
    guard: Any = aguarded if iscoroutinefunction(view) else guarded
    guard.csrf_exempt = True
    return cast("View", guard)


def _sign_in(request: HttpRequest) -> HttpResponse | None:
    try:
        raw = presented_token(request)
    except InvalidCredential as error:
        tell_refused(JWTAuthentication, request, error.code)
        return _unauthorized(str(error), error.code)
    if raw is None:
        return _unauthorized("Authentication credentials were not provided.", "")
    try:
        user, token = verify_token(raw, request)
    except InvalidCredential as error:
        return _unauthorized(str(error), error.code)
    except TruthUnavailable as error:
        response = JsonResponse(
            {"detail": str(error), "code": "revocation_unavailable"}, status=503
        )
        response.headers["Retry-After"] = str(RETRY_AFTER)
        return response
    _set_user(request, user, token)
    return None


def _set_user(request: Any, user: Any, token: Any) -> None:
    async def auser() -> Any:
        return user

    # Both: Django's own auser() would still be that of a session's cookie.
    request.user, request.auser, request.auth = user, auser, token


def _unauthorized(detail: str, code: str) -> HttpResponse:
    response = JsonResponse(
        {"detail": detail, "code": code or "not_authenticated"}, status=401
    )
    # RFC 6750, section 3.1: no error for a request that presents nothing.
    error = ', error="invalid_token"' if code else ""
    response.headers["WWW-Authenticate"] = f'Bearer realm="api"{error}'
    return response
