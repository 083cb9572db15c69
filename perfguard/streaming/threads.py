"""The threads in which sources run, and the database connections that they hold.

The one file that knows how asgiref keeps the thread of ``sync_to_async``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context, copy_context
from typing import Any

from asgiref.sync import SyncToAsync, ThreadSensitiveContext
from django.db import connections

NAME = "perfguard-stream"


def start_thread(target: Callable[[], None]) -> None:
    # A daemon: a source that never returns must not keep the process from ending.
    threading.Thread(target=target, name=NAME, daemon=True).start()


def release_connections() -> None:
    """Close this thread's database connections, or give them back to their pool; not
    one within a transaction, which somebody is at work in."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


def request_has_thread() -> bool:
    """Whether anything of the running request took a thread of ``sync_to_async``."""
    context = SyncToAsync.thread_sensitive_context.get(None)
    return context is None or context in SyncToAsync.context_to_thread_executor


class OwnThread(ThreadPoolExecutor):
    """The one thread of an async source's ``sync_to_async``, the ORM's calls among
    them. It is started when it is first used.

    Not the request's: the view may be waiting in that one for the first event, and the
    source may outlive the request by its cleaning up.
    """

    def __init__(self) -> None:
        super().__init__(max_workers=1, thread_name_prefix=NAME)
        self.is_used = False

    def submit(self, *args: Any, **kwargs: Any) -> Future[Any]:
        self.is_used = True
        return super().submit(*args, **kwargs)

    def context(self) -> Context:
        """The current context, but with this thread."""
        context = copy_context()
        own = ThreadSensitiveContext()
        SyncToAsync.context_to_thread_executor[own] = self
        context.run(SyncToAsync.thread_sensitive_context.set, own)
        return context
