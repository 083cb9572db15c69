"""The admin pages of the rooms, where Django looks for them."""

from __future__ import annotations

from perfguard.api_keys import admin as api_keys_admin
from perfguard.audit import admin as audit_admin
from perfguard.headers import admin as headers_admin
from perfguard.tokens import admin as tokens_admin

__all__ = ["api_keys_admin", "audit_admin", "headers_admin", "tokens_admin"]
