"""A URL for what is no socket: whoever asks for one in plain HTTP is told so."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from perfguard.http.middleware import Middleware
from perfguard.sockets.refusals import Answer
from perfguard.sockets.upgrades import is_socket_path, refusal_of

PLAIN = Answer(
    400, "websocket_only", "This is a WebSocket: connect to it with ws:// or wss://."
)


class UpgradeMiddleware(Middleware):
    """400 for a malformed upgrade at the path of a socket, whatever the server.

    ``perfguard.asgi.guard`` does the same under ASGI; this is for WSGI, where no
    upgrade can come to anything, and for answers that carry what other middleware adds.
    """

    def before(self, request: HttpRequest) -> HttpResponse | None:
        if not is_socket_path(request.path_info):
            return None
        answer = _malformed(request)
        return None if answer is None else _response(answer)


def websocket_only(request: HttpRequest) -> HttpResponse:
    """A view to put into the URL configuration at the path of a socket: so rules of API
    keys may name it, and plain HTTP is told what is there."""
    return _response(_malformed(request) or PLAIN)


def _malformed(request: HttpRequest) -> Answer | None:
    headers = {name.lower(): value for name, value in request.headers.items()}
    version = request.META.get("SERVER_PROTOCOL", "").removeprefix("HTTP/")
    query = request.META.get("QUERY_STRING", "")
    return refusal_of(request.method or "", headers, query, version)


def _response(answer: Answer) -> HttpResponse:
    response = HttpResponse(answer.body, status=answer.status)
    for name, value in answer.fields:
        response.headers[name.decode()] = value.decode()
    return response
