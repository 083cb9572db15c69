"""The ASGI door: WebSockets are guarded before anything inside sees them.

::

    # asgi.py of a project
    from perfguard.asgi import guard

    application = guard(websocket="mysite.sockets.application")
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import django
from django.utils.module_loading import import_string

from perfguard.exceptions import InvalidSetting
from perfguard.sockets.lifespan import Lifespan
from perfguard.sockets.refusals import answer_in_http
from perfguard.sockets.upgrades import is_socket_path, path_of, refusal_of

Scope = MutableMapping[str, Any]
Application = Callable[[Scope, Any, Any], Awaitable[None]]


def guard(
    http: Application | None = None, *, websocket: Application | str
) -> Application:
    """The application for an ASGI server.

    ``http``: what answers HTTP; by default Django, with fewer threads (see
    ``perfguard.http.on_the_loop``). ``websocket``: what is inside, or the dotted path
    of it, which is imported once Django is set up.
    """
    if http is None:
        django.setup(set_prefix=False)
        http = import_string("perfguard.http.on_the_loop.get_asgi_application")()
    inner = import_string(websocket) if isinstance(websocket, str) else websocket
    # By name: they need models, which are there only now.
    guarded = import_string("perfguard.sockets.guard.SocketGuard")
    door = import_string("perfguard.socket_door.SocketDoor")
    return Guard(http, guarded(inner, door(inner)))


class Guard:
    """Each kind of scope to its own application."""

    def __init__(self, http: Application, websocket: Application) -> None:
        self.http = http
        self.websocket = websocket
        # By name, as above: entries of the audit log that wait are written.
        self.lifespan = Lifespan(http, import_string("perfguard.audit.log.close"))

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        kind = scope["type"]
        if kind == "http":
            await self._answer(scope, receive, send)
        elif kind == "websocket":
            await self.websocket(scope, receive, send)
        elif kind == "lifespan":
            await self.lifespan(scope, receive, send)
        else:
            raise InvalidSetting(
                f"perfguard.asgi has no application for the scope {kind!r}; it has "
                "http, websocket and lifespan."
            )

    async def _answer(self, scope: Scope, receive: Any, send: Any) -> None:
        if is_socket_path(path_of(scope)) and (refusal := _malformed(scope)):
            await answer_in_http(refusal, send)
        else:
            await self.http(scope, receive, send)


def _malformed(scope: Scope) -> Any:
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    query = scope.get("query_string", b"").decode("latin-1")
    version = scope.get("http_version", "1.1")
    return refusal_of(scope["method"], headers, query, version)
