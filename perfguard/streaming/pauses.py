"""Waiting in a source, as its stream would have it."""

from __future__ import annotations

import asyncio
import threading
import time

from asgiref.sync import sync_to_async

from perfguard.streaming.threads import release_connections

_here = threading.local()


def pause(seconds: float) -> None:
    """``time.sleep`` for a sync source that polls.

    The thread's database connections are given back meanwhile. When the stream ends,
    the source does, at once: its ``finally`` runs. (A generator that is told to close
    raises GeneratorExit, and nothing catches that by accident; so does this.)
    """
    release_connections()
    stopping: threading.Event | None = getattr(_here, "stopping", None)
    if stopping is None:  # not within a stream
        time.sleep(seconds)
    elif stopping.wait(seconds):
        raise GeneratorExit


async def apause(seconds: float) -> None:
    """``asyncio.sleep`` for an async source that uses the ORM: the database connections
    are given back meanwhile."""
    await sync_to_async(release_connections)()
    await asyncio.sleep(seconds)


def watch(stopping: threading.Event) -> None:
    """Have ``pause`` in this thread end when the event is set."""
    _here.stopping = stopping
