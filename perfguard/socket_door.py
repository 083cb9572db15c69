"""What opens a socket: the rooms of tokens, API keys and limits, wired to the guard."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.core.exceptions import ObjectDoesNotExist
from django.db import Error
from django.http import Http404, HttpRequest
from django.urls import ResolverMatch

from perfguard.api_keys.answers import NOT_HERE, refusal_of
from perfguard.api_keys.keyring import keyring
from perfguard.api_keys.keys import Credential, parse
from perfguard.api_keys.requests import (
    answer_for,
    is_permitted,
    presented,
)
from perfguard.api_keys.requests import is_presented as is_api_key_presented
from perfguard.api_keys.rules import is_allowed, match_of
from perfguard.conf import conf
from perfguard.exceptions import InvalidCredential, TruthUnavailable
from perfguard.http.trusted_header import check_same_account
from perfguard.sockets.credentials import Presented, tell
from perfguard.sockets.doors import SignedIn
from perfguard.sockets.refusals import Answer, Refused, refused
from perfguard.sockets.sessions import user_of
from perfguard.sockets.tickets import redeem
from perfguard.throttling.answers import explanation, refusal_status
from perfguard.throttling.gate import gate
from perfguard.throttling.identity import address_identity, user_identity
from perfguard.tokens.authentication import (
    JWTAuthentication,
    presented_token,
    tell_refused,
    verify_claims,
    verify_token,
)
from perfguard.tokens.revocation import is_revoked

logger = logging.getLogger("perfguard.sockets")

# Of a user's row: what a token or a key is worth depends on no other column.
COLUMNS = ("is_active", "password")


class TokenProof(NamedTuple):
    token: Any
    request: HttpRequest
    user_pk: Any
    state: tuple[Any, ...]  # at the handshake: the application may refresh its user


class KeyProof(NamedTuple):
    credential: Credential
    request: HttpRequest
    match: ResolverMatch


class SessionProof(NamedTuple):
    key: str
    user_pk: Any


class SocketDoor:
    """See ``perfguard.sockets.doors.Door``. ``application`` is what API keys open: it
    may have ``api_keys_allowed = False``."""

    def __init__(self, application: Any) -> None:
        self.application = application

    # -- at the handshake --------------------------------------------------------------

    def in_headers(self, request: HttpRequest) -> str:
        if is_api_key_presented(request):
            return "api_key"
        try:
            return "" if presented_token(request) is None else "token"
        except InvalidCredential as error:
            tell_refused(JWTAuthentication, request, error.code)
            raise

    def sign_in(self, request: HttpRequest, given: Presented) -> SignedIn | None:
        ways = {
            "token": self._by_token,
            "ticket": self._by_ticket,
            "api_key": self._by_api_key,
            "session": self._by_session,
        }
        try:
            return ways[given.kind](request, given.value)
        except Error as error:
            raise TruthUnavailable("The database cannot be asked.") from error

    def _by_token(self, request: HttpRequest, raw: str) -> SignedIn:
        text = raw or presented_token(request) or ""
        user, token = verify_token(text, request)
        return _with_token(user, token, request)

    def _by_ticket(self, request: HttpRequest, ticket: str) -> SignedIn:
        try:
            stub = redeem(ticket, request.META.get("HTTP_ORIGIN", "").lower())
        except InvalidCredential as error:
            tell(request, "ticket", error.code)
            raise
        user, token = verify_claims(stub.claims, request)
        return _with_token(user, token, request)

    def _by_api_key(self, request: HttpRequest, _: str) -> SignedIn:
        key, user, error = answer_for(request)
        if error is not None:
            raise _as_of_http(refusal_of(error))
        assert key is not None  # in_headers() saw one
        match = self._match(request)
        if not is_permitted(request, match, key):
            raise _as_of_http(NOT_HERE)
        # With all columns: an asynchronous application may not wait for deferred ones.
        try:
            user = get_user_model()._default_manager.get(pk=user.pk)
        except ObjectDoesNotExist as error:
            raise InvalidCredential("There is no such user.", "unknown") from error
        end = key.expires_at
        return SignedIn(
            user,
            key,
            user_identity(user.pk),
            None if end is None else end.timestamp(),
            KeyProof(parse(presented(request) or ""), request, match),
        )

    def _by_session(self, request: HttpRequest, key: str) -> SignedIn | None:
        user = user_of(key)
        if user is None:
            return None
        check_same_account(request, user)
        proof = SessionProof(key, user.pk)
        return SignedIn(user, None, user_identity(user.pk), None, proof)

    def _match(self, request: HttpRequest) -> ResolverMatch:
        """What rules of API keys are compared with: a URL of that path, where the
        project has one, so that rules can be by name; and always the path."""
        try:
            found = match_of(request)
        except Http404:
            found = ResolverMatch(self.application, (), {})
        open_to_keys = getattr(self.application, "api_keys_allowed", True)
        return found if open_to_keys else ResolverMatch(self.application, (), {})

    # -- while the socket is open ------------------------------------------------------

    def refusals(self, those: Sequence[SignedIn]) -> Sequence[str | None]:
        try:
            states = _states(those)
        except Error:
            return [None] * len(those)
        return [_refusal(each, states) for each in those]

    # -- limits ------------------------------------------------------------------------

    def address_of(self, request: HttpRequest) -> str:
        return address_identity(request)

    async def count(self, identity: str, scope: str) -> None:
        verdict = await gate.ahit(identity, scope)
        if not verdict.allowed:
            code = "unavailable" if verdict.unavailable else "throttled"
            status, wait = refusal_status(verdict), verdict.retry_after
            raise refused(status, code, explanation(verdict), wait)


def _with_token(user: Any, token: Any, request: HttpRequest) -> SignedIn:
    end = token.payload.get("exp")
    state = tuple(getattr(user, name) for name in _columns())
    proof = TokenProof(token, request, user.pk, state)
    return SignedIn(user, token, user_identity(user.pk), end, proof)


def _as_of_http(refusal: Any) -> Refused:
    """As the doors of HTTP answer."""
    return Refused(
        Answer(refusal.status, refusal.code, str(refusal.detail), refusal.headers)
    )


# -- is it still good? -----------------------------------------------------------------


def _states(those: Sequence[SignedIn]) -> Mapping[Any, tuple[Any, ...]]:
    """What of their users' rows decides, in one query; by primary key."""
    users = {each.proof.user_pk for each in those if isinstance(each.proof, TokenProof)}
    if not users:
        return {}
    names = ("pk", *_columns())
    rows = get_user_model()._default_manager.filter(pk__in=users).values_list(*names)
    return {row[0]: tuple(row[1:]) for row in rows}


