"""What is read of a request, and from whom."""

from __future__ import annotations

import logging

import django
import pytest
from django.contrib.auth.models import AnonymousUser
from rest_framework.request import Request

from perfguard.exceptions import InvalidCredential
from perfguard.http.trusted_header import (
    MOST_WARNINGS,
    check_same_account,
    is_presented,
    same_account,
    trusted_email,
    trusted_groups,
    trusted_name,
    trusted_role,
)
from project.demo.models import User
from tests.trusted_header.trusted_header_requests import (
    ANN,
    DECEPTIVE,
    NO_ADDRESS,
    OTHER_SCRIPTS,
    asking,
    meta,
)

SECRET = "of-the-proxy-and-of-nobody-else-0123"
EVERYTHING = {"email": ANN, "name": "Ann", "groups": "ops", "role": "admin"}
READERS = (trusted_email, trusted_name, trusted_groups, trusted_role)


def read(request):
    return [reader(request) for reader in READERS]


def code_of(request, reader=trusted_email):
    with pytest.raises(InvalidCredential) as caught:
        reader(request)
    return caught.value.code


# -- who is believed -------------------------------------------------------------------


def test_nothing_is_read_unless_a_header_is_named(told):
    request = asking(**EVERYTHING)
    assert not is_presented(request)
    assert read(request) == [None] * 4
    assert told == []


def test_other_headers_alone_are_not_read(perfguard):
    perfguard(TRUSTED_PROXIES=["10.0.0.0/8"], TRUSTED_ROLE_HEADER="X-Role")
    assert read(asking(**EVERYTHING)) == [None] * 4


@pytest.mark.usefixtures("trusted")
def test_a_trusted_proxy_is_believed(told):
    assert read(asking(**EVERYTHING)) == [ANN, "Ann", ["ops"], "admin"]
    assert told == []


@pytest.mark.usefixtures("trusted")
def test_a_missing_header_is_nobody(told):
    assert read(asking()) == [None] * 4
    assert told == []


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(
    "peer", ["203.0.113.7", "11.0.0.1", "127.0.0.1", "::1", "unix", "", "10.0.0", "x"]
)
def test_any_other_peer_is_ignored_and_told(told, peer):
    assert read(asking(peer, **EVERYTHING)) == [None] * 4
    assert told == [("untrusted_peer", "")]


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(
    "name", ["X_FORWARDED_FOR", "X_REAL_IP", "FORWARDED", "CLIENT_IP", "VIA", "X_PEER"]
)
def test_no_forwarded_address_makes_a_peer_trusted(name):
    request = asking("203.0.113.7", **EVERYTHING)
    request.META[f"HTTP_{name}"] = "10.0.0.1"
    assert read(request) == [None] * 4


@pytest.mark.usefixtures("trusted")
def test_an_untrusted_client_behind_a_trusted_proxy_is_the_proxys_business():
    request = asking(**EVERYTHING)
    request.META["HTTP_X_FORWARDED_FOR"] = "203.0.113.7"
    assert trusted_email(request) == ANN


@pytest.mark.parametrize("peer", ["10.0.0.1:4711", "::ffff:10.0.0.1"])
def test_an_address_is_one_however_a_server_writes_it(trusted, peer):
    assert trusted_email(asking(peer, email=ANN)) == ANN


@pytest.mark.parametrize("peer", ["", None, "unix"])
def test_a_unix_socket_is_believed_where_the_settings_say_so(trusted, peer):
    request = asking(email=ANN)
    request.META["REMOTE_ADDR"] = peer
    if peer is None:
        del request.META["REMOTE_ADDR"]
    assert trusted_email(request) is None
    trusted(TRUSTED_PROXIES=["unix"])
    assert trusted_email(request) == ANN
    assert trusted_email(asking(email=ANN)) is None


@pytest.mark.parametrize(
    "proxies",
    [
        [],
        ["*"],
        ["0.0.0.0/0"],
        ["::/0"],
        ["0.0.0.0/1", "128.0.0.0/1"],
        ["::/1", "8000::/1"],
        ["8.0.0.0/6"],
        ["2000::/3"],
        [f"{number}.0.0.0/8" for number in range(256)],
        [f"{number:x}00::/7" for number in range(0, 256, 2)],
        ["10.0.0.0/8", "::/0"],
        ["10.0.0.0/8", "proxy.internal"],
        ["10.0.0.0/8", "10.0.0.1/8"],
    ],
    ids=lambda networks: "+".join(networks)[:40],
)
def test_a_list_that_makes_no_sense_trusts_nobody(trusted, told, proxies):
    trusted(TRUSTED_PROXIES=proxies)
    assert read(asking(**EVERYTHING)) == [None] * 4
    assert len(told) == 1


