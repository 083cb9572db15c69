"""Libraries that are used where they are installed, each tried in this one place."""

from __future__ import annotations

from typing import Any

orjson: Any  # None where it is not installed
try:
    import orjson
except ImportError:
    orjson = None
