"""Which answers are those of a sign-out."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.signals import user_logged_out
from django.http import HttpRequest
from django.http.response import HttpResponseBase

ATTRIBUTE = "perfguard_signed_out"  # of the request or of the answer


def is_sign_out(request: HttpRequest, response: HttpResponseBase) -> bool:
    return getattr(request, ATTRIBUTE, False) or getattr(response, ATTRIBUTE, False)


def _note(*, request: Any = None, **kwargs: Any) -> None:
    if request is not None:
        # DRF's request wraps Django's, which the middleware sees.
        setattr(getattr(request, "_request", request), ATTRIBUTE, True)


# Sent for each session that ends, whoever ends it: Django's views, the admin, DRF's.
user_logged_out.connect(_note, dispatch_uid="perfguard.headers.sign_out")
