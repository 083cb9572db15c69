"""API keys for plain Django views, sync and async."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponse

from perfguard.api_keys.answers import MISSING, NOT_HERE, as_response, refusal_of
from perfguard.api_keys.requests import answer_for, is_permitted
from perfguard.api_keys.rules import OPEN, match_of

View = TypeVar("View", bound=Callable[..., Any])


def api_key_required(view: View) -> View:
    """Answer 401, 403 or 503 instead of the view, unless the request has a good API key
    that may be used for it.

    Sets ``request.user``, the owner, and ``request.auth``, the ``ActiveKey``. Outside
    of other decorators that look at the user.
    """

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return _sign_in(request) or view(request, *args, **kwargs)

    @wraps(view)
    async def aguarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        refusal = await sync_to_async(_sign_in)(request)
        return refusal or await view(request, *args, **kwargs)

    guard: Any = aguarded if iscoroutinefunction(view) else guarded
    # An API key is no cookie, which a browser would send by itself.
    guard.csrf_exempt = True
    return cast("View", guard)


def no_api_keys(view: View) -> View:
    """Close a view, function or class, to all API keys, by whatever rule. A class may
    set ``api_keys_allowed = False`` itself."""
    setattr(view, OPEN, False)
    return view


def _sign_in(request: HttpRequest) -> HttpResponse | None:
    key, user, error = answer_for(request)
    if error is not None:
        return as_response(refusal_of(error))
    if key is None:
        return as_response(MISSING)
    if not is_permitted(request, match_of(request), key):
        return as_response(NOT_HERE)

    async def auser() -> Any:
        return user

    request.user, request.auser = user, auser
    request.auth = key  # type: ignore[attr-defined]
    return None
