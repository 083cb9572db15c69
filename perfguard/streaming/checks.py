"""System checks of event streams.

perfguard.W701  streams that take all threads   perfguard.W703  a slow heartbeat
perfguard.W702  one client takes all streams    perfguard.W704  deltas without a timer
"""

from __future__ import annotations

from collections.abc import Callable

from django.core.checks import CheckMessage, Warning

from perfguard.conf import conf, given, missed
from perfguard.streaming.slots import outnumber_threads

Check = Callable[..., list[CheckMessage]]

SHORTEST_IDLE = 60  # seconds: nginx's proxy_read_timeout, and the load balancers' like


def check_streams(**kwargs: object) -> list[CheckMessage]:
    own = {name: value for name, value in given().items() if name.startswith("STREAM_")}
    if any(missed(name, value) for name, value in own.items() if hasattr(conf, name)):
        return []  # another check says so
    return [*_threads(), *_shares(), *_heartbeat(), *_deltas()]


def _threads() -> list[CheckMessage]:
    if not outnumber_threads():
        return []
    return [
        Warning(
            f"PERFGUARD['STREAM_MAX_PER_WORKER'] is {conf.STREAM_MAX_PER_WORKER}, and "
            f"a worker has {conf.STREAM_WORKER_THREADS} threads: open streams can "
            "take all of them, and then nothing else is answered.",
            hint="Each stream keeps a thread under WSGI. Allow fewer, add threads, or "
            "serve by ASGI and set STREAM_WORKER_THREADS to 0.",
            id="perfguard.W701",
        )
    ]


def _shares() -> list[CheckMessage]:
    if conf.STREAM_MAX_PER_IDENTITY <= conf.STREAM_MAX_PER_WORKER:
        return []
    return [
        Warning(
            "PERFGUARD['STREAM_MAX_PER_IDENTITY'] is above STREAM_MAX_PER_WORKER: one "
            "client can take all streams of a process.",
            hint="Make it a part of STREAM_MAX_PER_WORKER.",
            id="perfguard.W702",
        )
    ]


def _heartbeat() -> list[CheckMessage]:
    if conf.STREAM_HEARTBEAT < SHORTEST_IDLE:
        return []
    return [
        Warning(
            f"PERFGUARD['STREAM_HEARTBEAT'] is {conf.STREAM_HEARTBEAT:g} seconds: "
            "proxies end a stream that is silent for 60.",
            hint="Use 15 to 30 seconds.",
            id="perfguard.W703",
        )
    ]


def _deltas() -> list[CheckMessage]:
    if conf.STREAM_CHUNK_DELTAS == 1 or conf.STREAM_FLUSH_MS:
        return []
    return [
        Warning(
            f"PERFGUARD['STREAM_CHUNK_DELTAS'] is {conf.STREAM_CHUNK_DELTAS} and "
            "STREAM_FLUSH_MS is 0: what a source has given waits for more, however "
            "long that takes.",
            hint="Set STREAM_FLUSH_MS to 50 or 100.",
            id="perfguard.W704",
        )
    ]


ALL: tuple[Check, ...] = (check_streams,)
DEPLOY: tuple[Check, ...] = ()
