"""System checks of redirects.

perfguard.E901  a rule that is none, or that may lead anywhere
perfguard.E902  rules, and nobody who reads them
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error

from perfguard.conf import given
from perfguard.exceptions import InvalidSetting
from perfguard.redirects.middleware import RedirectMiddleware
from perfguard.redirects.rules import Redirect

Check = Callable[..., list[CheckMessage]]


def check_redirects(**kwargs: Any) -> list[CheckMessage]:
    messages: list[CheckMessage] = []
    values = given().get("REDIRECTS", ())
    for value in values if isinstance(values, Sequence) else ():
        try:
            Redirect.read(value)
        except InvalidSetting as error:
            messages.append(Error(str(error), id="perfguard.E901"))
    middleware = f"{RedirectMiddleware.__module__}.{RedirectMiddleware.__qualname__}"
    if values and middleware not in settings.MIDDLEWARE:
        messages.append(
            Error(
                "PERFGUARD['REDIRECTS'] is set, and nobody reads it.",
                hint=f"Add {middleware!r} to MIDDLEWARE, after authentication.",
                id="perfguard.E902",
            )
        )
    return messages


ALL: tuple[Check, ...] = (check_redirects,)