def _columns() -> list[str]:
    known = {each.attname for each in get_user_model()._meta.concrete_fields}
    return [name for name in COLUMNS if name in known]


def _refusal(each: SignedIn, states: Mapping[Any, tuple[Any, ...]]) -> str | None:
    try:
        return _asked(each.proof, states)
    except InvalidCredential as error:
        return error.code
    except TruthUnavailable:
        return None
    except Exception:
        logger.exception("An open socket could not be checked.")
        return None


def _asked(proof: Any, states: Mapping[Any, tuple[Any, ...]]) -> str:
    if isinstance(proof, KeyProof):
        return _refusal_of_key(proof)
    if isinstance(proof, SessionProof):
        user = user_of(proof.key)
        return "" if user is not None and user.pk == proof.user_pk else "signed_out"
    return _refusal_of_token(proof, states.get(proof.user_pk))


def _refusal_of_token(proof: TokenProof, state: Any) -> str:
    if is_revoked(proof.token.marks):
        return "token_revoked"
    if state != proof.state:
        # Something has changed: ask all that is asked of a request.
        verify_claims(proof.token.payload, proof.request)
    return ""


def _refusal_of_key(proof: KeyProof) -> str:
    if not conf.API_KEYS_ENABLED:
        return "disabled"
    record, code = keyring.find(proof.credential)
    if code or record is None:
        return code or "unknown"
    allowed = is_allowed(proof.request, proof.match, record.rules)
    return "" if allowed else "insufficient_scope"
