"""What Django may show of a fault: on its page with ``DEBUG``, and in mails to ADMINS.

Django's own filter knows secrets by the names of settings. It shows the password within
a URL, a header whose name the project chose, and, with ``DEBUG``, every variable.
"""

from __future__ import annotations

import re
from pprint import pformat
from types import FrameType
from typing import Any

from django.http import HttpRequest
from django.views.debug import SafeExceptionReporterFilter

from perfguard.conf import conf

STARS = SafeExceptionReporterFilter.cleansed_substitute
WORDS = "PASSW|SECRET|TOKEN|REFRESH|PEPPER|CREDENTIAL"
# Each keeps its first group.
SECRETS = (
    re.compile(r"(\w+://[^/@\s]*:)[^@\s]+(?=@)"),  # redis://:password@host
    re.compile(r"(\beyJ[\w-]+\.)[\w-]+\.[\w-]+"),  # a JWT
    re.compile(r"(\bpgk_[0-9A-Za-z]{12}_)[0-9A-Za-z]+"),  # an API key
    # "password": "..." and password='...', as JSON and repr() write them.
    re.compile(
        rf"(\w*(?:{WORDS})\w*\\?['\"]?\s*[:=]\s*\[?b?\\?)(['\"]).*?(?<!\\)\2", re.I
    ),
)


class ReporterFilter(SafeExceptionReporterFilter):
    hidden_settings = re.compile(
        f"{SafeExceptionReporterFilter.hidden_settings.pattern}|{WORDS}", re.I
    )

    def is_active(self, request: HttpRequest | None) -> bool:
        return True  # also with DEBUG: its page is pasted into tickets

    def cleanse_setting(self, key: Any, value: Any) -> Any:
        if key in _own_headers():
            return STARS
        cleansed = super().cleanse_setting(key, value)
        return masked(cleansed) if isinstance(cleansed, str) else cleansed

    def get_post_parameters(self, request: HttpRequest | None) -> Any:
        found = super().get_post_parameters(request)
        return {name: self.cleanse_setting(name, found[name]) for name in found}

    def get_traceback_frame_variables(
        self, request: HttpRequest | None, tb_frame: FrameType
    ) -> Any:
        found = super().get_traceback_frame_variables(request, tb_frame)
        return [
            (name, Shown(self.cleanse_setting(name, value))) for name, value in found
        ]


class Shown:
    """A value as a page shows it: by its text, without the secrets in that."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return masked(pformat(self.value))


def masked(text: str) -> str:
    for pattern in SECRETS:
        text = pattern.sub(rf"\g<1>{STARS}", text)
    return text


def _own_headers() -> set[str]:
    names = (conf.TRUSTED_SECRET_HEADER, conf.API_KEYS_HEADER)
    return {"HTTP_" + name.upper().replace("-", "_") for name in names if name}
