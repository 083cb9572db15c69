"""Grades by the rules of the HTTP Observatory, of real answers."""

from __future__ import annotations

import json
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.core.management import CommandError, call_command

from perfguard.headers.analysis import ANALYSES, score
from perfguard.headers.observatory import GRADES, MODIFIERS, Score
from perfguard.headers.visits import Page, Unreachable, Visit, visit_project, visit_site
from tests.servers import Gunicorn, free_port

HTTPS, HTTP = "https://site.example/", "http://site.example/"


def visit(body="", cookies=(), route=(HTTP, HTTPS), verified=True, cors=(), **headers):
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    page = Page(HTTPS, 200, [("Content-Type", "text/html"), *named], body)
    return Visit(
        page=page,
        secure=page,
        plain_route=route,
        asked_by_another=Page(HTTPS, 200, list(cors)),
        cookies=cookies,
        is_verified=verified,
    )


def results(**kwargs):
    return score(visit(**kwargs)).results


POLICIES = {
    "default-src 'none'; script-src 'self'": "no-unsafe-default-src-none",
    "default-src 'self'": "no-unsafe",
    "default-src 'self'; style-src 'unsafe-inline'": "unsafe-inline-in-style-src-only",
    "default-src 'self'; img-src http://a.example": (
        "insecure-scheme-in-passive-content-only"
    ),
    "default-src 'self'; script-src 'unsafe-eval'": "unsafe-eval",
    "default-src 'self'; script-src 'unsafe-inline'": "unsafe-inline",
    "default-src 'self'; script-src data:": "unsafe-inline",
    "default-src 'self'; object-src *": "unsafe-inline",
    "script-src 'self'": "unsafe-inline",
    "default-src 'self'; script-src http://a.example": "insecure-scheme",
    "default-src 'none'; script-src 'unsafe-inline' 'nonce-abc'": (
        "no-unsafe-default-src-none"
    ),
    "default-src 'none'; script-src https: 'strict-dynamic' 'nonce-abc'": (
        "no-unsafe-default-src-none"
    ),
    "default-src 'self' 'unsafe-inline', default-src 'self'": "no-unsafe",
}


@pytest.mark.parametrize("policy", POLICIES, ids=range(len(POLICIES)))
def test_policies(policy):
    found = results(Content_Security_Policy=policy)[0]
    assert found == f"csp-implemented-with-{POLICIES[policy]}"


@pytest.mark.parametrize(
    "policy",
    ["img-src a; img-src b", ";", "default-src 'self'; script-src 'strict-dynamic'"],
    ids=range(3),
)
def test_policies_that_cannot_be_read(policy):
    assert results(Content_Security_Policy=policy)[0] == "csp-header-invalid"


GOOD = "sessionid=1; Secure; HttpOnly; SameSite=Lax"
LONG = "max-age=31536000"
COOKIES = [
    ((), "", "not-found"),
    (
        (GOOD, "csrftoken=1; Secure; SameSite=Lax"),
        "",
        "secure-with-httponly-sessions-and-samesite",
    ),
    ((GOOD, "a=1; Secure"), "", "secure-with-httponly-sessions"),
    (("a=1; SameSite=Lax",), LONG, "without-secure-flag-but-protected-by-hsts"),
    (("a=1; SameSite=Lax",), "", "without-secure-flag"),
    (
        ("sessionid=1; HttpOnly",),
        LONG,
        "session-without-secure-flag-but-protected-by-hsts",
    ),
    (("sessionid=1; HttpOnly",), "", "session-without-secure-flag"),
    (("sessionid=1; Secure",), "", "session-without-httponly-flag"),
    (("csrftoken=1; Secure",), "", "anticsrf-without-samesite-flag"),
    (("a=1; Secure; SameSite=Loose",), "", "samesite-flag-invalid"),
    (("a=1; SameSite=None",), LONG, "samesite-flag-invalid"),
]


@pytest.mark.parametrize(("cookies", "hsts", "name"), COOKIES, ids=range(len(COOKIES)))
def test_cookies(cookies, hsts, name):
    headers = {"Strict_Transport_Security": hsts} if hsts else {}
    assert f"cookies-{name}" in results(cookies=cookies, **headers)


ROUTES = [
    ((HTTP, HTTPS), "to-https"),
    ((), "not-needed-no-http"),
    ((HTTP,), "missing"),
    ((HTTP, "http://a.example/"), "not-to-https"),
    ((HTTP, HTTP + "x", HTTPS), "not-to-https-on-initial-redirection"),
    ((HTTP, "https://a.example/"), "off-host-from-http"),
]


@pytest.mark.parametrize(("route", "name"), ROUTES, ids=range(len(ROUTES)))
def test_redirections(route, name):
    assert f"redirection-{name}" in results(route=route)


