"""What a request presents in its Authorization header (RFC 9110, section 11)."""

from __future__ import annotations

from typing import NamedTuple

from django.http import HttpRequest

from perfguard.exceptions import InvalidCredential


class Credentials(NamedTuple):
    scheme: str  # in lower case
    value: str


def authorization(
    request: HttpRequest, name: str = "HTTP_AUTHORIZATION"
) -> Credentials | None:
    """The pair of scheme and value, or None when the header is missing or empty.

    ``name`` is the header's in ``request.META``. Raises InvalidCredential for
    characters that no credentials have.
    """
    header = request.META.get(name, "")
    # Only the blanks of RFC 9110, section 5.6.3: strip() takes many more.
    scheme, _, value = header.strip(" \t").partition(" ")
    if not scheme:
        return None
    value = value.strip(" \t")
    if not value.isascii() or not value.isprintable():
        raise InvalidCredential("The Authorization header has odd characters.")
    return Credentials(scheme.lower(), value)


def single(value: str) -> str:
    """The value, which must be one word.

    Raises InvalidCredential otherwise, so also for two headers, which servers join by
    a comma. For schemes whose credentials are one word (``token68``); others, such as
    Digest, have lists of their own.
    """
    if not value or " " in value or "," in value:
        raise InvalidCredential(
            "The Authorization header must hold a scheme and one value."
        )
    return value
