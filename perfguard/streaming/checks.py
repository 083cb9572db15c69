from __future__ import annotations

from collections.abc import Callable

from django.core.checks import CheckMessage

Check = Callable[..., list[CheckMessage]]

ALL: tuple[Check, ...] = ()
DEPLOY: tuple[Check, ...] = ()
