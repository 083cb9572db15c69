"""A server that is told to end has its streams ended, and waits for nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import httpx
import pytest

from tests.servers import ROOT
from tests.streaming.conftest import KINDS

# gunicorn waits 20 seconds for what does not end, uvicorn for ever.
SOON = 10


@pytest.mark.parametrize("kind", ["gthread", "asgi", "uvicorn"])
def test_streams_end_and_so_does_the_server(own_site, kind):
    site = own_site(kind, STREAM_TEST_HEARTBEAT="60")
    runs = {each: site.run() for each in ("sync", "async")}
    streams = [
        site.open(view, source="gated", kind=each, run=run.name)
        for view in ("sync", "async")
        for each, run in runs.items()
    ]
    for stream in streams:
        assert stream.next().data == '{"number":0}'
    began = time.monotonic()
    site.server.process.send_signal(signal.SIGTERM)
    for stream in streams:
        (last,) = stream.rest()
        assert (last.event, last.data) == ("close", '{"reason":"drain"}')
        assert 2000 <= stream.parser.retry <= 4000
    site.server.process.wait(timeout=30)
    assert time.monotonic() - began < SOON
    for run in runs.values():
        assert run.lines.count("closed") == 2
    for stream in streams:
        stream.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_normal_request_is_finished_meanwhile(own_site, kind):
    site = own_site(kind, STREAM_TEST_HEARTBEAT="60")
    slow, answers = site.run(), []
    if kind != "sync":  # which does one thing at a time
        stream = site.open(source="gated", run=site.run().name)
        stream.next()

    def request():
        url = f"{site.url}/slow?run={slow.name}"
        answers.append(httpx.get(url, timeout=20).text)

    thread = threading.Thread(target=request)
    thread.start()
    slow.wait_for("began")
    site.server.process.send_signal(signal.SIGTERM)
    if kind != "sync":
        assert stream.rest()[-1].event == "close"
        stream.close()
    slow.tell("go")
    thread.join()
    assert answers == ["done"]
    site.server.process.wait(timeout=30)


def test_a_stream_of_the_sync_worker_ends_as_well(own_site):
    site = own_site("sync", STREAM_TEST_HEARTBEAT="60")
    run = site.run()
    with site.open(source="gated", run=run.name) as stream:
        stream.next()
        site.server.process.send_signal(signal.SIGTERM)
        assert stream.rest()[-1].data == '{"reason":"drain"}'
    site.server.process.wait(timeout=30)
    assert run.lines == ["made 0", "closed"]


PROGRAM = """
import signal, threading
from perfguard.streaming.drain import Drain

heard = []
def server(number, frame):
    heard.append(signal.Signals(number).name)

def serve(drain, **handlers):
    for name, handler in handlers.items():
        signal.signal(getattr(signal, name), handler)
    drain.listen()
    drain.listen()

def told():
    drain = Drain()
    drain.add(drain, lambda: heard.append("told"))
    return drain
"""


@pytest.mark.parametrize(
    ("body", "printed"),
    [
        # uvicorn: both, and first the streams.
        (
            "drain = told(); serve(drain, SIGTERM=server, SIGINT=server)\n"
            "signal.raise_signal(signal.SIGTERM); signal.raise_signal(signal.SIGINT)",
            "['told', 'SIGTERM', 'told', 'SIGINT']",
        ),
        # gunicorn: SIGINT is another matter.
        (
            "drain = told(); serve(drain, SIGTERM=server, SIGINT=lambda *a: heard)\n"
            "signal.raise_signal(signal.SIGINT); signal.raise_signal(signal.SIGTERM)",
            "['told', 'SIGTERM']",
        ),
        # Nobody listens: nothing is changed.
        (
            "usual = signal.getsignal(signal.SIGINT)\n"
            "drain = told(); serve(drain, SIGTERM=signal.SIG_IGN)\n"
            "signal.raise_signal(signal.SIGTERM)\n"
            "heard.append(signal.getsignal(signal.SIGINT) is usual)",
            "[True]",
        ),
        # Another thread may not.
        (
            "drain = told(); signal.signal(signal.SIGTERM, server)\n"
            "thread = threading.Thread(target=drain.listen); thread.start()\n"
            "thread.join(); signal.raise_signal(signal.SIGTERM)",
            "['SIGTERM']",
        ),
    ],
    ids=["alike", "apart", "ignored", "thread"],
)
def test_signals_are_heard_before_the_server_hears_them(body, printed):
    done = subprocess.run(
        [sys.executable, "-c", f"{PROGRAM}\n{body}\nprint(heard)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ},
    )
    assert done.stdout.strip() == printed, done.stderr
