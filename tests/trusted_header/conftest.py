from __future__ import annotations

import pytest

from perfguard.signals import credential_refused

NAMES = {
    "TRUSTED_PROXIES": ["10.0.0.0/8"],
    "TRUSTED_EMAIL_HEADER": "X-Email",
    "TRUSTED_NAME_HEADER": "X-Name",
    "TRUSTED_GROUPS_HEADER": "X-Groups",
    "TRUSTED_ROLE_HEADER": "X-Role",
}


@pytest.fixture
def trusted(perfguard):
    """The feature is on; ``trusted(NAME=value)`` sets more keys."""
    perfguard(**NAMES)
    return perfguard


@pytest.fixture
def told():
    """(code, user_key) of each refusal that was told."""
    refusals = []

    def note(sender, request, kind, code, user_key, **kwargs):
        assert kind == "trusted_header"
        refusals.append((code, user_key))

    credential_refused.connect(note)
    yield refusals
    credential_refused.disconnect(note)
