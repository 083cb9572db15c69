from __future__ import annotations

import pytest
from django.core.management import call_command

from perfguard.checks import check_types
from perfguard.streaming.checks import check_streams
from perfguard.streaming.slots import outnumber_threads


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, []),
        ({"STREAM_WORKER_THREADS": 8}, ["W701"]),
        ({"STREAM_WORKER_THREADS": 100}, ["W701"]),
        ({"STREAM_WORKER_THREADS": 101}, []),
        ({"STREAM_WORKER_THREADS": 8, "STREAM_MAX_PER_WORKER": 7}, ["W702"]),
        ({"STREAM_MAX_PER_WORKER": 10}, []),
        ({"STREAM_HEARTBEAT": 60}, ["W703"]),
        ({"STREAM_HEARTBEAT": 59.9}, []),
        ({"STREAM_CHUNK_DELTAS": 5, "STREAM_FLUSH_MS": 0}, ["W704"]),
        ({"STREAM_CHUNK_DELTAS": 5}, []),
        ({"STREAM_FLUSH_MS": 0}, []),
        # For which there is another check.
        ({"STREAM_HEARTBEAT": "slow"}, []),
        ({"STREAM_WORKER_THREADS": "8"}, []),
        ({"STREAM_UNKNOWN": 1}, []),
    ],
    ids=str,
)
def test_settings_are_checked(perfguard, given, found):
    perfguard(**given)
    assert [each.id for each in check_streams()] == [f"perfguard.{it}" for it in found]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STREAM_HEARTBEAT", 0),
        ("STREAM_HEARTBEAT", "15"),
        ("STREAM_FIRST_EVENT_WAIT", -1),
        ("STREAM_CHUNK_DELTAS", 0),
        ("STREAM_CHUNK_DELTAS", "many"),
        ("STREAM_FLUSH_MS", -1),
        ("STREAM_EVENT_BYTES", -1),
        ("STREAM_RETRY_MS", 0),
        ("STREAM_MAX_PER_WORKER", 0),
        ("STREAM_MAX_PER_IDENTITY", 0),
        ("STREAM_MAX_SECONDS", -1),
        ("STREAM_WORKER_THREADS", -1),
    ],
)
def test_a_wrong_value_is_named(perfguard, name, value):
    perfguard(**{name: value})
    assert [name in each.msg for each in check_types()] == [True]


def test_streams_that_outnumber_the_threads_are_told(perfguard, capsys):
    perfguard(STREAM_WORKER_THREADS=8, STREAM_MAX_PER_WORKER=8)
    assert outnumber_threads()
    call_command("check", fail_level="CRITICAL")
    assert "perfguard.W701" in capsys.readouterr().err
    perfguard(STREAM_WORKER_THREADS=8, STREAM_MAX_PER_WORKER=7)
    assert not outnumber_threads()
    perfguard(STREAM_WORKER_THREADS=0)
    assert not outnumber_threads()
