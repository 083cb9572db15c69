"""Token classes for simplejwt: what they check, they check whoever makes them."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from hashlib import blake2b
from math import ceil
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast
from uuid import uuid4

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.signals import setting_changed
from django.db import Error, router
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from rest_framework_simplejwt import settings as simplejwt
from rest_framework_simplejwt import tokens
from rest_framework_simplejwt.exceptions import TokenBackendError, TokenError

from perfguard.conf import conf, given
from perfguard.exceptions import InvalidCredential, TruthUnavailable
from perfguard.lifetimes import read_lifetime
from perfguard.tokens.backend import TokenBackend, token_backend
from perfguard.tokens.claims import GENERATION, SID, Marks, read_claims
from perfguard.tokens.errors import RevocationUnavailable
from perfguard.tokens.journal import (
    Delivery,
    end_session,
    generation_of,
    moment,
    revoke_token,
)
from perfguard.tokens.revocation import is_revoked
from perfguard.tokens.sessions import open_session, rotate

if TYPE_CHECKING:
    Base = tokens.Token
else:
    Base = object

T = TypeVar("T")
FOREVER = timedelta.max  # simplejwt takes None for a class without a lifetime


class RevokedTokenError(TokenError):
    """The token was good, and was revoked. ``user_key`` is whose it was."""

    def __init__(self, message: object, user_key: str = "") -> None:
        super().__init__(message)
        self.user_key = user_key


class Revocable(Base):
    """To be mixed into simplejwt's classes, before them.

    A token that was given as text is verified: signature, times, issuer and audience as
    ``SIMPLE_JWT`` wants them, type, the shape of every claim, and that it was not
    revoked. Raises TokenError; RevocationUnavailable, which is an answer of 503, when
    the last of these cannot be known.
    """

    def get_token_backend(self) -> TokenBackend:
        return token_backend()

    def verify(self) -> None:
        if simplejwt.api_settings.TOKEN_TYPE_CLAIM is not None:
            self.verify_token_type()
        self.check_blacklist()

    @property
    def marks(self) -> Marks:
        """What of this token can be revoked. Raises InvalidCredential."""
        return read_claims(self.payload, simplejwt.api_settings.USER_ID_CLAIM)

    def check_blacklist(self) -> None:
        """simplejwt's name. Raises TokenError, or the RevokedTokenError that is one."""
        try:
            marks = self.marks
            revoked = is_revoked(marks)
        except InvalidCredential as error:  # claims that are no such thing
            raise TokenError(str(error)) from error
        except TruthUnavailable as error:
            raise RevocationUnavailable from error
        if revoked:
            raise RevokedTokenError(_("Token is revoked"), marks.user_key)

    def blacklist(self, reason: str = "", by: str = "") -> Delivery:
        """simplejwt's name. Revoke this token, and all others of its session."""
        marks = self.marks
        kind = str(self.payload.get(simplejwt.api_settings.TOKEN_TYPE_CLAIM, ""))
        one = revoke_token(marks, kind, reason=reason, by=by)
        rest = end_session(marks.sid, reason=reason, by=by) if marks.sid else None
        return one if rest is None or one.delivered is not True else rest

    def outstand(self) -> None:
        """simplejwt's list of what was issued: sessions are that here."""

    def set_jti(self) -> None:
        # RFC 7519, section 4.1.7, names the claim, whatever JTI_CLAIM says.
        self.payload["jti"] = uuid4().hex

    def set_exp(
        self,
        claim: str = "exp",
        from_time: datetime | None = None,
        lifetime: timedelta | None = None,
    ) -> None:
        lifetime = self.lifetime if lifetime is None else lifetime
        if lifetime is None or lifetime == FOREVER:
            self.payload.pop(claim, None)
            return
        end = (from_time or self.current_time) + lifetime
        self.payload[claim] = ceil(end.timestamp())

    def until(self, end: datetime | None) -> None:
        """Have the token expire by then at the latest."""
        if end is not None:
            last = int(end.timestamp())
            self.payload["exp"] = min(self.payload.get("exp", last), last)


class AccessToken(Revocable, tokens.AccessToken):
    """``for_user`` makes one without a session."""

    @property
    def lifetime(self) -> timedelta:  # type: ignore[override]
        return token_lifetime("ACCESS")

    @classmethod
    def for_user(cls, user: Any) -> Self:
        token = _for_user(cls, user)
        token[GENERATION] = generation_of(token[simplejwt.api_settings.USER_ID_CLAIM])
        _check_password(user)
        return token