def test_the_widest_private_networks_are_no_catch_all(trusted):
    trusted(TRUSTED_PROXIES=["10.0.0.0/8", "fc00::/7"])
    assert trusted_email(asking("fd12::1", email=ANN)) == ANN


@pytest.mark.parametrize(
    "names",
    [
        {"TRUSTED_EMAIL_HEADER": "X_Email"},
        {"TRUSTED_EMAIL_HEADER": "X Email"},
        {"TRUSTED_EMAIL_HEADER": "X-Email", "TRUSTED_NAME_HEADER": "x-email"},
        {"TRUSTED_EMAIL_HEADER": "X-Email", "TRUSTED_ROLE_HEADER": "Authorization"},
        {"TRUSTED_EMAIL_HEADER": "X-Email", "CLIENT_IP_HEADER": "X-Email"},
        {"TRUSTED_SECRET_HEADER": "X-Secret"},
        {"TRUSTED_SECRET": SECRET},
    ],
    ids=str,
)
def test_settings_that_make_no_sense_trust_nobody(trusted, told, names):
    trusted(**names)
    assert trusted_email(asking(**EVERYTHING, secret="")) is None
    assert {code for code, _ in told} <= {"misconfigured"}


@pytest.mark.parametrize(
    ("version", "email"),
    [
        ((4, 2, 30), None),
        ((5, 2, 12), None),
        ((5, 2, 13), ANN),
        ((6, 0, 0), None),
        ((6, 0, 3), None),
        ((6, 0, 4), ANN),
        ((6, 1, 0), ANN),
    ],
    ids=str,
)
def test_a_django_that_mistakes_underscores_trusts_nobody(
    trusted, monkeypatch, version, email
):
    monkeypatch.setattr(django, "VERSION", (*version, "final", 0))
    trusted()
    assert trusted_email(asking(email=ANN)) == email


# -- the secret ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "secret",
    [
        None,
        "",
        "guess",
        SECRET[:-1],
        f"{SECRET}x",
        f"{SECRET},{SECRET}",
        SECRET.upper(),
    ],
)
def test_without_the_secret_a_header_is_ignored(trusted, told, secret):
    trusted(TRUSTED_SECRET_HEADER="X-Secret", TRUSTED_SECRET=SECRET)
    headers = {} if secret is None else {"secret": secret}
    assert read(asking(**EVERYTHING, **headers)) == [None] * 4
    assert told == [("wrong_secret", "")]


def test_with_the_secret_a_header_is_believed(trusted):
    trusted(TRUSTED_SECRET_HEADER="X-Secret", TRUSTED_SECRET=SECRET)
    assert trusted_email(asking(email=ANN, secret=SECRET)) == ANN
    assert trusted_email(asking("11.0.0.1", email=ANN, secret=SECRET)) is None


def test_the_secret_is_compared_in_constant_time(trusted, monkeypatch):
    compared = []
    monkeypatch.setattr(
        "perfguard.http.trusted_proxy.constant_time_compare",
        lambda given, wanted: compared.append((given, wanted)) or True,
    )
    trusted(TRUSTED_SECRET_HEADER="X-Secret", TRUSTED_SECRET=SECRET)
    assert trusted_email(asking(email=ANN, secret="guess")) == ANN
    assert compared == [("guess", SECRET)]


# -- the address -----------------------------------------------------------------------


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(
    ("given", "email"),
    [
        (ANN, ANN),
        ("Ann@Example.COM", ANN),
        ("a.n+tag@sub.example.co.uk", "a.n+tag@sub.example.co.uk"),
        ("o'brien@example.com", "o'brien@example.com"),
        ("ann@intranet", "ann@intranet"),
        ("ann@xn--bcher-kva.example", "ann@xn--bcher-kva.example"),
        (f"{'x' * 64}@example.com", f"{'x' * 64}@example.com"),
    ],
)
def test_one_plain_address_is_read_in_lower_case(given, email):
    assert trusted_email(asking(email=given)) == email


