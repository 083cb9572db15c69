"""The project under a real ASGI server."""

from __future__ import annotations

import subprocess
import sys

import httpx
import pytest

from tests.servers import ROOT, Gunicorn, wait_until


@pytest.fixture
def site(tmp_path, own_redis):
    project = Gunicorn(tmp_path / "db.sqlite3", REDIS_URL=own_redis.url)
    project.manage("migrate", "--verbosity", "0")
    project.manage("demo_data")
    command = ["uvicorn", "project.asgi:application", "--port", str(project.port)]
    process = subprocess.Popen(
        [sys.executable, "-m", *command, "--lifespan", "off", "--log-level", "error"],
        cwd=ROOT,
        env=project.env,
    )
    project.process = process
    wait_until(project._answers, "uvicorn", limit=30)
    with httpx.Client(base_url=project.url, timeout=20) as client:
        yield client
    project.close()


def test_limits_hold_with_redis_and_without(site, own_redis):
    statuses = [site.get("/api/v1/public").status_code for _ in range(62)]
    assert statuses == [200] * 60 + [429] * 2
    assert site.get("/ready").json() == {
        "status": True,
        "database": "ok",
        "redis": "ok",
        "audit": "ok",
    }
    own_redis.kill()
    assert site.get("/ready").json()["redis"] == "away"
    # The limits of path rules, too, whose middleware runs on the loop.
    form = [site.post("/admin/login/").status_code for _ in range(101)]
    assert form == [403] * 100 + [429]
