"""A ticket for a socket, for pages in a browser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework.exceptions import APIException, PermissionDenied
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from perfguard.conf import conf
from perfguard.exceptions import TruthUnavailable
from perfguard.sockets.refusals import RETRY_AFTER
from perfguard.sockets.serializers import TicketSerializer
from perfguard.sockets.tickets import Stub, issue


class TicketsUnavailable(APIException):
    """503: tickets are kept in Redis, which is away."""

    status_code = 503
    default_code = "tickets_unavailable"
    default_detail = _("There are no tickets just now. Try again in a moment.")
    wait = RETRY_AFTER  # DRF's exception handler makes it Retry-After


class SocketTicketView(APIView):
    """POST gives a ticket for the token that it presents, to be put into the URL of a
    socket: ``wss://.../ws/...?ticket=...``. It is good once, for
    ``SOCKET_TICKET_SECONDS``, and for pages of the origin that asked."""

    permission_classes = (IsAuthenticated,)
    serializer_class = TicketSerializer

    def post(self, request: Request) -> Response:
        claims = getattr(request.auth, "payload", None)
        # Who has an API key can send it in a header; a ticket would escape its rules.
        if not isinstance(claims, Mapping):
            raise PermissionDenied(_("Tickets are given for tokens."), "no_token")
        return Response(TicketSerializer(_ticket(request, claims)).data)

    def finalize_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().finalize_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-store"
        return response


def _ticket(request: Request, claims: Mapping[str, Any]) -> dict[str, Any]:
    origin = request.META.get("HTTP_ORIGIN", "").lower()
    try:
        ticket = issue(Stub(claims, "" if origin == "null" else origin))
    except TruthUnavailable as error:
        raise TicketsUnavailable from error
    return {"ticket": ticket, "expires_in": conf.SOCKET_TICKET_SECONDS}
