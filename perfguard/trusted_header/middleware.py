"""The trusted header for plain Django views and the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

from perfguard.conf import conf
from perfguard.exceptions import InvalidCredential
from perfguard.http.middleware import Middleware
from perfguard.http.trusted_header import (
    check_same_account,
    is_presented,
    trusted_email,
)
from perfguard.trusted_header.origin import is_from_elsewhere
from perfguard.trusted_header.users import follow_header, user_from_header

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser


class TrustedHeaderMiddleware(Middleware):
    """Stands after Django's ``AuthenticationMiddleware``.

    A session whose user is not the header's is answered 401. With
    ``TRUSTED_PER_REQUEST`` the header also signs in, for this request alone: no
    session is begun.
    """

    def before(self, request: HttpRequest) -> HttpResponseBase | None:
        if not is_presented(request):
            return None
        try:
            _believe(request)
        except InvalidCredential as error:
            return _refusal(error)
        return None

    async def abefore(self, request: HttpRequest) -> HttpResponseBase | None:
        # A thread only where there is a header, and so perhaps a query.
        if not is_presented(request):
            return None
        return await sync_to_async(self.before)(request)

    def after(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        if conf.TRUSTED_PER_REQUEST and conf.TRUSTED_EMAIL_HEADER:
            # A cache that keeps pages must not give one person's to another.
            patch_vary_headers(response, [conf.TRUSTED_EMAIL_HEADER])
        return response


def _believe(request: HttpRequest) -> None:
    if not hasattr(request, "user"):
        raise ImproperlyConfigured(
            "TrustedHeaderMiddleware needs AuthenticationMiddleware before it."
        )
    if not request.user.is_authenticated:
        # A view without CSRF protection would act for whoever visits another site.
        if conf.TRUSTED_PER_REQUEST and not is_from_elsewhere(request):
            user = user_from_header(request)
            if user is not None:
                _sign_in(request, user)
        return
    check_same_account(request, request.user)
    if conf.TRUSTED_PER_REQUEST and trusted_email(request) is not None:
        follow_header(request, request.user)


def _sign_in(request: HttpRequest, user: AbstractBaseUser) -> None:
    async def auser() -> AbstractBaseUser:
        return user

    request.user = user  # type: ignore[assignment]
    request.auser = auser  # type: ignore[assignment]


def _refusal(error: InvalidCredential) -> JsonResponse:
    headers = {
        "WWW-Authenticate": 'TrustedHeader realm="api"',
        "Cache-Control": "no-store",
    }
    body = {"detail": str(error), "code": error.code}
    response = JsonResponse(body, status=401, headers=headers)
    if error.code == "user_mismatch":
        # The browser forgets whose session it had, and may sign in anew; the other
        # user's session itself is left as it is.
        response.delete_cookie(
            settings.SESSION_COOKIE_NAME,
            path=settings.SESSION_COOKIE_PATH,
            domain=settings.SESSION_COOKIE_DOMAIN,
            samesite=settings.SESSION_COOKIE_SAMESITE,  # type: ignore[arg-type]
        )
    return response
