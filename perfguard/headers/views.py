"""Where browsers send their reports about violations of a content security policy."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, UnreadablePostError
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from perfguard.headers.intake import intake
from perfguard.headers.reports import BATCH, LEGACY, Malformed, read_violations, store
from perfguard.http.client_ip import client_ip

LONGEST_BODY = 64 * 1024  # bytes


# Browsers send no token, and nothing here acts for a user.
@method_decorator(csrf_exempt, name="dispatch")
class CspReportView(View):
    """POST of ``application/csp-report`` or ``application/reports+json``.

    204 also for what is left out in a flood: told otherwise, a browser would send it
    again.
    """

    http_method_names = ("post", "options")

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.content_type not in {LEGACY, BATCH}:
            return _refused(415, f"Send {LEGACY} or {BATCH}.")
        # Never request.body, which would first hold all of it in memory.
        try:
            body = request.read(LONGEST_BODY + 1)
        except UnreadablePostError:
            return _refused(400, "The body could not be read.")
        if len(body) > LONGEST_BODY:
            return _refused(413, f"Send at most {LONGEST_BODY} bytes.")
        try:
            violations = read_violations(request.content_type, body)
        except Malformed as error:
            return _refused(400, str(error))
        client = str(client_ip(request))
        for violation in violations:
            if intake.takes(client):
                store(violation)
        return HttpResponse(status=204)


def _refused(status: int, detail: str) -> HttpResponse:
    return HttpResponse(detail, status=status, content_type="text/plain; charset=utf-8")
