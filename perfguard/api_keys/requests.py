"""The API key of one request: found once, by whichever door asks first.

``request.perfguard_api_key`` is an :class:`ActiveKey` once a good key was found; the
attribute is missing before that, and when there is none.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from django.http import HttpRequest
from django.urls import ResolverMatch
from django.views.decorators.debug import sensitive_variables

from perfguard.api_keys import rules
from perfguard.api_keys.answers import DISABLED_CODE
from perfguard.api_keys.keyring import Keyring, keyring
from perfguard.api_keys.keys import parse
from perfguard.api_keys.records import ActiveKey, owner_of
from perfguard.conf import conf
from perfguard.exceptions import InvalidCredential, PerfguardError, TruthUnavailable
from perfguard.http.credentials import authorization, single
from perfguard.http.standing import remember
from perfguard.signals import credential_refused

ATTRIBUTE = "perfguard_api_key"
MEMO = "_perfguard_api_key_answer"
SCHEME = "api-key"


class Answer(NamedTuple):
    """All empty when the request presents no API key."""

    key: ActiveKey | None = None
    user: Any = None
    error: PerfguardError | None = None  # InvalidCredential or TruthUnavailable


def answer_for(request: HttpRequest) -> Answer:
    """Asks Redis or the database, once for each request."""
    answer: Answer | None = getattr(request, MEMO, None)
    if answer is None:
        answer = _ask(request)
        setattr(request, MEMO, answer)
        if answer.key is not None:
            setattr(request, ATTRIBUTE, answer.key)
            remember(request, partial(_is_good_yet, request))
    return answer


def _is_good_yet(request: HttpRequest) -> bool:
    """Asks anew: whether the key is good, and may be used for this, as before. Raises
    TruthUnavailable."""
    key, _, error = _ask(request)
    if isinstance(error, TruthUnavailable):
        raise error
    return key is not None and rules.is_allowed(
        request, rules.match_of(request), key.rules
    )


def is_presented(request: HttpRequest) -> bool:
    """Whether there is an API key, good or bad. Asks nobody."""
    try:
        return presented(request) is not None
    except InvalidCredential:
        return True


def is_permitted(request: HttpRequest, match: ResolverMatch, key: ActiveKey) -> bool:
    """Whether the key may be used for what the request was resolved to."""
    if rules.is_allowed(request, match, key.rules):
        return True
    _tell(request, "insufficient_scope", key.owner_key)
    return False


# -- where it is -----------------------------------------------------------------------


def presented(request: HttpRequest) -> str | None:
    """The text of the API key in the Authorization header, or in ``API_KEYS_HEADER``;
    None when there is none. Never from a cookie, the query or the body, which end up in
    logs and in other sites' hands.

    Raises InvalidCredential for two different ones, and for what is not one word.
    """
    found = {
        single(text)
        for text in (_in_authorization(request), _in_own_header(request))
        if text is not None
    }
    if len(found) > 1:
        raise InvalidCredential("There are two different API keys.", "ambiguous")
    return next(iter(found), None)


def _in_authorization(request: HttpRequest) -> str | None:
    try:
        credentials = authorization(request)
    except InvalidCredential:
        header = request.META["HTTP_AUTHORIZATION"].strip()
        if header.partition(" ")[0].lower() == SCHEME:
            raise
        return None  # of another scheme, and another's to refuse
    if credentials is None:
        return None
    # Many clients can send nothing else than Bearer. An API key stays one: taken for a
    # token it would escape its restrictions (GHSA-57q6-fvp4-pqmm).
    is_key = credentials.scheme == SCHEME or (
        credentials.scheme == "bearer"
        and credentials.value.startswith(f"{conf.API_KEYS_PREFIX}_")
    )
    return credentials.value if is_key else None


def _in_own_header(request: HttpRequest) -> str | None:
    name = conf.API_KEYS_HEADER
    if not name:
        return None
    meta = "HTTP_" + name.upper().replace("-", "_")
    return request.META.get(meta, "").strip() or None


# -- what it is worth ------------------------------------------------------------------


@sensitive_variables("text")  # from reports of errors
def _ask(request: HttpRequest) -> Answer:
    try:
        text = presented(request)
        if text is None:
            return Answer()
        if not conf.API_KEYS_ENABLED:
            raise InvalidCredential("API keys are switched off.", DISABLED_CODE)
        credential = parse(text)
        record, code = keyring.find(credential)
    except InvalidCredential as error:
        _tell(request, error.code)
        return Answer(error=error)
    except TruthUnavailable as error:
        return Answer(error=error)
    if code or record is None:
        _tell(request, code, record.owner_key if record else "")
        return Answer(error=InvalidCredential("The API key is not valid.", code))
    return Answer(record.active(credential.key_id), owner_of(record))


def _tell(request: HttpRequest, code: str, user_key: str = "") -> None:
    credential_refused.send_robust(
        Keyring, request=request, kind="api_key", code=code, user_key=user_key
    )
