"""The guard before a WebSocket application."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest

from perfguard.conf import conf
from perfguard.exceptions import InvalidCredential, TruthUnavailable
from perfguard.http.client_ip import client_ip
from perfguard.sockets.connection import Connection
from perfguard.sockets.credentials import (
    MARKER,
    Offer,
    Presented,
    choose,
    read_offer,
    without_secrets,
)
from perfguard.sockets.doors import Door, SignedIn
from perfguard.sockets.refusals import (
    Application,
    Receive,
    Refused,
    Scope,
    Send,
    refuse,
    refused,
    unavailable,
)
from perfguard.sockets.requests import check_origin, request_of
from perfguard.sockets.slots import Slots
from perfguard.sockets.upgrades import is_socket_path, path_of
from perfguard.sockets.watch import Watch, with_connections

logger = logging.getLogger("perfguard.sockets")

ADDRESSES = "socket_connect_address"  # the scope of connects by address
USERS = "socket_connect"  # and of those by who signs in


class SocketGuard:
    """Opens a socket for whom the door lets in, and closes it when that ends.

    The application finds ``scope["user"]`` and ``scope["auth"]``, the client's own
    address in ``scope["client"]``, and none of the secrets of the handshake's URL and
    subprotocols.
    """

    def __init__(self, application: Application, door: Door) -> None:
        self.application = application
        self.door = door
        self.slots = Slots()
        self.watch = Watch(door.refusals)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        offer = read_offer(scope)
        if (await receive())["type"] != "websocket.connect":
            return
        with ExitStack() as held:
            try:
                connection = await self._admit(scope, offer, held, (receive, send))
            except Refused as error:
                answer = error.answer
            else:
                await connection.serve(self.application)
                return
        await refuse(scope, send, answer)

    async def _admit(
        self, scope: Scope, offer: Offer, held: ExitStack, wires: tuple[Receive, Send]
    ) -> Connection:
        """The cheapest questions first. Raises Refused."""
        if not conf.SOCKET_ENABLED or not is_socket_path(path_of(scope)):
            raise refused(404, "not_found", "There is no socket here.")
        request = request_of(scope)
        check_origin(request, by_cookie=False)
        held.enter_context(self.slots.any())
        address = self.door.address_of(request)
        # Before anything is verified: whoever guesses is counted.
        await self.door.count(address, ADDRESSES)
        signed_in = await self._sign_in(request, offer)
        if signed_in is not None:
            await self.door.count(signed_in.identity, USERS)
        identity = address if signed_in is None else signed_in.identity
        held.enter_context(self.slots.of(identity))
        inner = _scope(scope, offer, request, signed_in)
        marker = MARKER if offer.is_marked else ""
        connection = Connection(inner, *wires, marker=marker)
        if signed_in is not None:
            held.enter_context(self.watch.over(connection, signed_in))
        return connection

    async def _sign_in(self, request: HttpRequest, offer: Offer) -> SignedIn | None:
        try:
            presented = choose(request, self.door.in_headers(request), offer)
            signed_in = None
            if presented is not None:
                signed_in = await self._verify(request, presented)
        except InvalidCredential as error:
            raise refused(401, error.code, str(error)) from error
        except TruthUnavailable as error:
            raise unavailable() from error
        if signed_in is None and conf.SOCKET_REQUIRE_SIGN_IN:
            detail = "Authentication credentials were not provided."
            raise refused(401, "not_authenticated", detail)
        return signed_in

    async def _verify(
        self, request: HttpRequest, presented: Presented
    ) -> SignedIn | None:
        if presented.kind == "session":
            check_origin(request, by_cookie=True)
        in_thread = sync_to_async(with_connections, thread_sensitive=False)
        found: SignedIn | None = await in_thread(self.door.sign_in, request, presented)
        return found


def _scope(
    scope: Scope, offer: Offer, request: HttpRequest, signed_in: SignedIn | None
) -> dict[str, Any]:
    inner = without_secrets(scope, offer)
    address = client_ip(request)
    if address is not None and str(address) != request.META.get("REMOTE_ADDR"):
        inner["client"] = (str(address), 0)  # its port is behind the proxies
    inner["user"] = AnonymousUser() if signed_in is None else signed_in.user
    inner["auth"] = None if signed_in is None else signed_in.auth
    return inner
