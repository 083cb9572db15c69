"""What may be written into the fields of an API key."""

from __future__ import annotations

from collections.abc import Callable

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from perfguard.api_keys.rules import mistakes

# Raises ValueError for text that is no rate. Set by the app: rates are the business of
# throttling, which this room does not know.
read_rate: Callable[[str], object] | None = None


def use_rate_reader(reader: Callable[[str], object]) -> None:
    global read_rate
    read_rate = reader


def validate_label(text: str) -> None:
    # It goes into logs.
    if not text.isprintable() or not text.strip():
        raise ValidationError(_("Use printable characters, on one line."))


def validate_rate(text: str) -> None:
    if read_rate is None:
        return
    try:
        read_rate(text)
    except ValueError as error:
        raise ValidationError(str(error)) from error


def validate_rules(text: str) -> None:
    """Lines as of ``perfguard.api_keys.rules``."""
    found = list(mistakes(text.splitlines()))
    if found:
        raise ValidationError(found)
