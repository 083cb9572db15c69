"""Django's own middleware under ASGI, without a thread for what does not wait.

``MiddlewareMixin`` runs each hook in a thread: a request through Django's default stack
takes 13 of them, one after the other, whatever they do. Most of these hooks look at a
header. The handler here runs those on the loop, and the others as Django does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any

import django
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.base import BaseHandler
from django.http import HttpRequest
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.common import CommonMiddleware
from django.middleware.csrf import CsrfViewMiddleware
from django.middleware.security import SecurityMiddleware

Waits = Callable[[HttpRequest], bool]  # whether a hook may wait for something


def never(request: HttpRequest) -> bool:
    return False


def for_the_session(request: HttpRequest) -> bool:
    """To save it, at the end of a request that has changed it."""
    session = getattr(request, "session", None)
    return session is None or bool(
        session.modified or settings.SESSION_SAVE_EVERY_REQUEST
    )


def for_messages(request: HttpRequest) -> bool:
    """To store what was added, and to forget what was read: maybe in the session."""
    storage = getattr(request, "_messages", None)
    return storage is None or storage.used or storage.added_new


def for_the_token(request: HttpRequest) -> bool:
    """A CSRF token that is kept in the session."""
    return bool(settings.CSRF_USE_SESSIONS)


def for_the_body(request: HttpRequest) -> bool:
    """A form, in which the CSRF token is looked for."""
    safe = request.method in {"GET", "HEAD", "OPTIONS", "TRACE"}
    return not safe or bool(settings.CSRF_USE_SESSIONS)


HOOKS: Mapping[Any, Waits] = MappingProxyType(
    {
        SecurityMiddleware.process_request: never,
        SecurityMiddleware.process_response: never,
        SessionMiddleware.process_request: never,
        SessionMiddleware.process_response: for_the_session,
        CommonMiddleware.process_request: never,
        CommonMiddleware.process_response: never,
        CsrfViewMiddleware.process_request: for_the_token,
        CsrfViewMiddleware.process_view: for_the_body,
        CsrfViewMiddleware.process_response: for_the_token,
        AuthenticationMiddleware.process_request: never,
        MessageMiddleware.process_request: never,
        MessageMiddleware.process_response: for_messages,
        XFrameOptionsMiddleware.process_response: never,
    }
)
CLASSES = frozenset(
    {
        SecurityMiddleware,
        SessionMiddleware,
        CommonMiddleware,
        CsrfViewMiddleware,
        AuthenticationMiddleware,
        MessageMiddleware,
        XFrameOptionsMiddleware,
    }
)


class OnTheLoop(BaseHandler):
    """A handler that runs the hooks of ``HOOKS`` on the loop.

    Of Django's own classes: what inherits from one may wait in anything that it has
    overridden, and takes its threads.
    """

    def adapt_method_mode(self, is_async: bool, method: Any, *args: Any, **kwargs: Any):  # type: ignore[no-untyped-def]
        # Each middleware passes here, in the wrapper that makes errors answers, before
        # the one outside of it is made; and each process_view.
        middleware = getattr(method, "__wrapped__", None)
        if getattr(middleware, "async_mode", False):
            _quicken(middleware)
        if is_async and _is_known(method):
            return _awaitable(method)
        return super().adapt_method_mode(is_async, method, *args, **kwargs)


class LoopHandler(OnTheLoop, ASGIHandler):
    """Django's handler for ASGI, with fewer threads."""


def get_asgi_application() -> LoopHandler:
    """As Django's function of that name."""
    django.setup(set_prefix=False)
    return LoopHandler()


def _quicken(middleware: Any) -> None:
    if type(middleware) not in CLASSES:
        return
    before = getattr(middleware, "process_request", None)
    after = getattr(middleware, "process_response", None)
    abefore = before and _awaitable(before)
    aafter = after and _awaitable(after)

    # What MiddlewareMixin.__acall__ does.
    async def acall(request: HttpRequest) -> Any:
        response = await abefore(request) if abefore else None
        response = response or await middleware.get_response(request)
        return await aafter(request, response) if aafter else response

    middleware.__acall__ = acall


def _is_known(hook: Any) -> bool:
    return type(getattr(hook, "__self__", None)) in CLASSES


def _awaitable(hook: Any) -> Callable[..., Awaitable[Any]]:
    in_a_thread = sync_to_async(hook, thread_sensitive=True)
    waits = HOOKS.get(hook.__func__)
    if waits is None:
        return in_a_thread

    async def run(request: HttpRequest, *args: Any) -> Any:
        if waits(request):
            return await in_a_thread(request, *args)
        return hook(request, *args)

    return run