def script(address, integrity=""):
    return f'<script src="{address}"{integrity and " integrity=sha384-x"}></script>'


NEAR = "https://static.site.example/a.js"
SCRIPTS = [
    ("", "not-implemented-but-no-scripts-loaded"),
    (script("/a.js"), "not-implemented-but-all-scripts-loaded-from-secure-origin"),
    (script("/a.js", "x"), "implemented-and-all-scripts-loaded-securely"),
    (
        script(NEAR),
        "not-implemented-but-all-scripts-loaded-from-secure-origin",
    ),
    (
        script("https://cdn.test/a.js", "x"),
        "implemented-and-external-scripts-loaded-securely",
    ),
    (
        script("https://cdn.test/a.js"),
        "not-implemented-but-external-scripts-loaded-securely",
    ),
    (
        script("http://cdn.test/a.js", "x"),
        "implemented-but-external-scripts-not-loaded-securely",
    ),
    (
        script("//cdn.test/a.js"),
        "not-implemented-and-external-scripts-not-loaded-securely",
    ),
]


@pytest.mark.parametrize(("body", "name"), SCRIPTS, ids=range(len(SCRIPTS)))
def test_scripts(body, name):
    assert f"sri-{name}" in results(body=body)


SINGLE = [
    ({"Referrer_Policy": "unsafe-url, same-origin"}, "referrer-policy-private"),
    ({"Referrer_Policy": "unsafe-url"}, "referrer-policy-unsafe"),
    ({"Referrer_Policy": "what"}, "referrer-policy-header-invalid"),
    ({}, "referrer-policy-not-implemented"),
    (
        {"Strict_Transport_Security": LONG},
        "hsts-implemented-max-age-at-least-six-months",
    ),
    (
        {"Strict_Transport_Security": "max-age=9"},
        "hsts-implemented-max-age-less-than-six-months",
    ),
    ({"Strict_Transport_Security": "preload"}, "hsts-header-invalid"),
    ({}, "hsts-not-implemented"),
    ({"verified": False}, "hsts-invalid-cert"),
    ({"verified": False}, "redirection-invalid-cert"),
    ({"X_Content_Type_Options": "nosniff"}, "x-content-type-options-nosniff"),
    ({"X_Content_Type_Options": "x"}, "x-content-type-options-header-invalid"),
    ({}, "x-content-type-options-not-implemented"),
    (
        {"Content_Security_Policy": "frame-ancestors 'none'"},
        "x-frame-options-implemented-via-csp",
    ),
    ({"X_Frame_Options": "deny"}, "x-frame-options-sameorigin-or-deny"),
    ({"X_Frame_Options": "ALLOW-FROM a"}, "x-frame-options-allow-from-origin"),
    ({"X_Frame_Options": "x"}, "x-frame-options-header-invalid"),
    ({}, "x-frame-options-not-implemented"),
    (
        {"Cross_Origin_Resource_Policy": "same-site"},
        "cross-origin-resource-policy-implemented-with-same-site",
    ),
    (
        {"Cross_Origin_Resource_Policy": "x"},
        "cross-origin-resource-policy-header-invalid",
    ),
    ({}, "cross-origin-resource-policy-not-implemented"),
    ({}, "cross-origin-resource-sharing-not-implemented"),
    (
        {"cors": [("Access-Control-Allow-Origin", "*")]},
        "cross-origin-resource-sharing-implemented-with-public-access",
    ),
    (
        {"cors": [("Access-Control-Allow-Origin", "https://a")]},
        "cross-origin-resource-sharing-implemented-with-restricted-access",
    ),
    (
        {
            "cors": [
                ("Access-Control-Allow-Origin", "https://observatory.example"),
                ("Access-Control-Allow-Credentials", "true"),
            ]
        },
        "cross-origin-resource-sharing-implemented-with-universal-access",
    ),
]


@pytest.mark.parametrize(("headers", "name"), SINGLE, ids=range(len(SINGLE)))
def test_single_headers(headers, name):
    assert name in results(**headers)


def test_every_result_is_in_the_table_and_each_analysis_gives_one():
    assert len(results()) == len(ANALYSES)
    assert set(results()) <= set(MODIFIERS)


def test_bonuses_count_from_90_upward():
    bonus = ["cross-origin-resource-policy-implemented-with-same-origin"]
    assert (
        Score([*bonus, "hsts-implemented-max-age-less-than-six-months"]).points == 100
    )
    below = [*bonus, "cookies-session-without-secure-flag-but-protected-by-hsts"]
    assert Score([*below, "x-content-type-options-not-implemented"]).points == 85
    assert Score(["csp-not-implemented"] * 9).points == 0


