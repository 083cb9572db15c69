"""The order of the middleware, and why each stands where it does."""

from __future__ import annotations
