"""What a header may say, and that the rest is refused by name."""

from __future__ import annotations

import pytest

from perfguard.exceptions import InvalidSetting
from perfguard.headers.permissions import FEATURES
from perfguard.headers.values import OF_THE_ANSWER, read_name, read_value

HSTS = "Strict-Transport-Security"
GOOD = [
    (HSTS, "max-age=31536000", "max-age=31536000"),
    (HSTS, "max-age=1;includeSubDomains", "max-age=1; includeSubDomains"),
    (
        HSTS,
        "max-age=31536000; includeSubDomains; preload",
        "max-age=31536000; includeSubDomains; preload",
    ),
    (HSTS, 'PRELOAD ; Max-Age="7"', "max-age=7; preload"),
    ("X-Content-Type-Options", "NoSniff", "nosniff"),
    ("x-frame-options", "sameorigin", "SAMEORIGIN"),
    (
        "Referrer-Policy",
        "no-referrer,strict-origin-when-cross-origin",
        "no-referrer, strict-origin-when-cross-origin",
    ),
    ("Permissions-Policy", {"camera": []}, "camera=()"),
    ("Permissions-Policy", {"camera": ["self"]}, "camera=(self)"),
    ("Permissions-Policy", {"camera": "*"}, "camera=*"),
    (
        "Permissions-Policy",
        {"usb": ["self", "https://a.example"], "hid": ()},
        'usb=(self "https://a.example"), hid=()',
    ),
    (
        "Permissions-Policy",
        "camera=(),microphone=(self)",
        "camera=(), microphone=(self)",
    ),
    (
        "Permissions-Policy",
        'camera=*, usb=(self "https://a.example")',
        'camera=*, usb=(self "https://a.example")',
    ),
    ("Cache-Control", "no-store,max-age=0", "no-store, max-age=0"),
    ("Cross-Origin-Opener-Policy", "Same-Origin", "same-origin"),
    (
        "Cross-Origin-Embedder-Policy",
        "require-corp; report-to=coep",
        'require-corp; report-to="coep"',
    ),
    ("Cross-Origin-Resource-Policy", "same-site", "same-site"),
    ("Origin-Agent-Cluster", "?0", "?0"),
    ("X-Download-Options", "noopen", "noopen"),
    ("X-Permitted-Cross-Domain-Policies", "by-ftp-filename", "by-ftp-filename"),
    (
        "Reporting-Endpoints",
        'a="/r",b="https://r.example/x"',
        'a="/r", b="https://r.example/x"',
    ),
    ("X-Robots-Tag", "noindex", "noindex"),
    ("X-Latin", "caf\u00e9", "caf\u00e9"),
]
BAD = [
    (HSTS, "includeSubDomains"),
    (HSTS, "max-age=-1"),
    (HSTS, "max-age=1, max-age=2"),
    (HSTS, "max-age=1; max-age=2"),
    (HSTS, "max-age=1; preload; preload"),
    (HSTS, "max-age=1; everything"),
    ("X-Content-Type-Options", "yes"),
    ("X-Frame-Options", "ALLOW-FROM https://a.example"),
    ("Referrer-Policy", "none"),
    ("Permissions-Policy", "none"),
    ("Permissions-Policy", "camera 'self'"),
    ("Permissions-Policy", "camera=(https://a.example)"),
    ("Permissions-Policy", {}),
    ("Permissions-Policy", {"camera": ["'self'"]}),
    ("Permissions-Policy", {"camera": ['https://a.example"), usb=*']}),
    ("Permissions-Policy", {"Camera; x": []}),
    ("Permissions-Policy", {"camera": 7}),
    ("Permissions-Policy", 7),
    ("Cache-Control", "no-stor"),
    ("Cache-Control", "max-age"),
    ("Cache-Control", "no-store=1"),
    ("Cross-Origin-Embedder-Policy", "require"),
    ("Cross-Origin-Opener-Policy", "cross-origin"),
    ("Cross-Origin-Resource-Policy", "none"),
    ("Origin-Agent-Cluster", "1"),
    ("X-Download-Options", "open"),
    ("X-Permitted-Cross-Domain-Policies", "some"),
    ("Reporting-Endpoints", 'csp="http://plain.example"'),
    ("Reporting-Endpoints", "csp=/r"),
    ("X-Odd", ""),
    ("X-Odd", 7),
    ("X-Odd", "a\r\nSet-Cookie: b=c"),
    ("X-Odd", "a\nb"),
    ("X-Odd", "a\x00b"),
    ("X-Odd", "a\x7fb"),
    ("X-Odd", "\u20ac"),
    ("X-Odd", "\ud800"),
]


@pytest.mark.parametrize(("name", "value", "text"), GOOD, ids=range(len(GOOD)))
def test_what_may_be_written(name, value, text):
    assert read_value(name, value) == text


@pytest.mark.parametrize(("name", "value"), BAD, ids=range(len(BAD)))
def test_what_may_not_be_written(name, value):
    with pytest.raises(InvalidSetting):
        read_value(name, value)


@pytest.mark.parametrize("name", sorted(OF_THE_ANSWER))
def test_what_is_not_the_same_on_every_answer_is_no_setting(name):
    with pytest.raises(InvalidSetting, match="not the same"):
        read_name(name.title())


@pytest.mark.parametrize(
    "name", ["", "X Odd", "X-Odd:", "X-Odd\r\n", "X-\u00e9", 7, None]
)
def test_what_is_no_name(name):
    with pytest.raises(InvalidSetting, match="no name"):
        read_name(name)


def test_every_feature_of_the_original_is_known():
    of_the_original = {
        *("accelerometer", "autoplay", "camera", "clipboard-read", "clipboard-write"),
        *("fullscreen", "geolocation", "gyroscope", "magnetometer", "microphone"),
        *("midi", "payment", "picture-in-picture", "sync-xhr", "usb"),
        "xr-spatial-tracking",
    }
    assert of_the_original <= FEATURES
