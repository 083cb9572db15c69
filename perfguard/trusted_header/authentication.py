from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from perfguard.conf import conf
from perfguard.exceptions import InvalidCredential
from perfguard.http.trusted_header import tell_refused, trusted_email
from perfguard.trusted_header.origin import is_from_elsewhere
from perfguard.trusted_header.users import user_from_header

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser


class TrustedHeaderAuthentication(BaseAuthentication):
    """The user of a trusted header, on each request.

    It steps aside unless ``TRUSTED_PER_REQUEST`` is on. A header that cannot be
    accepted is 401; a browser that acts for another site is 403.
    """

    def authenticate(self, request: Request) -> tuple[AbstractBaseUser, None] | None:
        if not conf.TRUSTED_PER_REQUEST:
            return None
        plain = request._request
        try:
            if trusted_email(plain) is None:
                return None
            _check_origin(plain)
            user = user_from_header(plain)
        except InvalidCredential as error:
            detail = {"detail": str(error), "code": error.code}
            raise AuthenticationFailed(detail) from error
        return None if user is None else (user, None)

    def authenticate_header(self, request: Request) -> str:
        # Without it DRF would answer 403. No browser knows the scheme, and none asks
        # for a password.
        return 'TrustedHeader realm="api"'


def _check_origin(request: HttpRequest) -> None:
    if is_from_elsewhere(request):
        tell_refused(request, "cross_site")
        raise PermissionDenied("This request comes from another site.")
