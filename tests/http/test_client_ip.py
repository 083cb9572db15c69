"""Whose address is believed, and how one is read."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from django.test import RequestFactory

from perfguard.checks import check_proxies
from perfguard.exceptions import InvalidSetting
from perfguard.http.client_ip import client_ip, parse_address, trusted_networks

rf = RequestFactory()
PROXIES = ["10.0.0.0/8", "192.168.7.7", "2001:db8:ffff::/48"]


def address(forwarded=None, peer="10.0.0.1", **headers):
    """The client's address as text, or None."""
    if forwarded is not None:
        headers["HTTP_X_FORWARDED_FOR"] = forwarded
    found = client_ip(rf.get("/", REMOTE_ADDR=peer, **headers))
    return None if found is None else str(found)


@pytest.fixture
def _behind_proxies(perfguard):
    perfguard(TRUSTED_PROXIES=PROXIES)


behind_proxies = pytest.mark.usefixtures("_behind_proxies")


# -- nothing is believed without reason ----------------------------------------------


@pytest.mark.parametrize("peer", ["10.0.0.1", "127.0.0.1", "::1", "203.0.113.7"])
def test_no_header_is_believed_unless_the_settings_name_a_proxy(peer):
    names = ["X_FORWARDED_FOR", "X_REAL_IP", "FORWARDED", "CLIENT_IP", "TRUE_CLIENT_IP"]
    spoofed = dict.fromkeys((f"HTTP_{name}" for name in names), "198.51.100.1")
    assert address(peer=peer, **spoofed) == peer


@behind_proxies
@pytest.mark.parametrize("peer", ["203.0.113.7", "11.0.0.1", "192.168.7.8", "::1"])
def test_a_peer_that_is_no_proxy_is_not_believed(peer):
    assert address("198.51.100.1", peer=peer) == peer


@behind_proxies
def test_only_the_header_that_the_settings_name_is_read():
    spoofed = {"HTTP_X_REAL_IP": "198.51.100.1", "HTTP_FORWARDED": "for=198.51.100.2"}
    assert address(**spoofed) == "10.0.0.1"
    assert address("203.0.113.7", **spoofed) == "203.0.113.7"


@pytest.mark.parametrize("name", ["X-Real-IP", "x-real-ip", "X_REAL_IP"])
def test_the_settings_may_name_another_header(perfguard, name):
    perfguard(TRUSTED_PROXIES=PROXIES, CLIENT_IP_HEADER=name)
    found = address("198.51.100.1", HTTP_X_REAL_IP="203.0.113.7")
    assert found == "203.0.113.7"


def test_the_settings_apply_as_soon_as_they_change(perfguard):
    assert address("203.0.113.7") == "10.0.0.1"
    perfguard(TRUSTED_PROXIES=PROXIES)
    assert address("203.0.113.7") == "203.0.113.7"
    perfguard(TRUSTED_PROXIES=[])
    assert address("203.0.113.7") == "10.0.0.1"


# -- the right-most address that is no proxy -------------------------------------------


@behind_proxies
@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("198.51.100.1, 203.0.113.7", "203.0.113.7"),
        ("203.0.113.7, 10.9.9.9", "203.0.113.7"),
        ("203.0.113.7, 192.168.7.7, 10.9.9.9", "203.0.113.7"),
        ("10.1.1.1, 203.0.113.7, 10.9.9.9", "203.0.113.7"),
        ("127.0.0.1, 10.0.0.5, 203.0.113.7", "203.0.113.7"),
        ("198.51.100.1,203.0.113.7,10.9.9.9", "203.0.113.7"),
        ("  198.51.100.1 ,\t203.0.113.7\t", "203.0.113.7"),
        ("2001:db8::7, 2001:db8:ffff::1", "2001:db8::7"),
        ("203.0.113.7, 2001:db8:ffff::1, 10.2.3.4", "203.0.113.7"),
        ("unknown, 203.0.113.7", "203.0.113.7"),
        ("<script>, 203.0.113.7, 10.1.1.1", "203.0.113.7"),
    ],
)
def test_the_rightmost_that_is_no_proxy_is_the_client(forwarded, client):
    assert address(forwarded) == client


