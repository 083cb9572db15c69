"""The deployable project under gunicorn, with real requests and a real Redis."""

from __future__ import annotations

import threading
from collections import Counter

import httpx
import pytest

from tests.servers import Gunicorn, wait_until

GOOD = {"email": "demo@example.com", "password": "demo-password"}


@pytest.fixture
def site(tmp_path, own_redis):
    with (
        Gunicorn(
            tmp_path / "db.sqlite3", REDIS_URL=own_redis.url, WEB_CONCURRENCY="3"
        ) as gunicorn,
        httpx.Client(base_url=gunicorn.url, timeout=20) as client,
    ):
        client.gunicorn = gunicorn
        yield client


@pytest.fixture
def small_site(tmp_path):
    """Without Redis: one process, and its memory."""
    with (
        Gunicorn(
            tmp_path / "db.sqlite3", WEB_CONCURRENCY="3", THREAD_POOL_SIZE="3"
        ) as gunicorn,
        httpx.Client(base_url=gunicorn.url, timeout=20) as client,
    ):
        client.gunicorn = gunicorn
        yield client


def sign_in(site, **body):
    return site.post("/api/v1/auths/signin", json=GOOD | body)


def test_fifteen_sign_ins_pass_and_the_sixteenth_waits(site):
    answers = [sign_in(site) for _ in range(16)]
    assert [answer.status_code for answer in answers] == [200] * 15 + [429]
    refused = answers[-1]
    assert 0 < int(refused.headers["Retry-After"]) <= 180
    policies = '"sign_in_address";q=100;w=180, "sign_in";q=15;w=180'
    assert refused.headers["RateLimit-Policy"] == policies
    assert (
        f'"sign_in";r=0;t={refused.headers["Retry-After"]}'
        in (refused.headers["RateLimit"])
    )
    other = sign_in(site, email="other@example.com")
    assert other.status_code == 401


def test_a_token_opens_the_users_own_notes(site):
    body = sign_in(site).json()
    assert body["token_type"] == "Bearer"
    assert body["user"]["role"] == "user"
    site.headers["Authorization"] = f"Bearer {body['token']}"
    assert site.get("/api/v1/auths/me").json()["email"] == "demo@example.com"
    made = site.post("/api/v1/notes", json={"text": "hello"})
    assert made.status_code == 201
    assert site.get(f"/api/v1/notes/{made.json()['id']}").json()["text"] == "hello"
    assert site.get("/api/v1/notes").json()["count"] == 2
    del site.headers["Authorization"]
    assert site.get("/api/v1/notes").status_code == 401


def test_redis_killed_and_back_in_the_middle_of_traffic(site, own_redis):
    statuses, stop = Counter(), threading.Event()

    def load():
        with httpx.Client(base_url=site.base_url, timeout=20) as client:
            while not stop.is_set() and statuses.total() < 20_000:
                statuses[client.get("/api/v1/public").status_code] += 1

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: statuses[429], "the limit to be reached")
    own_redis.kill()
    wait_until(lambda: _away_lines(site), "the fall-back")
    seen = statuses.total()
    wait_until(lambda: statuses.total() > seen + 200, "requests without Redis")
    own_redis.start()
    wait_until(lambda: _away_lines(site) == _back_lines(site), "Redis to be back")
    stop.set()
    for thread in threads:
        thread.join()
    assert set(statuses) == {200, 429}
    # 60 by Redis, and 60 more by the memory of each of three processes.
    assert 60 <= statuses[200] <= 60 + 3 * 60 + 60
    # One line for each process and change of state.
    assert _away_lines(site) == _back_lines(site) <= 3


def _away_lines(site):
    return site.gunicorn.log.read_text().count("is away (")


def _back_lines(site):
    return site.gunicorn.log.read_text().count("is back after")


def test_without_redis_one_process_keeps_the_limits(small_site):
    statuses = [small_site.get("/api/v1/public").status_code for _ in range(62)]
    assert statuses == [200] * 60 + [429] * 2
    assert "WEB_CONCURRENCY is ignored" in small_site.gunicorn.log.read_text()


def test_the_sign_in_form_of_the_admin_is_throttled_by_address(small_site):
    statuses = [small_site.post("/admin/login/").status_code for _ in range(101)]
    assert statuses == [403] * 100 + [429]  # 403: no CSRF token, and counted before
    assert small_site.get("/admin/login/").status_code == 200


def test_the_probes_answer(small_site):
    for path in ("/health", "/livez", "/health/db", "/ready", "/readyz"):
        # No host of ALLOWED_HOSTS: what asks is a load balancer.
        answer = small_site.get(path, headers={"Host": "10.1.2.3"})
        assert (answer.status_code, answer.json()["status"]) == (200, True)


@pytest.mark.parametrize(
    "mistake",
    [{"TRUSTED_PROXIES": "everybody"}, {"REDIS_URL": "redis://localhost:port"}],
)
def test_a_wrong_setting_is_met_at_the_start(tmp_path, mistake):
    gunicorn = Gunicorn(tmp_path / "db.sqlite3", **mistake)
    with pytest.raises(RuntimeError, match=next(iter(mistake))):
        gunicorn.serve()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("THREAD_POOL_SIZE", "many"),
        ("THREAD_POOL_SIZE", "0"),
        ("WORKER_TIMEOUT", "soon"),
        ("PORT", "http"),
    ],
)
def test_a_bad_value_is_refused_by_its_name(tmp_path, name, value):
    gunicorn = Gunicorn(
        tmp_path / "db.sqlite3", **{name: value, "REDIS_URL": "redis://x"}
    )
    with pytest.raises(RuntimeError, match=f"{name}='{value}': use a whole number"):
        gunicorn.serve()
