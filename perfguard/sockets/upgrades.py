"""What plain HTTP is told at the path of a socket.

Servers turn a proper upgrade (RFC 6455, section 4.2.1) into a socket before anybody
here sees it. What arrives as HTTP and claims to be one is malformed, or was mangled by
a proxy, or came to a server without sockets.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from typing import Any

from perfguard.conf import conf
from perfguard.sockets.refusals import Answer

MALFORMED = "Invalid WebSocket upgrade request"
KEY_BYTES = 16  # RFC 6455, section 4.1, item 7
LONGEST_HEADER = 256  # characters that are looked at


def path_of(scope: Any) -> str:
    """What URLs are matched with: without the prefix that the server was told of."""
    path: str = scope["path"]
    root = scope.get("root_path", "").rstrip("/")
    if root and (path == root or path.startswith(f"{root}/")):
        return path[len(root) :] or "/"
    return path


def is_socket_path(path: str) -> bool:
    """Whether there may be a socket at that path: one of ``SOCKET_PATHS``, or below."""
    starts = [each.rstrip("/") for each in conf.SOCKET_PATHS]
    return not starts or any(path == it or path.startswith(f"{it}/") for it in starts)


def refusal_of(
    method: str, headers: Mapping[str, str], query: str, http_version: str = "1.1"
) -> Answer | None:
    """The answer to a request that claims to be an upgrade; None for any other.

    ``headers`` are by their names in lower case, several of one name joined by commas.
    """
    upgrades = "websocket" in _words(headers, "upgrade")
    if not upgrades and "transport=websocket" not in query[:2000].split("&"):
        return None
    reason = _mistake(method, headers, upgrades=upgrades, http_version=http_version)
    # The version that is spoken here: RFC 6455, section 4.4.
    spoken = {"Sec-WebSocket-Version": "13"}
    return Answer(400, "invalid_upgrade", f"{MALFORMED}: {reason}.", spoken)


def _mistake(
    method: str, headers: Mapping[str, str], *, upgrades: bool, http_version: str
) -> str:
    checks = {
        "the method is not GET": method != "GET",
        "HTTP/1.1 is needed": http_version == "1.0",
        "the Upgrade header does not say websocket": not upgrades,
        "the Connection header does not say Upgrade": "upgrade"
        not in _words(headers, "connection"),
        "Sec-WebSocket-Version is not 13": headers.get(
            "sec-websocket-version", ""
        ).strip()
        != "13",
        "Sec-WebSocket-Key is not 16 bytes in base64": not _is_key(
            headers.get("sec-websocket-key", "")
        ),
    }
    # Nothing is wrong with it, and still it is not a socket.
    lost = "the server, or a proxy before it, passes no WebSockets on"
    return next((reason for reason, wrong in checks.items() if wrong), lost)


def _words(headers: Mapping[str, str], name: str) -> set[str]:
    """Of a header that is a list: any case, blanks, and empty items (RFC 9110)."""
    words = headers.get(name, "")[:LONGEST_HEADER].split(",")
    return {word.strip(" \t").lower() for word in words}


def _is_key(text: str) -> bool:
    try:
        return len(b64decode(text.strip()[:LONGEST_HEADER], validate=True)) == KEY_BYTES
    except (binascii.Error, ValueError):
        return False
