"""System checks of what the whole site has set, as far as tokens mind it.

perfguard.E409  revocations that are undone
perfguard.E410  times without a zone
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error

from perfguard.tokens.site import in_use, undone_views


def check_transactions(**kwargs: Any) -> list[CheckMessage]:
    """No refusal undoes what it records."""
    if not in_use():
        return []
    return [
        Error(
            f"{name} runs in the transaction of ATOMIC_REQUESTS: that a stolen refresh "
            "token ends its session is undone with the refusal, and a sign-out is "
            "answered before it is committed.",
            hint="Use the view of the same name of perfguard.tokens.views, or "
            "django.db.transaction.non_atomic_requests.",
            id="perfguard.E409",
        )
        for name in sorted(undone_views())
    ]


def check_time_zones(**kwargs: Any) -> list[CheckMessage]:
    if settings.USE_TZ or not in_use():
        return []
    return [
        Error(
            "USE_TZ is False: the ends of tokens and sessions are moments, and the "
            "database would keep them without their time zone.",
            hint="Set USE_TZ = True.",
            id="perfguard.E410",
        )
    ]
