"""The ASGI door: WebSockets are guarded before anything inside sees them."""

from __future__ import annotations
