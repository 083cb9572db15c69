"""Ending streams when their process is told to.

Servers wait for open responses, and a stream is one that does not end. So a SIGTERM is
heard here before the server hears it, and all streams are told.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any, Protocol

Tell = Callable[[], None]


class Worker(Protocol):
    """gunicorn's, of any class."""

    alive: bool


class Drain:
    """The streams of a process, and whether they must end.

    Nothing here takes a lock: a signal handler interrupts whoever holds it.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._told: dict[object, Tell] = {}
        self._has_begun = False
        self._worker: Worker | None = None
        self._is_listening = False

    @property
    def has_begun(self) -> bool:
        # A worker that ends by itself, after max_requests, gets no signal.
        worker = self._worker
        return self._has_begun or (worker is not None and not worker.alive)

    def add(self, stream: object, tell: Tell) -> None:
        self._told[stream] = tell

    def remove(self, stream: object) -> None:
        self._told.pop(stream, None)

    def begin(self) -> None:
        self._has_begun = True
        for tell in list(self._told.values()):
            tell()

    def watch(self, worker: Worker) -> None:
        self._worker = worker
        self.listen()

    def listen(self) -> None:
        """Hear SIGTERM, and SIGINT where the server takes both alike; then let the
        server hear it. Only the main thread may: in another it does nothing."""
        if (
            self._is_listening
            or threading.current_thread() is not threading.main_thread()
        ):
            return
        self._is_listening = True
        own = signal.getsignal(signal.SIGTERM)
        for number in (signal.SIGTERM, signal.SIGINT):
            # Nothing to go before where the process just dies, or takes no notice.
            if callable(own) and signal.getsignal(number) == own:
                self._chain(number, own)

    def _chain(self, number: int, server: Callable[..., Any]) -> None:
        def heard(signal_number: int, frame: Any) -> None:
            self.begin()
            server(signal_number, frame)

        signal.signal(number, heard)
        # As servers have it: a system call goes on afterwards.
        signal.siginterrupt(number, False)


drain = Drain()
# A fork has neither its parent's streams nor, with gunicorn, its signal handlers.
os.register_at_fork(after_in_child=drain.reset)


def drain_with(worker: Worker) -> None:
    """For gunicorn's ``post_worker_init``: have the worker's streams end with it.

    Needed by the worker classes that answer in threads, where the main thread, which
    hears signals, never sees a stream.
    """
    drain.watch(worker)
