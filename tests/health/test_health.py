from __future__ import annotations

import json
import threading

import pytest
from django.http import HttpResponse
from django.test import RequestFactory

from perfguard.health import middleware, probes
from perfguard.health.middleware import HealthMiddleware
from perfguard.health.probes import Bounded, ProbeFailed
from tests.servers import wait_until

rf = RequestFactory()


def view(request):
    return HttpResponse("the view")


def ask(serve, path, method="get"):
    answer = serve(HealthMiddleware, view, getattr(rf, method)(path))
    return answer.status_code, answer.content


@pytest.mark.parametrize("path", ["/health", "/livez"])
def test_a_live_process_says_so(serve, path):
    assert ask(serve, path) == (200, b'{"status": true}')


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/health/db", "/ready", "/readyz"])
def test_a_ready_process_names_its_parts(serve, path):
    status, body = ask(serve, path)
    assert status == 200
    assert json.loads(body)["database"] == "ok"


def test_other_paths_are_the_views(serve):
    assert ask(serve, "/healthy") == (200, b"the view")


def test_only_get_and_head(serve):
    assert ask(serve, "/health", "post")[0] == 405
    assert ask(serve, "/health", "head")[0] == 200


def test_no_answer_is_kept_by_a_cache(serve):
    answer = serve(HealthMiddleware, view, rf.get("/health"))
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_database_that_fails_is_503(serve, monkeypatch):
    def broken():
        raise RuntimeError("postgres://user:planted-secret@host")

    monkeypatch.setattr(probes, "_DATABASE", Bounded("database", broken))
    status, body = ask(serve, "/health/db")
    assert status == 503
    assert json.loads(body) == {"status": False, "database": "away"}


def test_why_it_fails_is_logged_without_what_the_driver_said(monkeypatch, caplog):
    def broken():
        raise RuntimeError("planted-secret")

    monkeypatch.setattr(probes, "_DATABASE", Bounded("database", broken))
    HealthMiddleware(view)(rf.get("/ready"))
    assert "RuntimeError" in caplog.text
    assert "planted-secret" not in caplog.text


def test_a_database_that_hangs_is_503_and_takes_one_thread(perfguard):
    perfguard(HEALTH_TIMEOUT=0.01)
    release, started = threading.Event(), []

    def hang():
        started.append(True)
        release.wait(20)

    bounded = Bounded("database", hang)
    with pytest.raises(ProbeFailed, match="in time"):
        bounded.run()
    perfguard(HEALTH_TIMEOUT=600.0)  # nobody waits again for what was late once
    for _ in range(3):
        with pytest.raises(ProbeFailed, match="in time"):
            bounded.run()
    assert len(started) == 1
    release.set()
    wait_until(lambda: bounded._running.done(), "the probe to end")
    bounded.run()
    assert len(started) == 2


def test_redis_away_is_told_and_no_reason_to_stop(serve, perfguard, monkeypatch):
    monkeypatch.setitem(middleware.PATHS, "/ready", {"redis": probes.check_redis})
    perfguard(REDIS_URL="redis://127.0.0.1:1/0", THROTTLE_RATES={"api": "1/m"})
    assert ask(serve, "/ready") == (200, b'{"status": true, "redis": "away"}')


def test_redis_is_asked_and_not_only_remembered(
    serve, perfguard, monkeypatch, own_redis
):
    monkeypatch.setitem(middleware.PATHS, "/ready", {"redis": probes.check_redis})
    perfguard(REDIS_URL=own_redis.url, REDIS_PROBE_INTERVAL=0.02)
    assert ask(serve, "/ready") == (200, b'{"status": true, "redis": "ok"}')
    own_redis.kill()
    assert ask(serve, "/ready") == (200, b'{"status": true, "redis": "away"}')


def test_redis_is_not_named_where_none_is_set(serve, monkeypatch):
    monkeypatch.setitem(middleware.PATHS, "/ready", {"redis": probes.check_redis})
    assert ask(serve, "/ready") == (200, b'{"status": true}')