class RefreshToken(Revocable, tokens.RefreshToken):  # type: ignore[misc]
    """``for_user`` begins a session; ``rotated`` goes on with it.

    ``for_user`` raises TokenError when the user's password is no longer the one that
    ``user`` has.
    """

    access_token_class = AccessToken

    @property
    def lifetime(self) -> timedelta:  # type: ignore[override]
        return token_lifetime("REFRESH")

    @classmethod
    def for_user(cls, user: Any, request: HttpRequest | None = None) -> Self:
        token = _for_user(cls, user)
        user_key = token[simplejwt.api_settings.USER_ID_CLAIM]
        # Before the session, or a revocation between the two would miss the token.
        token[GENERATION] = generation_of(user_key)
        _check_password(user)
        session = open_session(
            user, user_key, token["jti"], token.current_time, request
        )
        token[SID] = session.sid
        token.until(session.expires_at)
        return token

    @property
    def access_token(self) -> AccessToken:
        access = cast("AccessToken", super().access_token)
        # A session ends all its tokens, and is remembered as long as they last.
        access.until(moment(self.payload.get("exp")))
        return access

    def rotated(self) -> tuple[Self, AccessToken]:
        """The next pair of the session; the same for all who ask within the grace.

        It carries this token's generation, so that a revocation of all that the user
        has is not outrun. Raises RevokedTokenError or TokenError, as for any bad token.
        """
        successor = type(self)()
        try:
            marks = self.marks
            session = rotate(marks.sid, marks.jti, successor["jti"])
        except InvalidCredential as error:
            raise RevokedTokenError(_("Token is revoked")) from error
        except Error as error:
            raise RevocationUnavailable from error
        successor.payload = self.payload | {"jti": session.current_jti}
        successor.current_time = session.rotated_at or self.current_time
        successor.set_iat(at_time=successor.current_time)
        successor.set_exp(from_time=successor.current_time)
        successor.until(session.expires_at)
        access = successor.access_token
        access.set_iat(at_time=successor.current_time)
        digest = blake2b(successor["jti"].encode(), digest_size=16, person=b"access")
        access["jti"] = digest.hexdigest()
        return successor, access


class UntypedToken(Revocable, tokens.UntypedToken):
    """Any of them, for views that tell whether a token is good."""

    def verify_token_type(self) -> None:
        pass


@cache
def token_lifetime(kind: str) -> timedelta:
    """Of "ACCESS" or "REFRESH" tokens: perfguard's setting if the project has it, else
    simplejwt's if the project has that, else perfguard's default."""
    from_simplejwt = (simplejwt.api_settings.user_settings or {}).get(
        f"{kind}_TOKEN_LIFETIME"
    )
    name = f"TOKEN_{kind}_LIFETIME"
    if from_simplejwt is not None and name not in given():
        return cast("timedelta", from_simplejwt)
    lifetime = read_lifetime(getattr(conf, name))
    return FOREVER if lifetime is None else lifetime


def _reload(*, setting: str, **kwargs: Any) -> None:
    if setting in {"PERFGUARD", "SIMPLE_JWT"}:
        token_lifetime.cache_clear()


setting_changed.connect(_reload, dispatch_uid="perfguard.tokens.tokens")


def signed_token(raw: Any) -> UntypedToken | None:
    """For those who sign out: a token whose signature is good, though it may have
    expired or been revoked; None for anything else."""
    try:
        token_backend().decode(raw, expired=True)
        token = UntypedToken(raw, verify=False)
        token.marks  # noqa: B018 (raises for claims that are no such thing)
    except (TokenBackendError, TokenError, InvalidCredential):
        return None
    return token


def _check_password(user: Any) -> None:
    """After the generation was read: a sign-in takes as long as a hash, and a new
    password may have come, and have revoked all, in between. Raises TokenError."""
    if not isinstance(user, AbstractBaseUser):
        return
    model: Any = user._meta.model
    users = model._base_manager.using(router.db_for_write(model))
    if not users.filter(pk=user.pk, password=user.password).exists():
        raise TokenError(_("The password was changed. Please sign in again."))


def _for_user(cls: type[T], user: Any) -> T:
    # Not super(): with simplejwt's own blacklist app, that would list it there.
    made = tokens.Token.for_user.__func__(cls, user)  # type: ignore[attr-defined]
    return cast("T", made)
