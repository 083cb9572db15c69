"""What Django answers where no view does: JSON to a client of the API, else a page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import defaults

API = "/api/"


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    page = defaults.bad_request
    return _answer(request, page, 400, "The request cannot be read.", exception)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    page = defaults.page_not_found
    return _answer(request, page, 404, "There is no such path.", exception)


def server_error(request: HttpRequest) -> HttpResponse:
    page = defaults.server_error
    return _answer(request, page, 500, "This is a fault of the server's.")


def _answer(
    request: HttpRequest,
    page: Callable[..., HttpResponse],
    status: int,
    detail: str,
    *args: Any,
) -> HttpResponse:
    # Never the exception's own text: it may quote what the client sent.
    if request.path_info.startswith(API):
        return JsonResponse({"detail": detail}, status=status)
    return page(request, *args)
