"""What a view may say about the compression of its responses.

For functions, sync and async, and for classes by
``method_decorator(no_compression, name="dispatch")``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from inspect import isawaitable
from typing import Any, TypeVar, cast

from asgiref.sync import iscoroutinefunction

from perfguard.compression.codecs import LEVELS
from perfguard.exceptions import InvalidSetting

View = TypeVar("View", bound=Callable[..., Any])


def no_compression(view: View) -> View:
    """Never compress what the view returns: it holds a secret next to something that
    whoever sends the request chose."""
    return _marking(view, "no_compression", True)


def compression_levels(**levels: int) -> Callable[[View], View]:
    """Levels for the responses of one view, as in ``compression_levels(br=11)``: high
    ones for what is kept in a cache, low ones for what is large.

    Raises ``InvalidSetting`` for a coding or a level that there is not.
    """
    for coding, level in levels.items():
        if level not in LEVELS.get(coding, ()):
            raise InvalidSetting(
                f"compression_levels({coding}={level!r}): write a level of "
                + ", ".join(f"{name} {r[0]} to {r[-1]}" for name, r in LEVELS.items())
                + "."
            )
    return lambda view: _marking(view, "compression_levels", levels)


def _marking(view: View, name: str, value: object) -> View:
    def marked(response: Any) -> Any:
        setattr(response, name, value)
        return response

    async def amarked(response: Awaitable[Any]) -> Any:
        return marked(await response)

    @wraps(view)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        response = view(*args, **kwargs)
        # ``dispatch`` of an async class is a plain method.
        return amarked(response) if isawaitable(response) else marked(response)

    @wraps(view)
    async def awrapped(*args: Any, **kwargs: Any) -> Any:
        return marked(await view(*args, **kwargs))

    return cast("View", awrapped if iscoroutinefunction(view) else wrapped)