@behind_proxies
@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("10.1.1.1", "10.1.1.1"),
        ("10.1.1.1, 10.2.2.2", "10.1.1.1"),
        ("192.168.7.7, 10.1.1.1, 10.2.2.2", "192.168.7.7"),
    ],
)
def test_where_all_are_proxies_the_farthest_is_the_client(forwarded, client):
    assert address(forwarded) == client


@behind_proxies
@pytest.mark.parametrize(
    "junk",
    [
        *("", " ", ",", ",,,", '""', "unknown", "_hidden", "localhost", "unix", "\x00"),
        *("1.2.3", "1.2.3.4.5", "256.1.1.1", "01.02.03.04", "0x7f.1", "2130706433"),
        *("1.2.3.4/32", "203.0.113.7; 10.0.0.1", "203.0.113.7 10.0.0.1", ":::", "::g"),
        *("for=203.0.113.7", "203.0.113.7\x00", "1.2.3.\u0664", "[", "[]", "]", "%"),
        "x" * 1_000_000,
    ],
    ids=lambda text: ascii(text)[:30],
)
def test_after_junk_the_proxy_that_wrote_it_is_the_client(junk):
    assert address(junk) == "10.0.0.1"
    assert address(f"203.0.113.7, {junk}, 10.5.5.5") == "10.5.5.5"


@behind_proxies
def test_a_spoofed_header_of_a_hundred_hops_changes_nothing():
    spoofed = ", ".join(f"198.51.100.{number}" for number in range(100))
    assert address(f"{spoofed}, 203.0.113.7, 10.9.9.9") == "203.0.113.7"


@behind_proxies
def test_a_hundred_hops_of_proxies_end_at_a_proxy():
    spoofed = ", ".join(["198.51.100.1", *["10.3.3.3"] * 100])
    assert address(spoofed) == "10.3.3.3"


@behind_proxies
def test_a_header_of_a_megabyte_changes_nothing():
    assert address("1," * 500_000 + "203.0.113.7") == "203.0.113.7"
    assert address(", 10.3.3.3" * 100_000) == "10.3.3.3"


# -- how an address is written ---------------------------------------------------------

WAYS = [
    ("203.0.113.7:4711", "203.0.113.7"),
    ('"203.0.113.7"', "203.0.113.7"),
    ('"203.0.113.7:4711"', "203.0.113.7"),
    ("2001:db8::7", "2001:db8::7"),
    ("2001:DB8:0:0:0:0:0:7", "2001:db8::7"),
    ("[2001:db8::7]", "2001:db8::7"),
    ("[2001:db8::7]:443", "2001:db8::7"),
    ('"[2001:db8::7]:443"', "2001:db8::7"),
    ("fe80::1%eth0", "fe80::1"),
    ("[fe80::1%25eth0]:443", "fe80::1"),
    ("::ffff:203.0.113.7", "203.0.113.7"),
    ("::FFFF:cb00:7107", "203.0.113.7"),
    ("[::ffff:203.0.113.7]:80", "203.0.113.7"),
    ("0:0:0:0:0:ffff:203.0.113.7", "203.0.113.7"),
]


@behind_proxies
@pytest.mark.parametrize(("written", "client"), WAYS)
def test_an_address_is_read_as_proxies_write_it(written, client):
    assert address(f"198.51.100.1, {written}, 10.9.9.9") == client


@pytest.mark.parametrize(("written", "client"), WAYS)
def test_the_peers_own_address_is_read_alike(written, client):
    assert address(peer=written) == client


