"""The models of the rooms, where Django looks for them."""

from __future__ import annotations

from perfguard.api_keys.models import ApiKey
from perfguard.tokens.models import RevokedToken, TokenGeneration, TokenSession

__all__ = ["ApiKey", "RevokedToken", "TokenGeneration", "TokenSession"]
