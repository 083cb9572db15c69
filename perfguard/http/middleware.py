"""Middleware whose behaviour is written once, for sync and async."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from typing import Any, ClassVar

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import HttpRequest
from django.http.response import HttpResponseBase

GetResponse = Callable[[HttpRequest], Any]


class Middleware:
    """``before`` may answer in place of the view; ``after`` sees every answer that
    came from further in. A hook that waits is named in ``blocking`` and runs in a
    thread under ASGI; the others run on the loop.
    """

    sync_capable = True
    async_capable = True
    blocking: ClassVar[AbstractSet[str]] = frozenset()

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)
        self._abefore = self._awaitable("before")
        self._aafter = self._awaitable("after")

    def before(self, request: HttpRequest) -> HttpResponseBase | None:
        return None

    def after(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        return response

    def __call__(self, request: HttpRequest) -> Any:
        if self.is_async:
            return self.__acall__(request)
        response = self.before(request)
        if response is None:
            response = self.after(request, self.get_response(request))
        return response

    async def __acall__(self, request: HttpRequest) -> Any:
        # A hook that does not wait is called as it is: awaiting it costs twice as much.
        response: Any
        if self._abefore is None:
            response = self.before(request)
        else:
            response = await self._abefore(request)
        if response is None:
            response = await self.get_response(request)
            if self._aafter is None:
                response = self.after(request, response)
            else:
                response = await self._aafter(request, response)
        return response

    def _awaitable(self, name: str) -> Callable[..., Awaitable[Any]] | None:
        """None: the hook runs on the loop."""
        own: Callable[..., Awaitable[Any]] | None = getattr(self, f"a{name}", None)
        if own is not None:
            return own  # a hook that knows a better way to wait than a thread
        return sync_to_async(getattr(self, name)) if name in self.blocking else None
