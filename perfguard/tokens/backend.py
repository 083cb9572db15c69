"""Signing and verifying: simplejwt's, with key ids and bounds on what is parsed."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jwt
from django.core.signals import setting_changed
from jwt.utils import base64url_decode
from rest_framework_simplejwt import backends
from rest_framework_simplejwt import settings as simplejwt
from rest_framework_simplejwt.exceptions import (
    TokenBackendError,
    TokenBackendExpiredToken,
)

from perfguard.conf import conf


class TokenBackend(backends.TokenBackend):
    """One algorithm; the key that signs, and old ones that verify, by ``kid``.

    ``TOKEN_KEY_ID`` is the ``kid`` of new tokens (none when it is empty).
    ``TOKEN_OLD_KEYS`` maps the ``kid`` of older tokens to the secret, or the public
    key, that verifies them; ``""`` stands for tokens without a ``kid``.
    """

    def encode(self, payload: dict[str, Any]) -> str:
        claims = dict(payload)
        if self.audience is not None:
            claims["aud"] = self.audience
        if self.issuer is not None:
            claims["iss"] = self.issuer
        return jwt.encode(
            claims,
            self.prepared_signing_key,
            algorithm=self.algorithm,
            headers={"kid": conf.TOKEN_KEY_ID} if conf.TOKEN_KEY_ID else None,
            json_encoder=self.json_encoder,
        )

    def decode(
        self, token: Any, verify: bool = True, *, expired: bool = False
    ) -> dict[str, Any]:
        """Raises TokenBackendError, and no other, whatever the token is; with
        ``expired`` a token whose time is over passes."""
        raw = _bounded(token)
        options: Any = {
            "verify_signature": verify,
            "verify_aud": verify and self.audience is not None,
        }
        try:
            return jwt.decode(
                raw,
                self.get_verifying_key(raw),
                algorithms=[self.algorithm],
                audience=self.audience,
                issuer=self.issuer,
                leeway=self.get_leeway(),
                options=options | ({"verify_exp": False} if expired else {}),
            )
        except jwt.ExpiredSignatureError as error:
            raise TokenBackendExpiredToken("Token is expired") from error
        # PyJWT's own errors, and what it lets through: claims of odd types, numbers
        # without end, nesting.
        except (
            jwt.InvalidTokenError,
            ValueError,
            TypeError,
            OverflowError,
            RecursionError,
        ) as error:
            raise TokenBackendError("Token is invalid") from error

    def get_verifying_key(self, token: Any) -> Any:
        if self.jwks_client and not self.algorithm.startswith("HS"):
            return super().get_verifying_key(token)
        kid = _kid(token)
        # By exact match among the keys that the settings name: a kid leads nowhere
        # else (RFC 8725, section 3.10).
        if kid == conf.TOKEN_KEY_ID:
            return super().get_verifying_key(token)
        if not isinstance(kid, str) or kid not in conf.TOKEN_OLD_KEYS:
            raise TokenBackendError("Token is invalid")
        try:
            return self._prepare_key(conf.TOKEN_OLD_KEYS[kid])
        except jwt.InvalidKeyError as error:  # a check says so; here nobody gets in
            raise TokenBackendError("Token is invalid") from error


def _bounded(token: Any) -> bytes:
    """The token, before any of it is decoded: of bounded length, and three parts."""
    # Not bytes(token): of a number that makes as many of them.
    if not isinstance(token, str | bytes):
        raise TokenBackendError("Token is invalid")
    try:
        raw = token.encode("ascii") if isinstance(token, str) else token
    except UnicodeError as error:
        raise TokenBackendError("Token is invalid") from error
    if len(raw) > conf.TOKEN_MAX_BYTES or raw.count(b".") != 2:
        raise TokenBackendError("Token is invalid")
    return raw


def _kid(token: bytes) -> Any:
    """What the header names, before the signature is verified."""
    # Not jwt.get_unverified_header(), which decodes the other two parts as well.
    try:
        header = json.loads(base64url_decode(token.partition(b".")[0]))
    except (ValueError, RecursionError) as error:
        raise TokenBackendError("Token is invalid") from error
    return header.get("kid", "") if isinstance(header, dict) else None


@cache
def token_backend() -> TokenBackend:
    """The backend that ``SIMPLE_JWT`` describes."""
    given = simplejwt.api_settings
    return TokenBackend(
        given.ALGORITHM,
        given.SIGNING_KEY,
        given.VERIFYING_KEY,
        given.AUDIENCE,
        given.ISSUER,
        given.JWK_URL,
        given.LEEWAY,
        given.JSON_ENCODER,
    )


def _reload(*, setting: str, **kwargs: Any) -> None:
    if setting in {"SIMPLE_JWT", "SECRET_KEY"}:
        token_backend.cache_clear()


setting_changed.connect(_reload, dispatch_uid="perfguard.tokens.backend")
