"""Whether what a request was accepted for still holds, for answers that last.

A stream or a socket outlives the moment in which its credential was verified. Whoever
accepts a credential remembers here how to ask again; whoever keeps a connection open
asks, every so often.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Question = Callable[[], bool]

ATTRIBUTE = "_perfguard_standing"


def remember(request: Any, still_good: Question) -> None:
    """Have ``still_good`` asked for as long as the request's answer lasts.

    It may wait for Redis or the database, and raises what they raise. It is asked in a
    thread, and not at the same time in two. Several may be remembered: all of them
    count.
    """
    http = getattr(request, "_request", request)  # DRF's request wraps Django's
    setattr(http, ATTRIBUTE, (*questions(http), still_good))


def still_good(request: Any) -> bool:
    """False when a credential of the request was revoked or has expired since; True
    when nobody remembered a question. It waits: not for the event loop.

    Raises TruthUnavailable when it cannot be known.
    """
    return all(question() for question in questions(request))


def questions(request: Any) -> tuple[Question, ...]:
    http = getattr(request, "_request", request)
    return getattr(http, ATTRIBUTE, ())
