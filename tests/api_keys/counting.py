"""How often Redis was asked; and many threads at the same moment."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from django.db import connections


class Proxy:
    """Passes bytes to a server and back, and notes which way each piece went."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.pieces: list[str] = []  # "query" or "reply"
        self._sockets: list[Any] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @contextmanager
    def counted(self) -> Iterator[list[int]]:
        """The round trips within the block, in a list of one."""
        self.pieces.clear()
        trips: list[int] = []
        yield trips
        turns = pairwise(["reply", *self.pieces])
        trips.append(sum(pair == ("reply", "query") for pair in turns))

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            self._sockets += [near, far]
            for source, target, name in (near, far, "query"), (far, near, "reply"):
                threading.Thread(
                    target=self._pass, args=(source, target, name), daemon=True
                ).start()

    def _pass(self, source: Any, target: Any, name: str) -> None:
        try:
            while piece := source.recv(1 << 20):
                self.pieces.append(name)  # before it can be answered
                target.sendall(piece)
        except OSError:
            return

    def close(self) -> None:
        for each in (self._listener, *self._sockets):
            each.close()


def at_once(count: int, work: Callable[[], object]) -> None:
    """Each in a thread of its own, all let go at the same moment. Raises what one of
    them raised."""
    start = threading.Barrier(count)
    errors: list[Exception] = []

    def run() -> None:
        start.wait()
        try:
            work()
        except Exception as error:  # noqa: BLE001 (raised again below)
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(count)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    if errors:
        raise errors[0]
