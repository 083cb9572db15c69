"""WhiteNoise's middleware, without a thread for requests of anything else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from whitenoise.middleware import WhiteNoiseMiddleware

from perfguard.http.middleware import GetResponse


class StaticFilesMiddleware(WhiteNoiseMiddleware):
    """As WhiteNoise's own, which knows WSGI alone.

    Under ASGI Django runs such a middleware in a thread, and brings everything further
    in back to the loop from there, at each request. Here a static file alone takes a
    thread, and is sent block by block.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse, **kwargs: Any) -> None:
        super().__init__(get_response, **kwargs)
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        if not self.is_async:
            return super().__call__(request)
        if self.autorefresh or request.path_info in self.files:
            return self._aserve(request)
        return self.get_response(request)

    async def _aserve(self, request: HttpRequest) -> HttpResponseBase:
        path = request.path_info
        find = self.find_file if self.autorefresh else self.files.get
        file = await sync_to_async(find)(path)
        if file is None:
            answer: HttpResponseBase = await self.get_response(request)
            return answer
        response: Any = await sync_to_async(self.serve)(file, request)
        response.streaming_content = _blocks(iter(response.streaming_content))
        return response  # type: ignore[no-any-return]


async def _blocks(blocks: Iterator[bytes]) -> AsyncIterator[bytes]:
    following = sync_to_async(lambda: next(blocks, b""))
    while block := await following():
        yield block
