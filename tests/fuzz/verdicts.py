"""What every answer must be, whatever was asked."""

from __future__ import annotations

import json

JSON = {"application/json", "application/problem+json"}


def verdict(method, status, headers, content):
    """What is wrong with an answer; nothing, if it is as it should be."""
    if status >= 500:
        return f"{status}: {content[:500]!r}"
    if status == 401 and not headers.get("WWW-Authenticate"):
        return "401 without a challenge"
    if status >= 400 and method != "HEAD" and not has_reason(headers, content):
        kind = headers.get("Content-Type")
        return f"{status} without a reason: {kind} {content[:200]!r}"
    return ""


def has_reason(headers, content):
    if headers.get("Content-Type", "").partition(";")[0] not in JSON:
        return False
    try:
        body = json.loads(content)
    except ValueError:
        return False
    return bool(body) and isinstance(body, dict | list)
