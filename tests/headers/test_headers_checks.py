"""Each mistake in the settings is met before it is served."""

from __future__ import annotations

import pytest

from perfguard.headers.checks import ALL, DEPLOY

CSRF = "django.middleware.csrf.CsrfViewMiddleware"

OWN = "perfguard.headers.middleware.SecurityHeadersMiddleware"


@pytest.fixture(autouse=True)
def _alone(settings):
    settings.MIDDLEWARE = [OWN]


def found(checks=ALL):
    return [message for check in checks for message in check()]


def ids(checks=ALL):
    return [each.id.removeprefix("perfguard.") for each in found(checks)]


def test_the_presets_are_without_fault(perfguard):
    for preset in ("strict", "api", "off"):
        perfguard(HEADERS_PRESET=preset)
        assert found() == []


def test_everything_at_once_is_without_fault(perfguard, settings):
    settings.SECURE_CSP = {"default-src": ["'self'"]}
    perfguard(
        HEADERS={"X-Frame-Options": "SAMEORIGIN", "Permissions-Policy": {"usb": []}},
        HEADERS_FORCE=["x-frame-options", "Content-Security-Policy", "X-Own"],
        HEADERS_PATHS=[{"path": "^/", "preset": "api", "headers": {"X-Own": "1"}}],
        HEADERS_REPORT_URL="https://reports.example/csp",
        HEADERS_CLEAR_SITE_DATA=["cache", "storage"],
    )
    assert found() == []


# Each by an invalid value, where the system to match puts another in its place.
OF_THE_ORIGINAL = {
    "Strict-Transport-Security": "for ever",
    "X-Frame-Options": "ALLOWALL",
    "Permissions-Policy": "none",
    "Referrer-Policy": "nothing",
    "Cache-Control": "never",
    "X-Content-Type-Options": "sniff",
    "X-Download-Options": "open",
    "X-Permitted-Cross-Domain-Policies": "some",
    "Cross-Origin-Embedder-Policy": "corp",
    "Cross-Origin-Opener-Policy": "origin",
    "Cross-Origin-Resource-Policy": "site",
    "Reporting-Endpoints": "nowhere",
}


@pytest.mark.parametrize("name", OF_THE_ORIGINAL)
def test_an_invalid_value_is_refused_by_its_name_and_not_replaced(perfguard, name):
    value = OF_THE_ORIGINAL[name]
    perfguard(HEADERS={name: value})
    (error,) = found()
    assert error.id == "perfguard.E501"
    assert name in error.msg
    assert value in error.msg


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Odd", "a\r\nX-Evil: 1"),
        ("X-Odd", "a\x00"),
        ("X-Odd", "\u20ac"),
        ("X-Odd\r\n", "a"),
        ("Set-Cookie", "a=b"),
        (7, "a"),
    ],
    ids=range(6),
)
def test_what_cannot_be_sent_is_an_error(perfguard, name, value):
    perfguard(HEADERS={name: value})
    assert ids() == ["E501"]
    perfguard(HEADERS={}, HEADERS_PATHS=[{"path": "^/", "headers": {name: value}}])
    assert ids() == ["E501"]


def test_clear_site_data_on_every_answer_is_an_error_with_a_hint(perfguard):
    perfguard(HEADERS={"Clear-Site-Data": '"*"'})
    (error,) = found()
    assert "HEADERS_CLEAR_SITE_DATA" in error.hint


def test_a_forced_name_that_nobody_sends(perfguard):
    perfguard(HEADERS_FORCE=["X-Frame-Option"])
    (error,) = found()
    assert error.id == "perfguard.E502"
    assert "x-frame-options" in error.hint


@pytest.mark.parametrize("setting", ["SECURE_CSP", "SECURE_CSP_REPORT_ONLY", "HEADERS"])
def test_a_source_that_begins_another_directive_is_an_error(
    perfguard, settings, setting
):
    policy = {"img-src": ["https://a.example; script-src *"]}
    if setting == "HEADERS":
        perfguard(HEADERS={"Content-Security-Policy": policy})
    else:
        setattr(settings, setting, policy)
    (error,) = found()
    assert error.id == "perfguard.E503"
    assert setting in error.msg
    assert "img-src" in error.msg


@pytest.mark.parametrize(
    "policy", [{"scrpt-src": ["'self'"]}, {"script-src": ["self"]}], ids=range(2)
)
def test_a_doubtful_policy_is_a_warning_that_names_the_directive(settings, policy):
    settings.SECURE_CSP = policy
    (warning,) = found()
    assert warning.id == "perfguard.W501"
    assert next(iter(policy)) in warning.msg


