"""Who sent a request, by its JWT: for DRF, and as a function for everything else."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from django.core.exceptions import ValidationError
from django.db import Error
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework_simplejwt import authentication
from rest_framework_simplejwt import settings as simplejwt
from rest_framework_simplejwt.exceptions import (
    AuthenticationFailed,
    ExpiredTokenError,
    InvalidToken,
    TokenError,
)

from perfguard.conf import conf
from perfguard.exceptions import (
    InvalidCredential,
    InvalidSetting,
    TruthUnavailable,
)
from perfguard.http.credentials import authorization, single
from perfguard.http.standing import remember
from perfguard.http.trusted_header import check_same_account
from perfguard.signals import credential_refused
from perfguard.tokens.claims import LATEST_EXP
from perfguard.tokens.errors import RevocationUnavailable
from perfguard.tokens.tokens import Revocable, RevokedTokenError

REFUSED = "perfguard_token_refused"  # set on a request that presented a bad token


class JWTAuthentication(authentication.JWTAuthentication):
    """simplejwt's, for tokens that may be revoked.

    401 for a bad token, with ``WWW-Authenticate`` as of RFC 6750; 503 when it cannot be
    known whether it was revoked. A token whose user is another than the one that a
    trusted proxy names is refused.
    """

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        try:
            raw = presented_token(request)
            if raw is None:
                return None
            token = self.get_validated_token(raw.encode())
            user = self.get_user(token)
        except (InvalidToken, AuthenticationFailed) as error:
            tell_refused(type(self), request, _code(error), _whose(error))
            raise
        except InvalidCredential as error:
            tell_refused(type(self), request, error.code)
            raise AuthenticationFailed(str(error), code=error.code) from error
        self.check_trusted_header(request, user)
        remember(request, partial(_is_good_yet, token))
        return user, token

    def authenticate_header(self, request: Request) -> str:
        header = str(super().authenticate_header(request))
        refused = getattr(_http(request), REFUSED, False)
        return f'{header}, error="invalid_token"' if refused else header

    def get_validated_token(self, raw_token: bytes) -> Any:
        """simplejwt's answer, and in each message a ``code`` that machines can read."""
        messages = []
        user_key = ""
        for kind in simplejwt.api_settings.AUTH_TOKEN_CLASSES:
            if not issubclass(kind, Revocable):
                raise InvalidSetting(
                    f"{kind!r} takes revoked tokens: see TOKEN_CLASSES."
                )
            try:
                return kind(raw_token)
            except TokenError as error:
                user_key = user_key or _whose(error)
                messages.append(
                    {
                        "token_class": kind.__name__,
                        "token_type": kind.token_type,
                        "message": error.args[0],
                        "code": _code_of(error),
                    }
                )
        detail = _("Given token not valid for any token type")
        refused = InvalidToken({"detail": detail, "messages": messages})
        refused.user_key = user_key  # type: ignore[attr-defined]
        raise refused

    def get_user(self, validated_token: Any) -> Any:
        try:
            return super().get_user(validated_token)
        # A user's id that cannot be one, such as a word where numbers are kept.
        except (ValueError, TypeError, OverflowError, ValidationError) as error:
            raise AuthenticationFailed(
                str(_("User not found")), code="user_not_found"
            ) from error
        except Error as error:
            raise RevocationUnavailable from error

    def check_trusted_header(self, request: Request, user: Any) -> None:
        http = _http(request)
        try:
            check_same_account(http, user)  # which tells of a refusal by itself
        except InvalidCredential as error:
            setattr(http, REFUSED, True)
            raise AuthenticationFailed(str(error), code=error.code) from error


def verify_token(raw: str | bytes, request: HttpRequest | None = None) -> Any:
    """``(user, token)`` of an access token, with every check that DRF's views have.

    For doors without DRF, such as a socket. ``request`` is for the trusted header.
    Raises InvalidCredential, or TruthUnavailable.
    """
    return _verified(raw, request)


def verify_claims(claims: Mapping[str, Any], request: HttpRequest | None = None) -> Any:
    """The same, by the claims of a token whose signature was found good before."""
    return _verified(claims, request)


def _verified(given: Any, request: HttpRequest | None) -> Any:
    door = JWTAuthentication()
    try:
        token = (
            _token_of(given)
            if isinstance(given, Mapping)
            else door.get_validated_token(given)
        )
        user = door.get_user(token)
    except TruthUnavailable:
        raise
    except TokenError as error:
        code = _code_of(error)
        tell_refused(JWTAuthentication, request, code, _whose(error))
        raise InvalidCredential(str(error), code=code) from error
    except APIException as error:
        tell_refused(JWTAuthentication, request, _code(error), _whose(error))
        raise InvalidCredential(_sentence(error), code=_code(error)) from error
    if request is not None:
        check_same_account(request, user)
        remember(request, partial(_is_good_yet, token))
    return user, token


def _is_good_yet(token: Any) -> bool:
    """Of a token that was accepted: whether it has neither expired nor been revoked."""
    try:
        _token_of(token.payload)
    except TokenError:
        return False
    return True


def _token_of(claims: Mapping[str, Any]) -> Any:
    """Raises TokenError for one that has expired, or was revoked, since."""
    kind = claims.get(simplejwt.api_settings.TOKEN_TYPE_CLAIM)
    for each in simplejwt.api_settings.AUTH_TOKEN_CLASSES:
        if kind in {None, each.token_type} and issubclass(each, Revocable):
            token = each()
            token.payload = dict(claims)
            if claims.get("exp", LATEST_EXP) <= token.current_time.timestamp():
                raise ExpiredTokenError(_("Token is expired"))
            token.verify()
            return token
    raise TokenError(_("Token is invalid"))


def presented_token(request: Any) -> str | None:
    """What the request presents as a token; None when it presents nothing of the kind.

    Schemes are compared without regard to case (RFC 9110, section 11.1). An API key is
    none, though its scheme be Bearer. Raises InvalidCredential for a malformed header.
    """
    given = simplejwt.api_settings
    credentials = authorization(_http(request), given.AUTH_HEADER_NAME)
    schemes = given.AUTH_HEADER_TYPES
    schemes = [schemes] if isinstance(schemes, str) else schemes
    if credentials is None or credentials.scheme not in [s.lower() for s in schemes]:
        return None
    if credentials.value.startswith(f"{conf.API_KEYS_PREFIX}_"):
        return None
    return single(credentials.value)


def _code_of(error: TokenError) -> str:
    """Told after the signature was found good: to nobody but the token's holder."""
    if isinstance(error, RevokedTokenError):
        return "token_revoked"
    return "token_expired" if isinstance(error, ExpiredTokenError) else "token_invalid"


def _http(request: Any) -> Any:
    return getattr(request, "_request", request)


def _code(error: APIException) -> str:
    """The innermost word: what is wrong with the token, where it says."""
    detail: Any = error.detail
    if not isinstance(detail, dict):
        return str(error.get_codes())
    messages = detail.get("messages") or [{}]
    return str(messages[0].get("code") or detail.get("code", "token_not_valid"))


def _sentence(error: APIException) -> str:
    detail: Any = error.detail
    return str(detail.get("detail", detail) if isinstance(detail, dict) else detail)


def _whose(error: Exception) -> str:
    """Of a revoked token: its signature was good, so that its user is known."""
    return str(getattr(error, "user_key", ""))


def tell_refused(door: type, request: Any, code: str, user_key: str = "") -> None:
    http = _http(request)
    if http is not None:
        setattr(http, REFUSED, True)
    credential_refused.send_robust(
        door, request=http, kind="token", code=code, user_key=user_key
    )
