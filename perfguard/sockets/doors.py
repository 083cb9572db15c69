"""What the guard asks of those who know tokens, API keys and limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from django.http import HttpRequest

from perfguard.sockets.credentials import Presented


@dataclass(frozen=True, slots=True, eq=False)
class SignedIn:
    """Who opened a socket. ``proof`` is what the door asks again by."""

    user: Any
    auth: Any
    identity: str  # whom connects and sockets are counted for
    expires_at: float | None = None  # Unix time
    proof: Any = field(default=None, repr=False)


class Door(Protocol):
    def in_headers(self, request: HttpRequest) -> str:
        """The kind of credential that the headers hold: "token", "api_key" or empty.

        Asks nobody. Raises InvalidCredential.
        """
        ...

    def sign_in(self, request: HttpRequest, presented: Presented) -> SignedIn | None:
        """It waits. None: there is no session behind the cookie.

        Raises InvalidCredential, TruthUnavailable, or Refused.
        """
        ...

    def refusals(self, those: Sequence[SignedIn]) -> Sequence[str | None]:
        """For each, why it is no longer good; empty: it is; None: nobody knows. It
        waits, and raises nothing for the sake of one of them."""
        ...

    def address_of(self, request: HttpRequest) -> str:
        """The identity of the client's address."""
        ...

    async def count(self, identity: str, scope: str) -> None:
        """Raises Refused when there were too many."""
        ...
