from __future__ import annotations

import re

import pytest

from perfguard.cors_checks import check_credentials, check_ends

ANYBODY = [
    {"CORS_ALLOW_ALL_ORIGINS": True},
    {"CORS_ORIGIN_ALLOW_ALL": True},
    {"CORS_ALLOWED_ORIGINS": ["https://app.example.com", "null"]},
    {"CORS_ALLOWED_ORIGIN_REGEXES": [r".*"]},
    {"CORS_ALLOWED_ORIGIN_REGEXES": [r"^https?://.*$"]},
    {"CORS_ALLOWED_ORIGIN_REGEXES": [re.compile(r"^http")]},
    {"CORS_ALLOWED_ORIGIN_REGEXES": [r"^https://.*$"]},
    {"CORS_ALLOWED_ORIGIN_REGEXES": [r"^https://[\w-]+\.[\w.]+$"]},
]


@pytest.mark.parametrize("values", ANYBODY, ids=str)
def test_everybody_with_credentials_is_refused(settings, values):
    for name, value in values.items():
        setattr(settings, name, value)
    settings.CORS_ALLOW_CREDENTIALS = False
    assert check_credentials() == []
    settings.CORS_ALLOW_CREDENTIALS = True
    (message,) = check_credentials()
    assert message.id == "perfguard.E905"
    assert next(iter(values)) in message.msg


def test_origins_that_are_listed_may_have_credentials(settings):
    settings.CORS_ALLOW_CREDENTIALS = True
    settings.CORS_ALLOWED_ORIGINS = ["https://app.example.com"]
    settings.CORS_ALLOWED_ORIGIN_REGEXES = [r"^https://\w+\.example\.com$", "("]
    assert check_credentials() == check_ends() == []


def test_an_expression_without_an_end(settings):
    settings.CORS_ALLOWED_ORIGIN_REGEXES = [r"https://app\.example\.com"]
    assert [each.id for each in check_ends()] == ["perfguard.W902"]
    settings.INSTALLED_APPS = [
        each for each in settings.INSTALLED_APPS if each != "corsheaders"
    ]
    settings.CORS_ALLOW_ALL_ORIGINS = settings.CORS_ALLOW_CREDENTIALS = True
    assert check_credentials() == []


def test_settings_that_are_no_lists_break_no_check(settings):
    settings.CORS_ALLOW_CREDENTIALS = True
    settings.CORS_ALLOWED_ORIGINS = settings.CORS_ALLOWED_ORIGIN_REGEXES = None
    assert check_credentials() == check_ends() == []
    settings.CORS_ALLOWED_ORIGIN_REGEXES = [b"x", 7]
    assert check_credentials() == check_ends() == []
