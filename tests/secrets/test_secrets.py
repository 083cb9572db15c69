"""No secret is left lying about, after a site's whole life: ``course.py``."""

from __future__ import annotations

import pytest
from django.core import signing

from tests.secrets.course import PLANTED
from tests.secrets.search import Secrets, keys_in, readable
from tests.servers import Gunicorn


def test_the_search_finds_every_form():
    secrets = Secrets(it="planted/Secret+7f3b1d9c5e2a")
    assert secrets.found_in("nothing") == []
    for text in (
        "GET /?x=planted/Secret+7f3b1d9c5e2a",
        "GET /?x=planted%2FSecret%2B7f3b1d9c5e2a",
        "706c616e7465642f5365637265742b376633623164396335653261",
        "cGxhbnRlZC9TZWNyZXQrN2YzYjFkOWM1ZTJh",
        "eHBsYW50ZWQvU2VjcmV0KzdmM2IxZDljNWUyYQ==",
    ):
        assert [name for name, _ in secrets.found_in(text)] == ["it"], text


def test_the_search_finds_what_a_cookie_holds():
    secrets = Secrets(it=PLANTED["basic"])
    for compress in (False, True):
        cookie = signing.dumps([PLANTED["basic"]] * 9, compress=compress)
        assert secrets.found_in(readable(cookie))


def test_the_course_met_what_it_was_to_meet(site):
    """Else it would prove nothing."""
    statuses = {answer.status for answer in site.answers}
    assert statuses >= {200, 201, 204, 302, 400, 401, 403, 404, 415, 500, 503}
    assert len(site.secrets.known) > len(PLANTED) + 20  # what was issued
    issued = [answer for answer in site.answers if answer.meant]
    assert sum(bool(keys_in(answer.body)) for answer in issued) == 5
    assert '"POST /api/v1/auths/signin HTTP/1.1" 200' in site.log
    assert "is away (" in site.log
    assert "Traceback" in site.log
    assert any(key.endswith(":generation") for key, _ in site.redis)
    stored = {(table, column) for table, column, _ in site.database}
    assert ("django_admin_log", "change_message") in stored
    assert ("django_session", "session_data") in stored
    assert ("perfguard_apikey", "hashed_secret") in stored
    assert any("messages=" in each for each in cookies(site))


def test_no_secret_is_logged(site):
    """By the project, by gunicorn, and in its access log, at the level of DEBUG."""
    assert site.secrets.found_in(site.log) == []


def test_no_secret_is_stored(site):
    """In no column of no table, and in no page that the database freed. Passwords and
    API keys are there as hashes, and refresh tokens not at all."""
    for table, column, value in site.database:
        assert site.secrets.found_in(readable(value)) == [], (table, column)


def test_no_secret_is_in_the_log_of_the_admin(site):
    rows = [
        (column, value)
        for table, column, value in site.database
        if table == "django_admin_log"
    ]
    assert len(rows) >= 5 * 7
    assert [each for _, each in rows if site.secrets.found_in(each)] == []
    assert not keys_in("\n".join(each for _, each in rows))


def test_no_secret_is_in_redis(site):
    for key, value in site.redis:
        assert site.secrets.found_in(f"{key} {value}") == [], key


def test_no_secret_is_in_a_cookie(site):
    for each in cookies(site):
        assert site.secrets.found_in(readable(each)) == []


def test_no_secret_is_in_an_address(site):
    """Neither of a redirect nor of a request that a page led to."""
    for answer in site.answers:
        addresses = [answer.asked, *answer.all_of("location")]
        assert site.secrets.found_in("\n".join(addresses)) == []


def test_no_secret_is_in_a_header(site):
    for answer in site.answers:
        assert site.secrets.found_in(str(answer.headers)) == [], answer.asked


def test_a_secret_is_told_once_and_to_whom_it_was_meant(site):
    """Pages about faults among them, with DEBUG and without."""
    for answer in site.answers:
        found = site.secrets.found_in(answer.body, but=answer.meant)
        assert found == [], (answer.asked, answer.status)


def test_no_page_about_a_fault_tells_of_it_without_debug(site):
    if site.gunicorn.env["DEBUG"] == "true":
        return
    for answer in site.answers:
        if answer.status == 500:
            assert "Traceback" not in answer.body
            assert len(answer.body) < 500


def cookies(site):
    return [each for answer in site.answers for each in answer.all_of("set-cookie")]


