from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from perfguard.api_keys import checks

pytestmark = pytest.mark.urls("tests.api_keys.urls_api_keys")


def found():
    messages = [message for check in checks.ALL for message in check()]
    return [message.id.removeprefix("perfguard.") for message in messages]


def test_the_defaults_are_well(perfguard):
    perfguard()
    assert found() == []


@pytest.mark.parametrize(
    ("given", "ids"),
    [
        ({"API_KEYS_PREFIX": ""}, ["E301"]),
        ({"API_KEYS_PREFIX": "a"}, ["E301"]),
        ({"API_KEYS_PREFIX": "Pgk"}, ["E301"]),
        ({"API_KEYS_PREFIX": "p_k"}, ["E301"]),
        ({"API_KEYS_PREFIX": "eyJ"}, ["E301"]),
        ({"API_KEYS_PREFIX": "shop2"}, []),
        ({"API_KEYS_MAX_LIFETIME": "1month"}, ["E303"]),
        ({"API_KEYS_MAX_LIFETIME": "90d"}, []),
        ({"API_KEYS_ROTATION_OVERLAP": "0"}, ["E303"]),
        ({"API_KEYS_ROTATION_OVERLAP": "-1"}, ["E303"]),
        ({"API_KEYS_HEADER": "X-API-Key"}, []),
        ({"API_KEYS_HEADER": "Authorization"}, ["E304"]),
        ({"API_KEYS_HEADER": "cookie"}, ["E304"]),
        ({"API_KEYS_HEADER": "X_API_Key"}, ["E304"]),
        ({"API_KEYS_HEADER": "X-API-Key:"}, ["E304"]),
        ({"API_KEYS_PEPPER": "salt"}, ["W302"]),
        ({"API_KEYS_PEPPER": "x" * 32}, []),
        ({"API_KEYS_ENDPOINT_RESTRICTIONS": True}, ["W301"]),
        ({"API_KEYS_ALLOWED_ENDPOINTS": ["/api/v1/chats"]}, ["W303"]),
        ({"API_KEYS_CACHE_SECONDS": "soon"}, []),  # E002 says so
    ],
)
def test_each_mistake_is_found(perfguard, given, ids):
    perfguard(**given)
    assert found() == ids


@pytest.mark.parametrize(
    ("entry", "ids"),
    [
        ("/api/v1/chats", []),
        ("/api/v1/chats/", []),
        ("/", []),
        ("/api/models/a/b", []),
        ("", ["E302"]),
        (" ", ["E302"]),
        ("api/v1/chats", ["E302"]),
        ("/api//v1", ["E302"]),
        ("/api/../v1", ["E302"]),
        ("/api/v1/chat", ["W304"]),
        ("/nowhere", ["W304"]),
    ],
)
def test_each_endpoint_is_looked_at(perfguard, entry, ids):
    perfguard(API_KEYS_ENDPOINT_RESTRICTIONS=True, API_KEYS_ALLOWED_ENDPOINTS=[entry])
    assert found() == ids


def test_without_a_url_configuration_nothing_is_compared_with_it(perfguard, settings):
    perfguard(
        API_KEYS_ENDPOINT_RESTRICTIONS=True, API_KEYS_ALLOWED_ENDPOINTS=["/nowhere"]
    )
    del settings.ROOT_URLCONF
    assert found() == []


def test_no_message_shows_the_pepper(perfguard):
    perfguard(API_KEYS_PEPPER="short-pepper")
    (message,) = checks.check_pepper()
    assert "short-pepper" not in f"{message.msg} {message.hint}"


def test_every_id_is_listed_once_and_used():
    source = Path(checks.__file__).read_text()
    listed = re.findall(r"perfguard\.[EW]\d{3}", ast.get_docstring(ast.parse(source)))
    used = re.findall(r'id="(perfguard\.[EW]\d{3})"', source)
    assert sorted(listed) == sorted(set(used))
    assert len(listed) == len(set(listed))
