"""The project's own settings, with views that make streams as a test wants them."""

from __future__ import annotations

from pathlib import Path

from project import env
from project.settings import *  # noqa: F403

ROOT_URLCONF = "tests.streaming.stream_urls"
# Where tests and sources meet: files are seen by every process.
MEETING = Path(env.text("STREAM_TEST_DIRECTORY", "/tmp"))
PERFGUARD |= {  # noqa: F405
    "THROTTLE_RATES": dict.fromkeys(PERFGUARD["THROTTLE_RATES"], "1000000/hour"),  # noqa: F405
    "STREAM_HEARTBEAT": env.number("STREAM_TEST_HEARTBEAT", 0.2),
    "STREAM_FIRST_EVENT_WAIT": 0.2,
    "STREAM_MAX_PER_WORKER": env.whole("STREAM_TEST_MOST", 200),
    "STREAM_MAX_PER_IDENTITY": env.whole("STREAM_TEST_MOST", 200),
}
