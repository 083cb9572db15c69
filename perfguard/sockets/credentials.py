"""Where a handshake presents what signs its sender in.

Programs set the Authorization header. Browsers cannot: they offer two subprotocols, of
which the second is the token, or put a ticket, good once and for seconds, in the URL. A
token in the URL would be in the logs of every server and proxy on its way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

from django.http import HttpRequest

from perfguard.conf import conf
from perfguard.exceptions import InvalidCredential
from perfguard.signals import credential_refused
from perfguard.sockets.refusals import Refused, Scope, refused
from perfguard.sockets.sessions import session_key_of

MARKER = "perfguard.bearer"  # the subprotocol whose successor is the token
TICKET = "ticket"  # the parameter of the URL
# Possessive, and never from within a word: its time grows as the text does.
JWT = re.compile(r"(?<![\w-])eyJ[\w-]{8,}+\.[\w-]++\.")
ACCESS_TOKEN = "access_token"  # noqa: S105 (the parameter of RFC 6750, section 2.3)


class Presented(NamedTuple):
    """``kind`` is one of ``SOCKET_AUTHENTICATION``; ``value`` is empty for what is in
    the request's headers."""

    kind: str
    value: str = ""


@dataclass(slots=True)
class Offer:
    """What is in the URL and in the list of subprotocols."""

    tickets: list[str] = field(default_factory=list, repr=False)
    bearers: list[str] = field(default_factory=list, repr=False)
    leaks: bool = False  # a token, or an API key, is in the URL
    subprotocols: list[str] = field(default_factory=list)  # the application's own

    @property
    def is_marked(self) -> bool:
        return bool(self.bearers)


def read_offer(scope: Scope) -> Offer:
    """Take secrets out of the URL and the list of subprotocols.

    The URL is changed in the server's own scope: from there its access log writes it.
    """
    offer = Offer()
    _read_subprotocols(offer, list(scope.get("subprotocols") or ()))
    kept = [
        part
        for part in scope.get("query_string", b"").split(b"&")
        if not _is_secret(offer, part)
    ]
    scope["query_string"] = b"&".join(kept)
    return offer


def _read_subprotocols(offer: Offer, given: list[str]) -> None:
    while given:
        name = given.pop(0)
        if name == MARKER:
            offer.bearers.append(given.pop(0) if given else "")
        else:
            offer.subprotocols.append(name)


def _is_secret(offer: Offer, part: bytes) -> bool:
    name, _, value = (
        unquote_plus(each.decode("latin-1")) for each in part.partition(b"=")
    )
    if name == TICKET:
        offer.tickets.append(value)
        return True
    is_key = value.startswith(f"{conf.API_KEYS_PREFIX}_") and len(value) > 40
    if name == ACCESS_TOKEN or is_key or JWT.search(value):
        offer.leaks = True
        return True
    return False


def without_secrets(scope: Scope, offer: Offer) -> dict[str, Any]:
    """The scope for the application: it may choose among its own subprotocols."""
    name = b"sec-websocket-protocol"
    headers = [each for each in scope["headers"] if each[0].lower() != name]
    if offer.subprotocols:
        headers.append((name, ", ".join(offer.subprotocols).encode("latin-1")))
    return {**scope, "headers": headers, "subprotocols": offer.subprotocols}


def choose(request: HttpRequest, in_headers: str, offer: Offer) -> Presented | None:
    """The one credential; ``in_headers`` is the kind of what the headers hold, empty
    for nothing. A session's cookie counts where nothing else is presented.

    Raises Refused for one in the URL, and for several; InvalidCredential for one that
    is none, or of a kind that opens no socket here.
    """
    if offer.leaks:
        tell(request, "token", "in_url")
        raise _in_url()
    found = [Presented(in_headers)] if in_headers else []
    found += [Presented("token", each) for each in offer.bearers]
    found += [Presented("ticket", each) for each in offer.tickets]
    if len(found) > 1:
        tell(request, found[0].kind, "ambiguous")
        raise refused(400, "ambiguous", "There is more than one credential.")
    if not found:
        return _in_cookie(request)
    if found[0].kind not in conf.SOCKET_AUTHENTICATION:
        tell(request, found[0].kind, "not_accepted")
        raise InvalidCredential("This opens no sockets here.", "not_accepted")
    return found[0]


def _in_cookie(request: HttpRequest) -> Presented | None:
    if "session" not in conf.SOCKET_AUTHENTICATION:
        return None
    key = session_key_of(request)
    return Presented("session", key) if key else None


def _in_url() -> Refused:
    detail = (
        "A token in the URL ends up in logs. Send it in the Authorization header, or "
        f"after the subprotocol {MARKER!r}, or get a ticket for it."
    )
    return refused(400, "credential_in_url", detail)


def tell(request: HttpRequest, kind: str, code: str, user_key: str = "") -> None:
    credential_refused.send_robust(
        Offer, request=request, kind=kind, code=code, user_key=user_key
    )
