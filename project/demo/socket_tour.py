"""The part of the tour that is about WebSockets; its server is an ASGI one."""

from __future__ import annotations

import json
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

AUTHS = "/api/v1/auths"
BEARER = "perfguard.bearer"


def show_sockets(tour: Any, site: Any) -> None:
    tour.title("A socket is opened by a token, and closed when the token is revoked")
    opened(tour, site, "without a token")
    token = json.loads(site.sign_in().body)["token"]
    opened(tour, site, "with the token in the URL", query=f"?token={token}")
    header = {"Authorization": f"Bearer {token}"}
    by_header = opened(tour, site, "with it in the header", headers=header)
    in_browsers = [BEARER, token]
    by_protocol = opened(tour, site, "as a subprotocol", subprotocols=in_browsers)
    ticket = json.loads(site.post(f"{AUTHS}/socket-ticket", token).body)["ticket"]
    by_ticket = opened(tour, site, "with a ticket", query=f"?ticket={ticket}")
    opened(tour, site, "with the same ticket", query=f"?ticket={ticket}")
    tour.line(
        f"POST {AUTHS}/signout  ->  {site.post(f'{AUTHS}/signout', token).status}"
    )
    for socket in filter(None, (by_header, by_protocol, by_ticket)):
        tour.line(f"    {end_of(socket)}")


def opened(
    tour: Any,
    site: Any,
    how: str,
    query: str = "",
    headers: dict[str, str] | None = None,
    **options: Any,
) -> ClientConnection | None:
    url = f"ws://{site.address}/ws/echo{query}"
    try:
        socket = connect(url, additional_headers=headers, proxy=None, **options)
    except InvalidStatus as error:
        tour.line(f"/ws/echo {how}  ->  {error.response.status_code}")
        return None
    tour.line(f"/ws/echo {how}  ->  open: {socket.recv(timeout=10)}")
    return socket


def end_of(socket: ClientConnection) -> str:
    try:
        socket.recv(timeout=30)
    except ConnectionClosed as closed:
        received = closed.rcvd
        return f"closed: {received.code} {received.reason}" if received else "lost"
    return "still open"