@pytest.mark.parametrize(
    ("points", "grade"),
    [(100, "A+"), (95, "A"), (90, "A"), (85, "A-"), (75, "B"), (65, "B-"), (5, "F")],
)
def test_grades(points, grade):
    assert next(name for least, name in GRADES if points >= least) == grade


@pytest.mark.django_db
def test_a_path_of_the_project_is_graded_without_a_server(stack, settings, capsys):
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = True
    settings.SECURE_SSL_REDIRECT = True
    command = ["perfguard_headers", "--score", "/admin/login/"]
    call_command(*command, "--json", "--min-grade", "A+")
    found = json.loads(capsys.readouterr().out)
    assert found["grade"] == "A+"
    assert found["score"] == sum(found["results"].values()) + 100
    assert "redirection-to-https" in found["results"]
    settings.MIDDLEWARE = [it for it in settings.MIDDLEWARE if "headers" not in it]
    with pytest.raises(CommandError, match="lower than B"):
        call_command(*command, "--min-grade", "B")
    assert "csp-not-implemented" in capsys.readouterr().out


def test_the_command_prints_what_is_sent_and_why(perfguard, capsys):
    perfguard(
        HEADERS={"X-Frame-Options": "SAMEORIGIN", "Origin-Agent-Cluster": None},
        HEADERS_PATHS=[{"path": "^/api/", "preset": "api"}],
    )
    call_command("perfguard_headers")
    text = capsys.readouterr().out
    assert "X-Frame-Options: SAMEORIGIN  (HEADERS)" in text
    assert "Origin-Agent-Cluster" not in text
    call_command("perfguard_headers", "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["*"]["X-Frame-Options"] == "SAMEORIGIN"
    policy = found["^/api/"]["Content-Security-Policy"]
    assert policy == "default-src 'none'; frame-ancestors 'none'"


@pytest.mark.parametrize(
    "address",
    ["nowhere", "ftp://a.example/", "https://", "http://[::1", "https://a:x/"],
)
def test_what_is_no_address_is_said(address):
    with pytest.raises(CommandError):
        call_command("perfguard_headers", "--score", address)


def test_a_grade_without_an_address_is_said():
    with pytest.raises(CommandError, match="--score"):
        call_command("perfguard_headers", "--min-grade", "A")


def test_nobody_at_home_is_said():
    with pytest.raises(Unreachable, match="Nobody answers"):
        visit_site(f"http://127.0.0.1:{free_port()}/")
    with pytest.raises(Unreachable):
        visit_project("no-slash")


def certificate(folder):
    """Of 127.0.0.1, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "perfguard tests")])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder(
            name, name, key.public_key(), x509.random_serial_number()
        )
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(signed.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            pem,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


@pytest.fixture(scope="module")
def over_tls(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    certificate(folder)
    own = {
        "DJANGO_SETTINGS_MODULE": "tests.headers.headers_settings",
        "HTTPS": "true",
        "GUNICORN_CMD_ARGS": f"--certfile {folder}/cert.pem --keyfile {folder}/key.pem",
        "SSL_CERT_FILE": f"{folder}/cert.pem",
    }
    with Gunicorn(folder / "db.sqlite3", **own) as server:
        server.folder = folder
        yield server


def test_the_demo_over_tls_has_the_best_grade(over_tls):
    address = f"https://127.0.0.1:{over_tls.port}/admin/login/"
    command = ["perfguard_headers", "--score", address, "--min-grade", "A+", "--json"]
    found = json.loads(over_tls.manage(*command))
    assert found["grade"] == "A+"
    assert found["status"] == 200
    assert found["score"] >= 130
    assert min(found["results"].values()) == 0
    assert "hsts-implemented-max-age-at-least-six-months" in found["results"]


def test_the_way_to_the_page_is_followed(over_tls):
    trusted = ssl.create_default_context(cafile=over_tls.folder / "cert.pem")
    found = visit_site(f"https://127.0.0.1:{over_tls.port}/admin/", trusted)
    assert "/admin/login/" in found.page.url
    assert found.secure.status == 302
    assert found.secure.first("strict-transport-security")


def test_a_certificate_that_nobody_vouches_for_costs_points(over_tls):
    found = visit_site(f"https://127.0.0.1:{over_tls.port}/admin/login/")
    assert not found.is_verified
    assert "hsts-invalid-cert" in score(found).results


def test_a_site_without_tls_costs_points(over_tls, tmp_path):
    own = {"DJANGO_SETTINGS_MODULE": "tests.headers.headers_settings"}
    with Gunicorn(tmp_path / "db.sqlite3", **own) as server:
        found = score(visit_site(f"{server.url}/plain"))
    assert "hsts-not-implemented-no-https" in found.results
    assert "redirection-missing" in found.results