def test_an_address_may_have_254_octets(trusted):
    domain = ".".join(["x" * 60, "x" * 60, "x" * 60, "x" * 10])
    assert trusted_email(asking(email=f"{'x' * 60}@{domain}"))
    assert code_of(asking(email=f"{'x' * 61}@{domain}")) == "malformed"


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("value", NO_ADDRESS.values(), ids=NO_ADDRESS)
def test_what_is_no_address_is_refused_and_told(told, value):
    assert code_of(asking(email=value)) == "malformed"
    assert told == [("malformed", "")]


@pytest.mark.parametrize("value", NO_ADDRESS.values(), ids=NO_ADDRESS)
def test_what_is_no_address_is_refused_where_other_scripts_are_allowed(trusted, value):
    trusted(TRUSTED_EMAIL_NON_ASCII=True)
    assert code_of(asking(email=value)) == "malformed"


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(
    "value", [f"{ANN},{ANN}", f"{ANN}, bob@example.com", f",{ANN}", f"{ANN},", ","]
)
def test_two_values_are_refused_even_when_they_are_equal(told, value):
    assert code_of(asking(email=value)) == "several_values"
    assert told == [("several_values", "")]


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(
    "value", [*DECEPTIVE.values(), *OTHER_SCRIPTS.values()], ids=ascii
)
def test_other_scripts_are_refused_unless_they_are_allowed(value):
    assert code_of(asking(email=value)) == "malformed"


@pytest.mark.parametrize("value", DECEPTIVE.values(), ids=DECEPTIVE)
def test_what_deceives_the_eye_is_refused_even_then(trusted, value):
    trusted(TRUSTED_EMAIL_NON_ASCII=True)
    assert code_of(asking(email=value)) == "malformed"


@pytest.mark.parametrize("value", OTHER_SCRIPTS.values(), ids=OTHER_SCRIPTS)
def test_other_scripts_are_read_where_they_are_allowed(trusted, value):
    trusted(TRUSTED_EMAIL_NON_ASCII=True)
    assert trusted_email(asking(email=value)) == value


def test_capitals_of_other_scripts_become_small_as_well(trusted):
    trusted(TRUSTED_EMAIL_NON_ASCII=True)
    assert (
        trusted_email(asking(email="JOS\u00c9@example.com"))
        == OTHER_SCRIPTS["an accent"]
    )


def test_a_long_local_part_is_counted_in_octets(trusted):
    trusted(TRUSTED_EMAIL_NON_ASCII=True)
    assert trusted_email(asking(email="\u00e9" * 32 + "@example.com"))
    assert code_of(asking(email="\u00e9" * 33 + "@example.com")) == "malformed"


@pytest.mark.parametrize(
    ("email", "is_allowed"),
    [
        ("ann@example.com", True),
        ("ANN@EXAMPLE.COM", True),
        ("ann@example.org", True),
        ("ann@sub.example.com", False),
        ("ann@notexample.com", False),
        ("ann@example.com.evil.net", False),
        ("example.com@evil.net", False),
    ],
)
def test_only_listed_domains_are_let_in(trusted, email, is_allowed):
    trusted(TRUSTED_EMAIL_DOMAINS=["Example.com", "example.org"])
    request = asking(email=email)
    if is_allowed:
        assert trusted_email(request) == email.lower()
    else:
        assert code_of(request) == "domain"


# -- the name --------------------------------------------------------------------------


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("Ann Smith", "Ann Smith"),
        ("Jos%C3%A9%20Garc%C3%ADa", "Jos\u00e9 Garc\u00eda"),
        ("Jos\u00e9", "Jos\u00e9"),
        ("Jose%CC%81", "Jos\u00e9"),
        ("  Ann  ", "Ann"),
        ("Ann+Smith", "Ann+Smith"),
        ("Smith%2C Ann", "Smith, Ann"),
        (
            "%D8%B9%D9%84%DB%8C%E2%80%8C%D8%B1%D8%B6%D8%A7",
            "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627",
        ),
        ("100%", "100%"),
        ("x" * 150, "x" * 150),
    ],
)
def test_a_name_is_url_decoded(given, name):
    assert trusted_name(asking(email=ANN, name=given)) == name


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(
    "given",
    ["%FF", "Jos\udce9", "a%0Ab", "a%00b", "a%E2%80%AEb", "x" * 151, "%20", "x" * 9000],
)
def test_a_name_that_cannot_be_shown_is_ignored_with_a_reason(given, caplog):
    with caplog.at_level(logging.WARNING):
        assert trusted_name(asking(email=ANN, name=given)) is None
    assert "name header was ignored" in caplog.text


