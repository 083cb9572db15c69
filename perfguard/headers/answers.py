"""Decorators that leave a mark on the answer of a view, whatever kind of view it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from inspect import isawaitable
from typing import Any, TypeVar, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction

View = TypeVar("View", bound=Callable[..., Any])


def on_answer(act: Callable[[Any], object]) -> Callable[[View], View]:
    """For functions, sync and async, for ``as_view()``, and for methods by
    ``method_decorator``, whose view may return a coroutine without being one."""

    def decorator(view: View) -> View:
        @wraps(view)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            answer = view(*args, **kwargs)
            if isawaitable(answer):
                return _later(answer, act)
            act(answer)
            return answer

        if iscoroutinefunction(view):
            markcoroutinefunction(wrapped)
        return cast(View, wrapped)

    return decorator


async def _later(answer: Awaitable[Any], act: Callable[[Any], object]) -> Any:
    response = await answer
    act(response)
    return response
