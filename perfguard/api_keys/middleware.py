"""Restrictions of API keys, before any view."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

from perfguard.api_keys.answers import INVALID, NOT_HERE, as_response, refusal_of
from perfguard.api_keys.requests import answer_for, is_permitted, is_presented
from perfguard.api_keys.rules import match_of
from perfguard.conf import conf
from perfguard.http.middleware import Middleware


class ApiKeyRestrictionMiddleware(Middleware):
    """Refuses an API key that may not be used for what the request was resolved to.

    The doors of the views decide the same, without this middleware; with it, a refused
    request costs no view, and restrictions hold for views that look at no API key. The
    key that it found is not looked for again.

    A bad key passes: the view's door answers 401. So limits by address, further in,
    count those who guess.
    """

    def before(self, request: HttpRequest) -> HttpResponseBase | None:
        return _refusal(request) if is_presented(request) else None

    async def abefore(self, request: HttpRequest) -> HttpResponseBase | None:
        # Only a request with a key needs a thread, to wait for Redis.
        if not is_presented(request):
            return None
        return await sync_to_async(_refusal)(request)

    def after(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        # Shared caches keep answers to requests with Authorization apart (RFC 9111,
        # section 3.5), and know nothing of a header of the site's own.
        if conf.API_KEYS_HEADER:
            patch_vary_headers(response, [conf.API_KEYS_HEADER])
        return response


def _refusal(request: HttpRequest) -> HttpResponseBase | None:
    key, _, error = answer_for(request)
    if error is not None:
        refusal = refusal_of(error)
        return None if refusal.status == INVALID.status else as_response(refusal)
    if key is None or not (key.is_restricted or conf.API_KEYS_ENDPOINT_RESTRICTIONS):
        return None
    # Without a view it is 404, for this key as for everyone: Resolver404 passes.
    if is_permitted(request, match_of(request), key):
        return None
    return as_response(NOT_HERE)
