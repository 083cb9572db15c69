from __future__ import annotations

from typing import Any

import pytest

from perfguard.redaction import checks


@pytest.mark.parametrize(
    "values",
    [
        {"REDACTED_PATTERNS": ["("]},
        {"REDACTED_PATTERNS": ["(a+)+$"]},
        {"REDACTED_PATTERNS": ["x*"]},
        {"REDACTED_NAMES": ["--"]},
    ],
    ids=["syntax", "nested", "empty", "name"],
)
def test_what_would_redact_nothing_or_take_for_ever_is_named(
    values: dict[str, Any], perfguard: Any
) -> None:
    perfguard(**values)
    (message,) = checks.check_settings()
    assert message.id == "perfguard.E111"
    assert all(name in message.msg for name in values)


def test_good_ones_are_not_remarked_on(perfguard: Any) -> None:
    perfguard(REDACTED_PATTERNS=[r"\bPAT-[0-9]{8}\b"], REDACTED_NAMES=["tax_id"])
    assert checks.check_settings() == []
