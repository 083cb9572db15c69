from __future__ import annotations

from typing import Any, ClassVar

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from perfguard.api_keys.answers import NOT_HERE
from perfguard.api_keys.records import ActiveKey


class HasApiKey(BasePermission):
    """Requests that an API key authenticated, and no others."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return isinstance(request.auth, ActiveKey)


class NoApiKey(BasePermission):
    """All requests but those: for what a person does, such as signing out, changing a
    password, or making API keys."""

    # DRF makes the body of it.
    message: ClassVar = {"detail": NOT_HERE.detail, "code": NOT_HERE.code}
    code = NOT_HERE.code

    def has_permission(self, request: Request, view: Any) -> bool:
        return not isinstance(request.auth, ActiveKey)
