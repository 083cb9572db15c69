"""The thread that takes lines from their sources to one sink."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from django.db import DataError, IntegrityError

from perfguard.audit.losses import Losses
from perfguard.audit.queues import Source
from perfguard.audit.quiet import quiet
from perfguard.conf import conf

logger = logging.getLogger("perfguard.audit")

TICK = 1.0  # seconds between two looks at what is due, without any line
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds between two tries
GRACE = 0.5  # seconds after the deadline, for a try that is under way


class Sink(Protocol):
    name: str

    def write(self, lines: list[bytes]) -> None:
        """All or nothing; may be given what it was given before."""
        ...

    def upkeep(self, *, is_idle: bool) -> None:
        """Called between batches, and about once a second when there are none."""
        ...

    def close(self) -> None: ...


class Writer:
    """Of one sink and one process. Whatever the sink raises, the thread goes on."""

    def __init__(self, sink: Sink, sources: Sequence[Source], losses: Losses) -> None:
        self.name = sink.name
        self.losses = losses
        self.failing = ""  # the class of the error, while the sink does not take lines
        self._sink = sink
        self._sources = sources
        self._something = threading.Event()
        self._urgent = threading.Event()
        self._stopping = threading.Event()
        self._deadline = float("inf")
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Where the system has no thread left, the next line tries it again."""
        name = f"perfguard-audit-{self.name}"
        thread = threading.Thread(target=self._run, name=name, daemon=True)
        with self._lock:
            if self._thread is not None:
                return
            try:
                thread.start()
            except RuntimeError as error:  # also while the interpreter ends
                failure = error
            else:
                self._thread = thread
                return
        self._fails(failure)  # without the lock: who is told may write an entry

    def put(self, line: bytes) -> bool:
        for source in self._sources:
            if source.put(line):
                self.wake()
                return True
        self.losses.add("queue full")
        return False

    def wake(self, *, at_once: bool = False) -> None:
        if self._thread is None:
            self.start()
        if not self._something.is_set():
            self._something.set()
        if at_once:
            self._urgent.set()

    def waiting(self) -> int:
        return sum(source.waiting() for source in self._sources)

    def flush(self, seconds: float) -> bool:
        """Whether all that was put before has left within that time."""
        end = time.monotonic() + seconds
        while self.waiting() and time.monotonic() < end:
            self.wake(at_once=True)
            time.sleep(0.005)
        return not self.waiting()

    def stop(self, deadline: float) -> None:
        """Write what waits until then (by ``time.monotonic``), and end. Returns at
        once: ``join`` waits for it."""
        self._deadline = deadline
        self._stopping.set()
        self.wake(at_once=True)

    def join(self) -> None:
        """What is in memory when the deadline is over is lost."""
        if self._thread is None:
            self._run()
        else:
            self._thread.join(max(0, self._deadline - time.monotonic()) + GRACE)
        if left := self.waiting():
            logger.error(
                "The process ends, and %d audit entries for the %s are not stored.",
                left,
                self.name,
            )

    def _run(self) -> None:
        while not self._stopping.is_set():
            is_idle = not self._something.wait(TICK)
            if not is_idle:
                # So that others may come along.
                self._urgent.wait(conf.AUDIT_FLUSH_SECONDS)
                self._something.clear()
                self._urgent.clear()
            self._safely(self._deliver)
            self._safely(partial(self._sink.upkeep, is_idle=is_idle))
        self._safely(self._deliver)
        self._safely(self._sink.close)

    def _deliver(self) -> None:
        for source in self._sources:
            # One that cannot be read must not keep the others.
            self._safely(partial(self._deliver_from, source))

    def _deliver_from(self, source: Source) -> None:
        left = source.waiting()  # what comes meanwhile must not keep it here
        while left > 0 and (lines := source.take(conf.AUDIT_BATCH_SIZE)):
            if not self._write(lines):
                return  # the process ends
            source.done(lines)
            left -= len(lines)

    def _write(self, lines: list[bytes]) -> bool:
        """Try until it is done. False: the process ended before."""
        pause = FIRST_PAUSE
        while (error := self._try(lines)) is not None:
            if isinstance(error, (DataError, IntegrityError)):
                return self._write_apart(lines)
            self._fails(error)
            # Not all processes at once, when the database is back.
            if self._stopping.wait(pause * random.uniform(0.5, 1)):  # noqa: S311
                if time.monotonic() + FIRST_PAUSE > self._deadline:
                    return False
                time.sleep(FIRST_PAUSE)
            pause = min(2 * pause, LONGEST_PAUSE)
        self._works()
        return True

    def _try(self, lines: list[bytes]) -> Exception | None:
        try:
            self._sink.write(lines)
        except Exception as error:  # noqa: BLE001 - of any database, disk or receiver
            return error
        return None

    def _write_apart(self, lines: list[bytes]) -> bool:
        """One that the database refuses must not keep the others from it."""
        if len(lines) > 1:
            middle = len(lines) // 2
            return self._write(lines[:middle]) and self._write(lines[middle:])
        if quiet.begins("refused by the database"):
            logger.error(
                "The database refused an audit entry of %d bytes.", len(lines[0])
            )
        self.losses.add("refused by the database")
        return True

    def _fails(self, error: Exception) -> None:
        was_failing, self.failing = self.failing, type(error).__name__
        if not was_failing:
            logger.error(
                "Audit entries cannot be written to the %s (%s): they wait.",
                self.name,
                self.failing,
            )

    def _works(self) -> None:
        was_failing, self.failing = self.failing, ""
        if was_failing:
            logger.warning("Audit entries are written to the %s again.", self.name)

    def _safely(self, job: Callable[[], None]) -> None:
        try:
            job()
        except Exception as error:  # noqa: BLE001 - the thread goes on
            # A database's error may quote the entry.
            what = error if isinstance(error, OSError) else type(error).__name__
            if quiet.begins((self.name, str(what))):
                logger.warning("Upkeep of the audit %s: %s.", self.name, what)
