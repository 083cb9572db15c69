"""The models of the rooms, where Django looks for them."""

from __future__ import annotations

from perfguard.api_keys.models import ApiKey
from perfguard.audit.models import AuditEntry, AuditSeal
from perfguard.headers.models import CspReport
from perfguard.tokens.models import RevokedToken, TokenGeneration, TokenSession

__all__ = [
    "ApiKey",
    "AuditEntry",
    "AuditSeal",
    "CspReport",
    "RevokedToken",
    "TokenGeneration",
    "TokenSession",
]
