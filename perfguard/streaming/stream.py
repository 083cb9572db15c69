"""One stream, from its first event to its end, whoever ends it."""

from __future__ import annotations

import logging
import socket
import threading
import time
from contextlib import suppress
from typing import Any

from django.core.signals import got_request_exception
from django.http import HttpRequest

from perfguard.exceptions import InvalidEvent, TruthUnavailable
from perfguard.http.standing import still_good
from perfguard.signals import stream_ended, stream_started
from perfguard.streaming.drain import drain
from perfguard.streaming.events import HEARTBEAT
from perfguard.streaming.flow import Flow
from perfguard.streaming.mailbox import DRAIN, END, Letter, Mailbox
from perfguard.streaming.pumps import Pump
from perfguard.streaming.slots import Slot
from perfguard.streaming.threads import release_connections

logger = logging.getLogger("perfguard.streaming")

CLEANUP = 1.0  # seconds that a source may take to end before its process does


class Stream:
    """What both kinds of server share; the iterators of ``chunks`` drive it.

    ``outcome`` is how it ended: "finished" by its source, "failed", "left" by the
    client, "drain", "lifetime", "revoked", "unverifiable"; empty while it lasts.
    """

    def __init__(self, request: HttpRequest, slot: Slot, flow: Flow) -> None:
        self.request = request
        self.flow = flow
        self.mailbox = Mailbox()
        self.outcome = ""
        self.source_ended = threading.Event()
        self.pump: Pump | None = None
        self._slot = [slot]
        self._is_open = [True]
        self._is_waiting = False  # for what it has asked the source for
        self._first: bytes | None = None
        self._began_at = time.monotonic()

    @property
    def is_over(self) -> bool:
        return bool(self.outcome)

    def begin(self) -> None:
        drain.add(self, lambda: self.mailbox.put(DRAIN))
        stream_started.send_robust(
            type(self), request=self.request, identity=self._slot[0].identity
        )

    # -- before the response -----------------------------------------------------------

    def take_first(self, letter: Letter | None) -> None:
        """Raises what the source raised, so that the view does."""
        if letter is None:
            return
        if letter.kind == "failed":
            raise letter.value
        self._first = self._accept(letter)

    # -- while it lasts ----------------------------------------------------------------

    def opening(self) -> bytes:
        """The first chunk, which also sends the headers on their way."""
        return self._first or HEARTBEAT

    def ask(self) -> None:
        """Have the source give one event, unless it is at it."""
        if not self._is_waiting:
            self._is_waiting = True
            assert self.pump is not None
            self.pump.ask()

    def take(self, letter: Letter | None) -> bytes:
        """What to send after waiting: for a letter, or in vain."""
        try:
            chunk = self.flow.elapsed() if letter is None else self._accept(letter)
        except InvalidEvent as error:
            return self._fail(error)
        if self.is_over:
            return chunk
        if drain.has_begun:
            return chunk + self._end("drain")
        return chunk + self._end("lifetime") if self.flow.has_expired else chunk

    def check_standing(self) -> bytes:
        """The last chunk when the client may not listen any more. Waits."""
        try:
            return b"" if still_good(self.request) else self._end("revoked")
        except TruthUnavailable:
            return self._end("unverifiable")
        except Exception as error:  # noqa: BLE001 (of a question of the project's)
            return self._fail(error)
        finally:
            release_connections()

    def _accept(self, letter: Letter) -> bytes:
        if letter.kind == "drain":
            return b""  # it was for waking up
        self._is_waiting = False
        if letter.kind == "failed":
            return self._fail(letter.value)
        if letter.kind == "event":
            return self.flow.received(letter.value)
        self.outcome = "finished"
        return self.flow.flush()

    def _end(self, reason: str) -> bytes:
        self.outcome = reason
        return self.flow.closing(reason)

    def _fail(self, error: BaseException) -> bytes:
        self.outcome = "failed"
        logger.error("A stream has failed: %s", self.request.path, exc_info=error)
        # As Django does for a view; whoever collects errors listens to it.
        try:
            raise error
        except BaseException:  # noqa: BLE001 (on record already)
            got_request_exception.send_robust(type(self), request=self.request)
        return self.flow.failure()

    # -- the end -----------------------------------------------------------------------

    def stop(self) -> None:
        """Have the source closed. From any thread, any number of times."""
        if self.pump is not None:
            self.pump.stop()

    def close(self, outcome: str = "left") -> None:
        """The response is done with, or was thrown away; ``outcome`` is for a stream
        that was not over. From any thread, any number of times; it takes no lock, as
        the garbage collector may be who calls."""
        try:
            self._is_open.pop()
        except IndexError:
            return
        self.outcome = self.outcome or outcome
        self.stop()
        drain.remove(self)
        self._give_back()
        stream_ended.send_robust(
            type(self),
            request=self.request,
            outcome=self.outcome,
            events=self.flow.events,
            seconds=time.monotonic() - self._began_at,
        )

    def note_source_ended(self) -> None:
        self.source_ended.set()
        self._give_back()
        self.mailbox.put(END)  # for whoever waits for it

    def _give_back(self) -> None:
        """Once, when both have ended: a source that hangs holds its slot, as it holds
        its thread."""
        if self._is_open or not self.source_ended.is_set():
            return
        try:
            slot = self._slot.pop()
        except IndexError:
            return
        slot.give_back()

    def hang_up(self) -> None:
        """Have gunicorn's threads close the connection, which they would keep for
        another request, and so the process, for seconds."""
        connection: Any = self.request.META.get("gunicorn.socket")
        # Not of HTTP/2, where others use it as well; not of TLS, which reads to write.
        is_own = self.request.META.get("SERVER_PROTOCOL", "").startswith("HTTP/1.")
        if self.outcome == "drain" and is_own and type(connection) is socket.socket:
            with suppress(OSError):  # the client was faster
                connection.shutdown(socket.SHUT_RD)

    def client_has_left(self) -> bool:
        """Whether the client has closed its side; False where that cannot be known
        before something is sent in vain."""
        connection: Any = self.request.META.get("gunicorn.socket")
        if type(connection) is not socket.socket:  # TLS has its own
            return False
        try:
            flags = socket.MSG_PEEK | socket.MSG_DONTWAIT
            return not connection.recv(1, flags)
        except BlockingIOError:
            return False
        except OSError:
            return True
