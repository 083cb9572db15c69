"""What a token must say, checked before anything is looked up by it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from django.conf import settings

from perfguard.conf import conf
from perfguard.exceptions import InvalidCredential
from perfguard.tokens.models import LONGEST_ID, LONGEST_USER_KEY

ID = re.compile(rf"[A-Za-z0-9_-]{{1,{LONGEST_ID}}}")
# Seconds: a day before the year 10000, so that leeway and time zones fit in as well.
LATEST_EXP = 253_402_214_399
SID = "sid"
GENERATION = "gen"


def simple_jwt() -> dict[str, Any]:
    """simplejwt's settings, as the project gives them."""
    return dict(getattr(settings, "SIMPLE_JWT", None) or {})


def user_key_of(user: Any) -> str:
    """The user's id as the tokens' claim and the journal have it."""
    return str(getattr(user, simple_jwt().get("USER_ID_FIELD", "id"), user.pk))


def leeway() -> timedelta:
    """How long after ``exp`` a token still passes: simplejwt's setting."""
    value = simple_jwt().get("LEEWAY") or 0
    return value if isinstance(value, timedelta) else timedelta(seconds=value)


class Marks(NamedTuple):
    """What of a token can be revoked."""

    user_key: str
    jti: str
    sid: str  # empty for a token without a session
    generation: int
    exp: int | None  # Unix time, seconds; None is never


def read_claims(claims: Mapping[str, Any], user_claim: str) -> Marks:
    """Raises InvalidCredential for claims that are missing or no such thing."""
    if not isinstance(claims.get("iss", ""), str):
        # PyJWT reads it where no issuer is wanted, and cannot write it again.
        raise InvalidCredential("Token has no valid 'iss' claim.")
    return Marks(
        user_key=_user_key(claims.get(user_claim)),
        jti=_id(claims.get("jti"), "jti"),
        sid=_id(claims[SID], SID) if SID in claims else "",
        generation=_generation(claims.get(GENERATION)),
        exp=_exp(claims),
    )


def _user_key(value: Any) -> str:
    if (
        isinstance(value, str)
        and 0 < len(value) <= LONGEST_USER_KEY
        and value.isprintable()
    ):
        return value
    raise InvalidCredential("Token has no recognizable user identification.")


def _id(value: Any, name: str) -> str:
    if isinstance(value, str) and ID.fullmatch(value):
        return value
    raise InvalidCredential(f"Token has no valid {name!r} claim.")


def _generation(value: Any) -> int:
    if type(value) is int and 0 < value < 2**63:
        return value
    raise InvalidCredential("Token has no valid generation.")


def _exp(claims: Mapping[str, Any]) -> int | None:
    if "exp" not in claims:
        # Only a session of the journal can end a token that time does not.
        if conf.TOKEN_ALLOW_NEVER_EXPIRES and SID in claims:
            return None
        raise InvalidCredential("Token has no 'exp' claim.")
    value = claims["exp"]
    if type(value) is int and 0 < value <= LATEST_EXP:
        return value
    raise InvalidCredential("Token has no valid 'exp' claim.")
