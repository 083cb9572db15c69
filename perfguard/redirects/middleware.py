"""Redirects by URL patterns from the settings."""

from __future__ import annotations

from urllib.parse import unquote

from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase

from perfguard.conf import conf
from perfguard.http.middleware import GetResponse, Middleware
from perfguard.redirects.rules import Redirect


class RedirectMiddleware(Middleware):
    """The first rule of ``REDIRECTS`` that fits the request answers it.

    The host is always one that the setting names, or the site itself. A rule that would
    lead to where the request already is does nothing.
    """

    def __init__(self, get_response: GetResponse) -> None:
        super().__init__(get_response)
        self.rules = [Redirect.read(value) for value in conf.REDIRECTS]

    def before(self, request: HttpRequest) -> HttpResponseBase | None:
        for rule in self.rules:
            target = rule.target(request)
            if target is not None and unquote(target) != unquote(
                request.get_full_path()
            ):
                return HttpResponseRedirect(target, status=rule.status)
        return None
