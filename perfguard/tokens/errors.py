from __future__ import annotations

from django.utils.translation import gettext_lazy as _
from rest_framework.exceptions import APIException

from perfguard.exceptions import TruthUnavailable

RETRY_AFTER = 1  # seconds


class RevocationUnavailable(APIException, TruthUnavailable):
    """503: whether a token is revoked cannot be known, or not be made known, just now.

    Not 401: clients would throw away tokens that may be good.
    """

    status_code = 503
    default_code = "revocation_unavailable"
    default_detail = _("Tokens cannot be checked just now. Try again in a moment.")
    wait = RETRY_AFTER  # DRF's exception handler makes it Retry-After

    def __init__(self) -> None:
        super().__init__({"detail": self.default_detail, "code": self.default_code})

    def __str__(self) -> str:
        return str(self.default_detail)


class RevocationPending(RevocationUnavailable):
    """The revocation is in the journal; Redis has yet to be told, and will be."""

    default_code = "revocation_pending"
    default_detail = _(
        "Signing out is recorded, but not yet in force everywhere. Try again in a "
        "moment to be sure."
    )


class RevocationFailed(RevocationUnavailable):
    """Nothing was recorded: the token is as good as before."""

    default_code = "revocation_failed"
    default_detail = _("Signing out did not succeed. Try again in a moment.")