@pytest.mark.parametrize(
    "rule",
    [
        {"path": "("},
        {"path": ""},
        {"path": 7},
        {},
        {"path": "^/", "presets": "api"},
        {"path": "^/", "preset": "none"},
        {"path": "^/", "headers": []},
        7,
    ],
    ids=range(8),
)
def test_a_rule_of_a_path_that_cannot_be_read(perfguard, rule):
    perfguard(HEADERS_PATHS=[rule])
    assert ids() == ["E504"]


@pytest.mark.parametrize("url", ["http://a.example/r", "csp", '/r"', "javascript:x"])
def test_an_address_for_reports_that_is_none(perfguard, url):
    perfguard(HEADERS_REPORT_URL=url)
    assert ids() == ["E505"]


@pytest.mark.parametrize("value", [{"camara": []}, "camara=()"], ids=range(2))
def test_an_unknown_feature_is_a_warning_and_sent(perfguard, value):
    perfguard(HEADERS={"Permissions-Policy": value})
    (warning,) = found()
    assert warning.id == "perfguard.W502"
    assert warning.hint == "Did you mean 'camera'?"


@pytest.mark.parametrize(
    "path",
    [
        "django.middleware.csp.ContentSecurityPolicyMiddleware",
        "csp.middleware.CSPMiddleware",
    ],
)
def test_another_middleware_for_the_policy(settings, path):
    settings.MIDDLEWARE = [OWN, path]
    assert ids() == ["W503"]
    settings.MIDDLEWARE = [path]
    assert ids() == []


def test_settings_that_nobody_reads(perfguard, settings):
    settings.MIDDLEWARE = []
    assert ids() == []
    perfguard(HEADERS={"X-Frame-Options": "DENY"})
    assert ids() == ["W504"]


def test_a_value_that_djangos_middleware_forestalls(perfguard, settings):
    settings.MIDDLEWARE = [OWN, "django.middleware.security.SecurityMiddleware"]
    perfguard(HEADERS={"Referrer-Policy": "strict-origin"})
    (warning,) = found()
    assert warning.id == "perfguard.W505"
    assert "SECURE_REFERRER_POLICY" in warning.hint
    perfguard(HEADERS_FORCE=["Referrer-Policy"])
    assert found() == []
    perfguard(HEADERS={"Referrer-Policy": "same-origin"}, HEADERS_FORCE=[])
    assert found() == []
    perfguard(HEADERS={"Strict-Transport-Security": "max-age=300"})
    assert found() == []
    settings.SECURE_HSTS_SECONDS = 31_536_000
    assert ids() == ["W505"]


@pytest.mark.parametrize(
    "processor",
    ["perfguard.headers.csp.csp", "django.template.context_processors.csp"],
)
def test_a_nonce_that_no_template_can_write(settings, processor):
    settings.TEMPLATES = []
    settings.SECURE_CSP = {"script-src": ["<CSP_NONCE_SENTINEL>"]}
    assert ids() == ["W506"]
    settings.TEMPLATES = [
        {"BACKEND": "x", "OPTIONS": {"context_processors": [processor]}}
    ]
    assert ids() == []


def test_no_referrer_beside_csrf_protection(perfguard, settings):
    perfguard(HEADERS={"Referrer-Policy": "no-referrer"})
    assert ids() == []
    settings.MIDDLEWARE = [OWN, CSRF]
    assert ids() == ["W507"]
    perfguard(HEADERS={"Referrer-Policy": "no-referrer, same-origin"})
    assert ids() == []


def test_a_proxys_header_without_proxies(perfguard, settings):
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert ids(DEPLOY) == ["W508"]
    perfguard(TRUSTED_PROXIES=["10.0.0.5"])
    assert ids(DEPLOY) == []


def test_two_policies(perfguard, settings):
    settings.SECURE_CSP = {"default-src": ["'self'"]}
    perfguard(HEADERS={"Content-Security-Policy": "default-src 'none'"})
    assert ids() == ["W509"]


@pytest.mark.parametrize("value", [7, "text", ["a"], {"a": 7}], ids=range(4))
@pytest.mark.parametrize(
    "name",
    [
        *("HEADERS", "HEADERS_PRESET", "HEADERS_FORCE", "HEADERS_PATHS"),
        *("HEADERS_CLEAR_SITE_DATA", "HEADERS_REPORT_URL"),
    ],
)
def test_a_value_of_a_wrong_type_breaks_no_check(perfguard, name, value):
    perfguard(**{name: value})
    found()
    found(DEPLOY)
