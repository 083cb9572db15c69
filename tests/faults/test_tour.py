from __future__ import annotations

import re
import subprocess
import sys

from tests.servers import ROOT, clean_environment


def tour(*args):
    return subprocess.run(
        [sys.executable, "manage.py", "tour", *args],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
    )


def test_the_tour_shows_what_it_says():
    done = tour()
    assert done.returncode == 0, done.stderr
    assert "statuses: " + "200 " * 15 + "429" in done.stdout
    assert re.search(r"Retry-After: 1[78]\d", done.stdout)
    assert "{200: 59, 429: 441}" in done.stdout
    asked = int(re.search(r"Redis was asked (\d+) times", done.stdout)[1])
    assert 59 <= asked < 100
    assert "{401: 15, 429: 5}" in done.stdout
    assert done.stdout.count("log: Redis at") == 2


def test_the_tour_says_that_nobody_is_there():
    assert "does not answer" in tour("--url", "http://127.0.0.1:1").stderr
