"""Whom a hit is counted for."""

from __future__ import annotations

import hmac
from functools import lru_cache
from hashlib import sha256
from ipaddress import IPv6Address, ip_network
from unicodedata import normalize

from django.conf import settings
from django.http import HttpRequest

from perfguard.http.client_ip import Address, client_ip

LONGEST_ACCOUNT = 320  # characters of an e-mail address: RFC 3696, erratum 1690
IPV6_PREFIX = 64  # what one customer is given: RFC 6177


def user_identity(pk: object) -> str:
    return f"user:{pk}"


def address_identity(request: HttpRequest) -> str:
    """``ip:203.0.113.7``; a whole /64 for IPv6; ``ip:unknown`` for a peer without
    an address."""
    return _address_identity(client_ip(request))


@lru_cache(maxsize=4096)
def _address_identity(address: Address | None) -> str:
    if address is None:
        return "ip:unknown"
    if isinstance(address, IPv6Address):
        # A zone, if any, means nothing outside its host.
        network = ip_network((int(address), IPV6_PREFIX), strict=False)
        return f"ip:{network}"
    return f"ip:{address}"


def account_identity(name: str) -> str:
    """The account that a sign-in names, whether it exists or not.

    Spellings that a database might take for one another are one identity: white
    space around, compatibility forms (NFKC), case. The name itself goes nowhere: the
    identity holds an HMAC-SHA-256 of it under ``SECRET_KEY``.
    """
    # White space first, or enough of it would push the name out of what is looked at.
    folded = normalize("NFKC", name.strip()[:LONGEST_ACCOUNT]).strip()
    # Upper case first: it joins letters such as the dotless i with the plain ones,
    # as UPPER() of a database does (CVE-2019-19844).
    folded = normalize("NFKC", folded.upper().casefold()).strip()
    digest = hmac.new(
        settings.SECRET_KEY.encode(), folded.encode(errors="surrogatepass"), sha256
    )
    return f"account:{digest.hexdigest()[:32]}"
