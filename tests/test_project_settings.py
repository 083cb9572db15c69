"""The environment names of the system to match, and their older spellings."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.servers import ROOT, clean_environment

PRINT = (
    "import json; from project import settings;"
    "print(json.dumps(settings.PERFGUARD, default=list))"
)


def settings_of(**environment):
    done = subprocess.run(
        [sys.executable, "-c", PRINT],
        cwd=ROOT,
        env={**clean_environment(), "SECRET_KEY": "x" * 60, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("plural", ["S", ""])
def test_both_spellings_of_the_restriction_of_api_keys(plural):
    read = settings_of(
        **{
            f"ENABLE_API_KEY{plural}_ENDPOINT_RESTRICTIONS": "true",
            f"API_KEY{plural}_ALLOWED_ENDPOINTS": " /api/v1/notes , ,/api/v1/public",
            f"ENABLE_API_KEY{plural}": "false",
        }
    )
    assert read["API_KEYS_ENDPOINT_RESTRICTIONS"] is True
    assert read["API_KEYS_ALLOWED_ENDPOINTS"] == ["/api/v1/notes", "/api/v1/public"]
    assert read["API_KEYS_ENABLED"] is False


def test_lifetimes_keys_and_the_trusted_header():
    read = settings_of(
        JWT_EXPIRES_IN="1d12h",
        JWT_KEY_ID="new",
        JWT_OLD_KEYS="=the first,old=the second",
        WEBUI_AUTH_TRUSTED_EMAIL_HEADER="X-Email",
        DEFAULT_USER_ROLE="pending",
    )
    assert read["TOKEN_ACCESS_LIFETIME"] == "1d12h"
    assert read["TOKEN_OLD_KEYS"] == {"": "the first", "old": "the second"}
    assert read["TRUSTED_EMAIL_HEADER"] == "X-Email"
    assert read["TRUSTED_DEFAULT_ROLE"] == "pending"


def test_nothing_of_a_header_is_set_without_its_name():
    assert not any("TRUSTED_EMAIL" in each for each in settings_of())


def test_a_list_of_keys_that_cannot_be_read_is_refused_without_showing_it():
    done = subprocess.run(
        [sys.executable, "-c", PRINT],
        cwd=ROOT,
        env={**clean_environment(), "SECRET_KEY": "x", "JWT_OLD_KEYS": "sesame"},
        capture_output=True,
        text=True,
    )
    assert "JWT_OLD_KEYS: write id=key" in done.stderr
    assert "sesame" not in done.stderr


def refused(**environment):
    """The last line of what the start says."""
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env={**clean_environment(), "SECRET_KEY": "x" * 60, **environment},
        capture_output=True,
        text=True,
    )
    return done.stderr.strip() if done.returncode else ""


CORS = {
    "a path": {"CORS_ALLOW_ORIGIN": "https://a.test/"},
    "no scheme": {"CORS_ALLOW_ORIGIN": "a.test"},
    "another scheme": {"CORS_ALLOW_ORIGIN": "app://a.test"},
    "all and one": {"CORS_ALLOW_ORIGIN": "*;https://a.test"},
}


@pytest.mark.parametrize("environment", CORS.values(), ids=CORS.keys())
def test_an_origin_that_is_none_stops_the_start(environment):
    assert "CORS_ALLOW_ORIGIN has" in refused(**environment)


def test_origins_of_a_scheme_of_ones_own():
    origins = "app://a.test;https://b.test"
    assert not refused(CORS_ALLOW_ORIGIN=origins, CORS_ALLOW_CUSTOM_SCHEME="app;x")


def test_all_origins_with_credentials_stop_the_start():
    text = refused(CORS_ALLOW_ORIGIN="*", CORS_ALLOW_CREDENTIALS="true")
    assert "perfguard.E905" in text
    assert not refused(CORS_ALLOW_ORIGIN="*")


def test_sessions_in_redis_need_a_redis():
    assert "set REDIS_URL" in refused(ENABLE_STAR_SESSIONS_MIDDLEWARE="true")
    assert not refused(
        ENABLE_STAR_SESSIONS_MIDDLEWARE="true", REDIS_URL="redis://127.0.0.1:1/0"
    )


def test_the_audit_log_by_the_names_that_operators_know():
    read = settings_of(
        AUDIT_LOG_LEVEL="request_response",
        ENABLE_AUDIT_GET_REQUESTS="true",
        AUDIT_EXCLUDED_PATHS="/chats, /folders",
        AUDIT_INCLUDED_PATHS="/notes",
        MAX_BODY_LOG_SIZE="100",
        AUDIT_LOGS_FILE_PATH="/var/log/audit.log",
        AUDIT_LOG_FILE_ROTATION_SIZE="5MB",
        ENABLE_AUDIT_STDOUT="true",
    )
    assert read["AUDIT_LEVEL"] == "REQUEST_RESPONSE"
    assert "GET" in read["AUDIT_METHODS"]
    assert read["AUDIT_EXCLUDED_PATHS"] == ["/chats", "/folders"]
    assert read["AUDIT_INCLUDED_PATHS"] == ["/notes"]
    assert read["AUDIT_BODY_BYTES"] == 100
    assert read["AUDIT_SINKS"] == ["database", "file", "stdout"]
    assert read["AUDIT_FILE_PATH"] == "/var/log/audit.log"
    assert read["AUDIT_FILE_BYTES"] == 5_000_000
    assert settings_of()["AUDIT_SINKS"] == ["database"]
    assert settings_of(ENABLE_AUDIT_LOGS_FILE="true")["AUDIT_FILE_PATH"]
