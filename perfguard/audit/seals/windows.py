"""Rows in the order of their primary key, of which one window at a time is held.

Not a cursor of the server: it would not survive a pooler that gives each transaction
another connection, and would keep a transaction open for as long as it is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from django.db.models import Model, QuerySet

M = TypeVar("M", bound=Model)


def in_windows(rows: QuerySet[M], size: int) -> Iterator[M]:
    window = list(rows.order_by("pk")[:size])
    while window:
        yield from window
        if len(window) < size:
            return
        window = list(rows.filter(pk__gt=window[-1].pk).order_by("pk")[:size])