@pytest.mark.usefixtures("trusted")
def test_an_empty_name_is_none():
    assert trusted_name(asking(email=ANN, name="")) is None


# -- groups and role -------------------------------------------------------------------


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(
    ("given", "groups"),
    [
        ("ops", ["ops"]),
        (" ops ,\tdev,, ops", ["ops", "dev"]),
        ("B\u00fcro,Ops", ["B\u00fcro", "Ops"]),
        ("", []),
        (" , ", []),
    ],
)
def test_groups_are_a_list_between_commas(given, groups):
    assert trusted_groups(asking(email=ANN, groups=given)) == groups


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(
    "given",
    ["ops\udce9", "a\x00b", "a\nb", "x" * 8193, ",".join(map(str, range(501)))],
)
def test_a_list_of_groups_that_cannot_be_read_is_refused(told, given):
    assert (
        code_of(asking(email=ANN, groups=given), trusted_groups) == "malformed_groups"
    )
    assert told == [("malformed_groups", "")]


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(
    ("given", "role"),
    [
        ("Admin ", "admin"),
        ("", None),
        ("  ", None),
        ("user,admin", "user,admin"),
        ("\u212aing", "\u212aing"),
        ("\udce9", "\u00e9"),
        ("x" * 1000, "x" * 64),
    ],
)
def test_a_role_is_read_in_lower_case(given, role):
    assert trusted_role(asking(email=ANN, role=given)) == role


# -- whose account ---------------------------------------------------------------------


def test_an_account_is_the_same_whatever_its_case():
    assert same_account(ANN, User(email="Ann@Example.com"))
    assert not same_account(ANN, User(email="bob@example.com"))
    assert not same_account(ANN, AnonymousUser())
    assert not same_account("", User(email=None))


@pytest.mark.parametrize(
    "own", [*DECEPTIVE.values(), *OTHER_SCRIPTS.values()], ids=ascii
)
@pytest.mark.parametrize(
    "email",
    ["ann@example.com", "kim@example.com", "sam@example.com", "finn@example.com"],
)
def test_a_deceptive_account_is_nobody_elses(own, email):
    assert not same_account(email, User(email=own))


@pytest.mark.usefixtures("trusted")
def test_a_user_who_is_not_the_headers_is_refused(told):
    user = User(pk=7, email=ANN)
    check_same_account(asking(email=ANN), user)
    check_same_account(asking(email=ANN.upper()), user)
    check_same_account(asking(), user)
    check_same_account(asking("203.0.113.7", email="bob@example.com"), user)
    told.clear()
    with pytest.raises(InvalidCredential, match="User mismatch") as caught:
        check_same_account(asking(email="bob@example.com"), user)
    assert caught.value.code == "user_mismatch"
    assert told == [("user_mismatch", "7")]


# -- what is told ----------------------------------------------------------------------


@pytest.mark.usefixtures("trusted")
def test_a_request_is_told_once_however_often_it_is_read(told):
    request = asking("203.0.113.7", email=ANN)
    assert trusted_email(request) is trusted_email(Request(request)) is None
    assert told == [("untrusted_peer", "")]


@pytest.mark.usefixtures("trusted")
def test_a_peer_is_logged_once_and_no_flood_of_peers_fills_the_log(caplog):
    for number in range(MOST_WARNINGS + 50):
        for _ in range(2):
            trusted_email(asking(f"203.0.{number // 250}.{number % 250}", email=ANN))
    assert len(caplog.records) == MOST_WARNINGS


@pytest.mark.usefixtures("trusted")
def test_no_log_line_holds_what_a_client_wrote(caplog):
    trusted_email(asking("203.0.113.7", email="planted\nline@example.com"))
    assert "203.0.113.7" in caplog.text
    assert "planted" not in caplog.text


def test_reading_costs_no_query(trusted, django_assert_num_queries, db):
    with django_assert_num_queries(0):
        assert read(asking(**EVERYTHING))
        check_same_account(asking(email=ANN), User(email=ANN))


def test_meta_is_what_servers_make():
    assert meta(email="\u00e9") == {"HTTP_X_EMAIL": "\u00c3\u00a9"}
