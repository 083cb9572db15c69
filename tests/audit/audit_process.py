"""Processes that write a spool and are killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from perfguard.audit.entries import Entry, new_id, now
from perfguard.audit.lines import to_line
from tests.servers import ROOT, clean_environment

PRELUDE = """
import os, resource, sys, time, django
from django.conf import settings
settings.configure(
    SECRET_KEY="of-the-tests",
    PERFGUARD=eval(sys.argv[1]),
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "perfguard"],
)
django.setup()
from perfguard.audit.losses import Losses
from perfguard.audit.replay import replay
from perfguard.audit.spool import Spool
from perfguard.conf import conf
from tests.audit.audit_process import a_line
spool = Spool(conf.AUDIT_SPOOL_DIR, Losses("database"))
def wait():
    print("ready", flush=True)
    sys.stdin.readline()
"""


def a_line(name: str, body: str = "") -> bytes:
    return to_line(Entry(new_id(), now(), "request", marker=name, request_body=body))


@contextmanager
def running(script: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A process that has come to its ``wait()``; whatever comes, it ends with this."""
    process = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + script, repr(options)],
        cwd=ROOT,
        env=clean_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def go_on(process: subprocess.Popen[str]) -> str:
    """What it prints until it ends well."""
    out, _ = process.communicate("\n", timeout=120)
    assert process.returncode == 0
    return out


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    assert process.wait() == -signal.SIGKILL
