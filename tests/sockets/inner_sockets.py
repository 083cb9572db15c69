"""Applications to be guarded: good ones, bad ones, and one of Channels."""

from __future__ import annotations

import json
import os

from channels.generic.websocket import AsyncWebsocketConsumer

from project.demo.sockets import echo

SECRET = "an-internal-secret"


class Chat(AsyncWebsocketConsumer):
    async def connect(self):
        chosen = "chat" if "chat" in self.scope["subprotocols"] else None
        await self.accept(subprotocol=chosen)
        await self.send(text_data=self.scope["user"].email)

    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data=text_data, bytes_data=bytes_data)


async def tell(scope, receive, send):
    """What the application is given."""
    await receive()
    await send({"type": "websocket.accept"})
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    told = {
        "query": scope["query_string"].decode(),
        "subprotocols": scope["subprotocols"],
        "offered": headers.get("sec-websocket-protocol", ""),
        "client": scope["client"],
        "user": str(scope["user"]),
        "auth": type(scope["auth"]).__name__,
        "worker": os.getpid(),
    }
    await send({"type": "websocket.send", "text": json.dumps(told)})
    await receive()


async def broken(scope, receive, send):
    await receive()
    if scope["path"].endswith("late"):
        await send({"type": "websocket.accept"})
    raise ValueError(SECRET)


async def mute(scope, receive, send):
    await receive()


APPLICATIONS = {
    "/ws/echo": echo,
    "/ws/tell": tell,
    "/ws/chat": Chat.as_asgi(),
    "/ws/broken": broken,
    "/ws/broken/late": broken,
    "/ws/mute": mute,
}


async def route(scope, receive, send):
    await APPLICATIONS[scope["path"]](scope, receive, send)
