"""What a client is told when its API key is refused; the same by every door."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.http import JsonResponse
from django.utils.translation import gettext_lazy as _

from perfguard.exceptions import TruthUnavailable

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

RETRY_AFTER = 1  # seconds
CHALLENGE = 'Api-Key realm="api"'
DISABLED_CODE = "disabled"


@dataclass(frozen=True, slots=True)
class Refusal:
    status: int
    code: str  # for machines
    detail: _StrPromise
    # WWW-Authenticate. The errors are those of RFC 6750, section 3.1: a request that
    # presents nothing is told of none.
    challenge: str = ""
    retry_after: int = 0  # seconds; 0 is never

    @property
    def headers(self) -> Mapping[str, str]:
        found = {}
        if self.challenge:
            found["WWW-Authenticate"] = self.challenge
        if self.retry_after:
            found["Retry-After"] = str(self.retry_after)
        return found


MISSING = Refusal(401, "not_authenticated", _("An API key is needed."), CHALLENGE)
# One answer for each way in which a key can be bad: which it is, is not for strangers.
INVALID = Refusal(
    401,
    "invalid_api_key",
    _("The API key is not valid."),
    f'{CHALLENGE}, error="invalid_token"',
)
NOT_HERE = Refusal(
    403,
    "insufficient_scope",
    _("The API key may not be used for this."),
    f'{CHALLENGE}, error="insufficient_scope"',
)
DISABLED = Refusal(403, "api_keys_disabled", _("API keys are switched off."))
UNAVAILABLE = Refusal(
    503,
    "api_keys_unavailable",
    _("API keys cannot be checked just now. Try again in a moment."),
    retry_after=RETRY_AFTER,
)
PENDING = Refusal(
    503,
    "revocation_pending",
    _(
        "The API key is revoked, but that is not in force everywhere yet. Try again in "
        "a moment to be sure."
    ),
    retry_after=RETRY_AFTER,
)


def refusal_of(error: Exception) -> Refusal:
    """For what ``Answer.error`` holds."""
    if isinstance(error, TruthUnavailable):
        return UNAVAILABLE
    return DISABLED if getattr(error, "code", "") == DISABLED_CODE else INVALID


def as_response(refusal: Refusal) -> JsonResponse:
    return JsonResponse(
        {"detail": refusal.detail, "code": refusal.code},
        status=refusal.status,
        headers=refusal.headers,
    )
