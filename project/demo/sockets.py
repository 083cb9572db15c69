"""``/ws/echo``: says back what it hears, and first of all to whom."""

from __future__ import annotations

import json
from typing import Any


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await receive()  # the connect
    await send({"type": "websocket.accept"})
    greeting = {"user": str(scope["user"]), "address": scope["client"][0]}
    await send({"type": "websocket.send", "text": json.dumps(greeting)})
    while (message := await receive())["type"] == "websocket.receive":
        content = {name: message.get(name) for name in ("text", "bytes")}
        await send({"type": "websocket.send", **content})
