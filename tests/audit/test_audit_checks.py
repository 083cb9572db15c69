from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from perfguard.audit import checks
from project import env

MIDDLEWARE = [checks.MIDDLEWARE]


def ids(check: Any) -> list[str]:
    return [message.id.removeprefix("perfguard.") for message in check()]


@pytest.mark.parametrize(
    "values",
    [
        {"AUDIT_DATABASE": "elsewhere"},
        {"AUDIT_SINKS": [], "AUDIT_LEVEL": "METADATA"},
        {"AUDIT_PATH_BASES": ["api"]},
        {"AUDIT_DURABILITY": "spool"},
        {"AUDIT_OVERFLOW": "spool"},
        {"AUDIT_SINKS": ["file"]},
        {"AUDIT_SINKS": ["stdout"], "AUDIT_DURABILITY": "sync"},
        {"AUDIT_METHODS": ["PO ST"]},
        {"AUDIT_EXCLUDED_PATHS": ["chat"]},
        {"AUDIT_INCLUDED_PATHS": ["/"]},
        {"AUDIT_ALWAYS_PATHS": [""]},
    ],
    ids=lambda values: "-".join(values),
)
def test_a_wrong_setting_is_named(values: dict[str, Any], perfguard: Any) -> None:
    perfguard(**values)
    (message,) = checks.check_settings()
    assert message.id == "perfguard.E121"
    assert any(name in message.msg for name in values)


def test_good_settings_are_not_remarked_on(
    perfguard: Any, settings: Any, tmp_path: Any
) -> None:
    settings.MIDDLEWARE = MIDDLEWARE
    perfguard(
        AUDIT_LEVEL="REQUEST",
        AUDIT_DURABILITY="spool",
        AUDIT_SPOOL_DIR=str(tmp_path / "new" / "spool"),
        AUDIT_EXCLUDED_PATHS=["/chat"],
        AUDIT_SIGNING_KEY="a key of its own, and long enough for that",
    )
    for check in (*checks.ALL, *checks.DEPLOY):
        assert check() == []


def test_included_and_excluded_paths_together_are_told(perfguard: Any) -> None:
    perfguard(AUDIT_INCLUDED_PATHS=["/a"], AUDIT_EXCLUDED_PATHS=["/b"])
    assert ids(checks.check_paths) == ["W121"]


def test_a_level_without_the_middleware_is_told(perfguard: Any, settings: Any) -> None:
    settings.MIDDLEWARE = []
    perfguard(AUDIT_LEVEL="METADATA")
    assert ids(checks.check_middleware) == ["W122"]
    perfguard(AUDIT_LEVEL="NONE")
    assert ids(checks.check_middleware) == []


def test_times_without_a_zone_are_refused(perfguard: Any, settings: Any) -> None:
    perfguard(AUDIT_LEVEL="METADATA")
    settings.USE_TZ = False
    assert ids(checks.check_time_zone) == ["E122"]
    perfguard(AUDIT_LEVEL="NONE")
    assert ids(checks.check_time_zone) == []


@pytest.mark.parametrize(
    "values",
    [
        {"AUDIT_SIGNING_KEY": "x" * 31},
        {"AUDIT_OLD_SIGNING_KEYS": ["x" * 32, ""]},
    ],
    ids=["new", "old"],
)
def test_a_key_that_can_be_guessed_is_refused(
    values: dict[str, Any], perfguard: Any
) -> None:
    perfguard(**values)
    assert ids(checks.check_key_lengths) == ["E123"]


@pytest.mark.parametrize("mode", [None, "DEFERRED", "immediate"])
def test_transactions_of_sqlite_that_can_be_locked_out_are_told(
    mode: str | None, perfguard: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    perfguard(AUDIT_LEVEL="METADATA")
    database = settings.DATABASES["default"]
    options = {"transaction_mode": mode} if mode else {}
    monkeypatch.setitem(database, "OPTIONS", options)
    assert ids(checks.check_sqlite) == ([] if mode == "immediate" else ["W120"])
    monkeypatch.setitem(database, "ENGINE", "django.db.backends.postgresql")
    assert ids(checks.check_sqlite) == []


def test_a_place_that_cannot_be_written_is_told(perfguard: Any) -> None:
    perfguard(AUDIT_LEVEL="METADATA", AUDIT_SPOOL_DIR="/dev/null/spool")
    assert ids(checks.check_files) == ["W123"]


def test_a_log_that_is_signed_by_the_secret_key_is_told(perfguard: Any) -> None:
    perfguard(AUDIT_LEVEL="METADATA")
    assert ids(checks.check_key) == ["W124"]


@pytest.mark.parametrize(
    ("text", "size"),
    [("", 7), ("10", 10), ("10MB", 10_000_000), ("5 kb", 5000), ("1GB", 10**9)],
)
def test_sizes_are_read_with_their_unit(
    text: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIZE", text)
    assert env.size("SIZE", 7) == size


@pytest.mark.parametrize("text", ["MB", "1.5MB", "10MK", "-1", "0", "ten"])
def test_other_sizes_are_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIZE", text)
    with pytest.raises(ImproperlyConfigured, match="SIZE"):
        env.size("SIZE", 7)