# -- what an operator sees -------------------------------------------------------------

PASSWORD = PLANTED["REDIS"]
GOOD = f"redis://:{PASSWORD}@localhost:6379/0"
SHORT = "Short-7f3"
WRONG = {
    "a port that is none": {"REDIS_URL": f"redis://:{PASSWORD}@host:99999999/0"},
    "a port that is a word": {"REDIS_URL": f"redis://:{PASSWORD}@host:port/0"},
    "a password with a slash": {"REDIS_URL": f"redis://:x/{PASSWORD}@host:6379/0"},
    "a slash after it": {"REDIS_URL": f"redis://:{PASSWORD}/x@host:6379/0"},
    "a scheme": {"REDIS_URL": f"http://:{PASSWORD}@host/0"},
    "no scheme": {"REDIS_URL": f"{PASSWORD}@host:6379"},
    "an option": {"REDIS_URL": f"redis://:{PASSWORD}@host/0?socket_timeout=x"},
    "a database": {"REDIS_URL": f"redis://:{PASSWORD}@host/x"},
    "a sentinel": {"REDIS_URL": GOOD, "REDIS_SENTINEL_HOSTS": f"x:{PASSWORD}@host:1"},
    "old keys": {"JWT_OLD_KEYS": PASSWORD},
    "old keys that are short": {"JWT_OLD_KEYS": f"1={SHORT}"},
    "a short key": {"JWT_SIGNING_KEY": SHORT},
    "a short key of all": {"SECRET_KEY": SHORT},
    "a short pepper": {"API_KEYS_PEPPER": SHORT},
    "half a secret": {"TRUSTED_SECRET": PLANTED["TRUSTED_SECRET"]},
    "a short secret": {"TRUSTED_SECRET": SHORT, "TRUSTED_SECRET_HEADER": "X-Word"},
    "a secret for a header": {"TRUSTED_SECRET": SHORT, "TRUSTED_SECRET_HEADER": "Host"},
    "a database's port": {"DATABASE_URL": f"postgres://x:{PASSWORD}@host:port/x"},
    "a database's scheme": {"DATABASE_URL": f"x://x:{PASSWORD}@host/x"},
    "a database's slash": {"DATABASE_URL": f"postgres://x:1/{PASSWORD}@host/x"},
    "a slash after that": {"DATABASE_URL": f"postgres://x:{PASSWORD}/1@host/x"},
    "a database's bracket": {"DATABASE_URL": f"postgres://x:{PASSWORD}@[host/x"},
}


@pytest.mark.parametrize("name", WRONG)
def test_a_complaint_about_a_setting_does_not_quote_it(name, manage, clean):
    trusted = {"WEBUI_AUTH_TRUSTED_EMAIL_HEADER": "X-Email", "TRUSTED_PROXIES": "::1"}
    code, text = manage("check", "--deploy", **{**clean, **trusted, **WRONG[name]})
    assert code or "WARNINGS" in text
    assert text
    assert Secrets(**PLANTED, short=SHORT).found_in(text) == []


def test_a_command_tells_a_new_key_and_nothing_else(site, manage):
    admin = "admin@example.com"
    # Redis is away here: that, too, is told without its password.
    made = manage(
        "perfguard_keys", "create", admin, "of a command", **site.gunicorn.env
    )
    (key,) = keys_in(made[1])
    key_id = key[4:16]
    texts = [
        manage(*words.split(), **site.gunicorn.env)[1]
        for words in (
            "perfguard_keys list --all",
            f"perfguard_keys revoke {key_id}",
            f"perfguard_tokens list {admin}",
            "perfguard_throttle show user:1",
            "check --deploy",
        )
    ]
    assert made[1].count(key) == 1
    secrets = Secrets(**PLANTED)
    assert secrets.found_in(made[1]) == []
    secrets.add_key("the new key", key)
    assert secrets.found_in("\n".join(texts)) == []


def test_the_log_of_a_server_that_will_not_start_quotes_nothing(tmp_path, clean):
    gunicorn = Gunicorn(tmp_path / "db.sqlite3", **WRONG["an option"])
    with pytest.raises(RuntimeError, match="gthread ended with") as raised:
        gunicorn.serve()
    assert "REDIS_URL" in str(raised.value)
    assert Secrets(**PLANTED).found_in(str(raised.value)) == []