@behind_proxies
@pytest.mark.parametrize(
    "peer",
    [
        *("10.0.0.1", "::ffff:10.0.0.1", "10.0.0.1:5000", "[2001:db8:ffff::9]:5000"),
        *("2001:db8:ffff:1:2:3:4:5", "192.168.7.7", "2001:db8:ffff::1%eth0"),
    ],
)
def test_a_proxy_is_known_however_its_address_is_written(peer):
    assert address("203.0.113.7", peer=peer) == "203.0.113.7"


def test_a_zone_makes_no_other_address():
    assert parse_address("fe80::1%eth0") == parse_address("fe80::1%eth1")
    assert parse_address("fe80::1%eth0") == ip_address("fe80::1")


@pytest.mark.parametrize("text", ["", " ", "x" * 65, "1" * 10_000, "::1" + " " * 100])
def test_text_of_no_address_is_none(text):
    assert parse_address(text) in {None, ip_address("::1")}


# -- a peer on a Unix socket -----------------------------------------------------------


@pytest.mark.parametrize("proxies", [[], PROXIES])
def test_a_unix_peer_is_not_believed_unless_named(perfguard, proxies):
    perfguard(TRUSTED_PROXIES=proxies)
    assert address("203.0.113.7", peer="") is None


def test_a_unix_peer_is_believed_where_named(perfguard):
    perfguard(TRUSTED_PROXIES=["unix"])
    assert address("198.51.100.1, 203.0.113.7", peer="") == "203.0.113.7"
    assert address(peer="") is None
    assert address("junk", peer="") is None


def test_a_unix_peer_may_stand_before_other_proxies(perfguard):
    perfguard(TRUSTED_PROXIES=["unix", *PROXIES])
    assert address("198.51.100.1, 203.0.113.7, 10.1.1.1", peer="") == "203.0.113.7"


def test_naming_unix_trusts_no_address_and_no_hop_of_that_name(perfguard):
    perfguard(TRUSTED_PROXIES=["unix"])
    assert address("198.51.100.1", peer="203.0.113.7") == "203.0.113.7"
    assert address("198.51.100.1, unix", peer="") is None


def test_a_request_without_a_peer_is_one_of_a_unix_socket(perfguard):
    perfguard(TRUSTED_PROXIES=["unix"])
    request = rf.get("/", HTTP_X_FORWARDED_FOR="203.0.113.7")
    del request.META["REMOTE_ADDR"]
    assert str(client_ip(request)) == "203.0.113.7"


# -- the list of proxies ---------------------------------------------------------------


@pytest.mark.parametrize(
    "proxies",
    [
        *(["0.0.0.0/0"], ["10.0.0.0/8"], ["10.0.0.1"], ["10.0.0.1/32"]),
        *(["::/0", "10.0.0.1"], ("172.16.0.0/12", "10.0.0.0/30")),
    ],
)
def test_proxies_are_addresses_or_networks(perfguard, proxies):
    perfguard(TRUSTED_PROXIES=proxies)
    assert check_proxies() == []
    assert address("203.0.113.7, 198.51.100.1") in {"198.51.100.1", "203.0.113.7"}


@pytest.mark.parametrize(
    "wrong",
    [
        *("", " ", "10.0.0.1/8", "10.0.0.0/33", "localhost", "*", "10.0.0.*", "Unix"),
        *("10.0", "10.0.0.1:80", "[::1]", "10.0.0.1,10.0.0.2", "2001:db8::/129"),
        "fe80::1%eth0/64",
    ],
)
def test_what_is_no_proxy_is_named_by_the_check(perfguard, wrong):
    perfguard(TRUSTED_PROXIES=["10.0.0.0/8", wrong])
    assert [message.id for message in check_proxies()] == ["perfguard.E005"]
    with pytest.raises(InvalidSetting, match="TRUSTED_PROXIES"):
        trusted_networks()


@pytest.mark.parametrize("wrong", ["10.0.0.0/8", 5, [5], [None], [b"10.0.0.1"]])
def test_a_list_of_another_kind_is_found_by_another_check(perfguard, wrong):
    perfguard(TRUSTED_PROXIES=wrong)
    assert check_proxies() == []
