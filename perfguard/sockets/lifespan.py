"""The start and the end of a server, for an application that knows of none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from perfguard.sockets.refusals import Application, Message, Receive, Scope, Send


class Lifespan:
    """Answers what ``application`` does not: Django's raises, with which a server that
    insists on a lifespan does not start. ``at_end`` is called, in a thread, before the
    server hears that all has ended: some then end by the signal itself, and nothing
    that is registered with atexit is called."""

    def __init__(
        self, application: Application, at_end: Callable[[], None] = lambda: None
    ) -> None:
        self.application = application
        self.at_end = at_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def ending(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown"):
                await asyncio.to_thread(self.at_end)
            await send(message)

        await self._live(scope, receive, ending)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        taken: list[Message] = []
        sent = False

        async def taking() -> Message:
            taken.append(await receive())
            return taken[-1]

        async def sending(message: Message) -> None:
            nonlocal sent
            sent = True
            await send(message)

        try:
            await self.application(scope, taking, sending)
        except Exception:
            # By the protocol any error before an answer is "this is not known here".
            if sent:
                raise
        if not sent:
            await _answer(taken, receive, send)


async def _answer(taken: list[Message], receive: Receive, send: Send) -> None:
    while True:
        message = taken.pop(0) if taken else await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
