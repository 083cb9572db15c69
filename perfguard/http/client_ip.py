"""The client's address, behind as many trusted proxies as there are."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from ipaddress import ip_address as read_address
from ipaddress import ip_network as read_network
from typing import Any

from django.core.signals import setting_changed
from django.http import HttpRequest

from perfguard.conf import conf
from perfguard.exceptions import InvalidSetting

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

UNIX = "unix"  # the entry of TRUSTED_PROXIES for a peer on a Unix socket
LONGEST = 64  # characters of an address with its zone, brackets and port
MOST_HOPS = 32  # of a forwarding header, counted from its trusted end


def client_ip(request: HttpRequest) -> Address | None:
    """The right-most address that is not a trusted proxy.

    Nothing that was forwarded is believed unless the peer itself is in
    ``TRUSTED_PROXIES``. An entry that is no address ends the search, and the proxy
    that wrote it is taken. None: the peer has no address (a Unix socket) and no
    header tells more.
    """
    peer = request.META.get("REMOTE_ADDR", "")
    client = parse_address(peer)
    if not conf.TRUSTED_PROXIES or not is_trusted(peer or UNIX):
        return client
    for hop in _hops(request):
        address = parse_address(hop)
        if address is None:
            return client
        client = address
        if not is_trusted(hop):
            return client
    return client


def client_address(request: HttpRequest) -> str:
    """The same as text; empty where there is none."""
    return _text(client_ip(request))


@lru_cache(maxsize=4096)
def _text(address: Address | None) -> str:
    return str(address or "")


@lru_cache(maxsize=4096)
def parse_address(text: str) -> Address | None:
    """An address as proxies and servers write it: ``203.0.113.7``,
    ``203.0.113.7:4711``, ``[2001:db8::1]:443``, ``fe80::1%eth0``; IPv4 in IPv6 is
    IPv4. None for anything else."""
    text = text.strip().strip('"')
    if not text or len(text) > LONGEST:
        return None
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = read_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def trusted_networks() -> tuple[Network, ...]:
    """Raises InvalidSetting, naming the entry, when one is no network."""
    networks = []
    for text in conf.TRUSTED_PROXIES:
        if text == UNIX:
            continue
        try:
            networks.append(read_network(text))
        except ValueError as error:
            raise InvalidSetting(
                f"PERFGUARD['TRUSTED_PROXIES'] has {text!r}, which is neither "
                f"an address, nor a network, nor {UNIX!r}: {error}."
            ) from error
    return tuple(networks)


def _hops(request: HttpRequest) -> list[str]:
    name = "HTTP_" + conf.CLIENT_IP_HEADER.upper().replace("-", "_")
    hops = request.META.get(name, "").rsplit(",", MOST_HOPS)
    # Cut, so that no cache below holds what a client made long.
    return [hop.strip()[: LONGEST + 1] for hop in hops[: -MOST_HOPS - 1 : -1]]


@lru_cache(maxsize=4096)
def is_trusted(text: str) -> bool:
    """Whether that address, or ``"unix"``, is in ``TRUSTED_PROXIES``."""
    if text == UNIX:
        return UNIX in conf.TRUSTED_PROXIES
    address = parse_address(text)
    return address is not None and any(
        address in network for network in trusted_networks()
    )


def _reload(*, setting: str, **kwargs: Any) -> None:
    if setting == "PERFGUARD":
        is_trusted.cache_clear()


setting_changed.connect(_reload, dispatch_uid="perfguard.http.client_ip")
