"""A middleware that sends requests elsewhere, as those for old URLs do."""

from __future__ import annotations


def elsewhere(get_response):
    def run(request):
        request.path_info = request.headers.get("X-Path", request.path_info)
        request.method = request.headers.get("X-Method", request.method)
        return get_response(request)

    return run
