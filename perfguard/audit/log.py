"""The door of the audit log: an entry goes in, and the writers do the rest."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from asgiref.sync import sync_to_async
from django.core.signals import setting_changed

from perfguard.audit.database_sink import DatabaseSink, store_inline
from perfguard.audit.entries import Entry
from perfguard.audit.file_sink import FileSink
from perfguard.audit.lines import to_line
from perfguard.audit.losses import Losses, LossRecords
from perfguard.audit.other_sinks import StdoutSink, TelemetrySink
from perfguard.audit.queues import Queue, Source, Ticket, is_on_a_loop
from perfguard.audit.quiet import quiet
from perfguard.audit.spool import Spool
from perfguard.audit.writer import Sink, Writer
from perfguard.conf import conf

logger = logging.getLogger("perfguard.audit")

OTHER_SINKS = {"file": FileSink, "stdout": StdoutSink, "telemetry": TelemetrySink}
SINKS = ("database", *OTHER_SINKS)


@dataclass(slots=True)
class Writers:
    """Of one process. ``database`` is None when AUDIT_SINKS leaves it out."""

    pid: int
    spool: Spool | None = None
    queue: Queue | None = None  # of the database
    database: Writer | None = None
    others: list[Writer] = field(default_factory=list)

    def all(self) -> list[Writer]:
        return [self.database, *self.others] if self.database else self.others


_lock = threading.Lock()
_current: Writers | None = None
_registered_in = 0  # a process id


def record(entry: Entry) -> None:
    """Returns when the entry is as durable as ``AUDIT_DURABILITY`` asks for."""
    if conf.AUDIT_DURABILITY == "inline":
        store_inline([to_line(entry)])
        return
    ticket = _put(to_line(entry))
    if ticket is not None:
        try:
            ticket.result(conf.AUDIT_SYNC_SECONDS)
        except TimeoutError:
            _say_late()


async def arecord(entry: Entry) -> None:
    """The same, for the loop."""
    if conf.AUDIT_DURABILITY == "inline":
        await sync_to_async(record)(entry)
        return
    line = to_line(entry)
    if _may_wait():  # but not all that is on the loop
        ticket = await asyncio.to_thread(_put, line)
    else:
        ticket = _put(line)
    if ticket is not None:
        try:
            stored = asyncio.shield(asyncio.wrap_future(ticket))
            await asyncio.wait_for(stored, conf.AUDIT_SYNC_SECONDS)
        except TimeoutError:
            _say_late()


def _may_wait() -> bool:
    is_synced = conf.AUDIT_DURABILITY == "spool" and conf.AUDIT_SPOOL_FSYNC == "always"
    return is_synced or conf.AUDIT_OVERFLOW == "block"


def record_later(entry: Entry) -> None:
    """The same for what nobody waits for: its answer has left. On the loop it is
    written by somebody else with "inline"."""
    if conf.AUDIT_DURABILITY == "inline" and not is_on_a_loop():
        record(entry)
    else:
        _put(to_line(entry), may_wait=False)


def record_opened(entry: Entry) -> None:
    """What is to be stored if the process is killed before the stream ends: in its
    spool, where it has one."""
    spool = writers().spool
    if spool is not None:
        spool.put_opened(to_line(entry))


def lost(reason: str) -> None:
    """Count an entry that could not even be made."""
    database = None if conf.AUDIT_DURABILITY == "inline" else writers().database
    if database is not None:
        database.losses.add(reason)
        database.wake()


def writers() -> Writers:
    """Those of this process; its threads are started by its first entry."""
    current = _current
    if current is None or current.pid != os.getpid():
        return _start()
    return current


def flush(seconds: float = 10.0) -> bool:
    """Whether all that was recorded in this process was written within that time."""
    current = _current
    if current is None or current.pid != os.getpid():
        return True
    return all(writer.flush(seconds) for writer in current.all())


def close() -> None:
    """Write what waits, within ``AUDIT_DRAIN_SECONDS``, and end the threads."""
    global _current
    with _lock:
        current, _current = _current, None
    if current is None or current.pid != os.getpid():
        return
    deadline = time.monotonic() + conf.AUDIT_DRAIN_SECONDS
    for writer in current.all():
        writer.stop(deadline)
    for writer in current.all():
        writer.join()
    if current.spool is not None:
        current.spool.close()


def state() -> dict[str, dict[str, Any]]:
    """By writer of this process: ``waiting`` entries, ``lost`` ones by reason, and
    ``failing``, the class of the error while its sink takes none."""
    current = _current
    if current is None or current.pid != os.getpid():
        return {}
    told = {
        writer.name: {
            "waiting": writer.waiting(),
            "lost": writer.losses.total(),
            "failing": writer.failing,
        }
        for writer in current.all()
    }
    if current.spool is not None and current.spool.is_refusing:
        told["spool"] = {"waiting": 0, "lost": {}, "failing": "refuses"}
    return told


def _put(line: bytes, *, may_wait: bool = True) -> Ticket | None:
    current = writers()
    for writer in current.others:
        writer.put(line)
    database, queue = current.database, current.queue
    if database is None or queue is None:
        return None
    if conf.AUDIT_DURABILITY == "sync" and may_wait:
        ticket = queue.put_with_ticket(line)
        if ticket is not None:
            database.wake(at_once=True)
            return ticket
    database.put(line)
    return None


def _start() -> Writers:
    global _current
    with _lock:
        if _current is None or _current.pid != os.getpid():
            _end_with_multiprocessing()
            _current = _new_writers()
            for writer in _current.all():
                writer.start()
        return _current


def _new_writers() -> Writers:
    result = Writers(os.getpid())
    losses = [Losses(name) for name in SINKS if name in conf.AUDIT_SINKS]
    for each in losses:
        if each.sink == "database":
            _add_database(result, each, losses)
        else:
            sink: Sink = OTHER_SINKS[each.sink]()
            result.others.append(Writer(sink, [Queue(each)], each))
    return result


def _add_database(result: Writers, own: Losses, losses: list[Losses]) -> None:
    """Its writer puts on record what any of them lost."""
    result.queue = Queue(own)
    sources: list[Source] = [result.queue, LossRecords(losses)]
    if conf.AUDIT_SPOOL_DIR:
        result.spool = Spool(conf.AUDIT_SPOOL_DIR, own)
        if conf.AUDIT_DURABILITY == "spool":
            sources.insert(0, result.spool)
        elif conf.AUDIT_OVERFLOW == "spool":
            sources.insert(1, result.spool)
    sink = DatabaseSink(result.spool.owner if result.spool else "")
    result.database = Writer(sink, sources, own)


def _end_with_multiprocessing() -> None:
    """Its children end without atexit. They begin without what was registered before
    them, so that this is done once in each process."""
    global _registered_in
    util = sys.modules.get("multiprocessing.util")
    if util is not None and _registered_in != os.getpid():
        _registered_in = os.getpid()
        util.Finalize(None, close, exitpriority=0)


def _forget() -> None:
    """A child has none of its parent's threads, and must not write what waits there."""
    global _current, _lock
    _current = None
    _lock = threading.Lock()
    quiet.renew()


# Here, and not with the first entry: a fork must not come between the two, and who is
# called at the end of the process may write an entry, and is called before.
os.register_at_fork(after_in_child=_forget)
atexit.register(close)


def _say_late() -> None:
    if quiet.begins("late"):
        logger.warning(
            "Answers leave before their audit entries are stored: the database took "
            "longer than %s s.",
            conf.AUDIT_SYNC_SECONDS,
        )


def _reload(*, setting: str, **kwargs: Any) -> None:
    if setting == "PERFGUARD":
        close()


setting_changed.connect(_reload, dispatch_uid="perfguard.audit.log")
