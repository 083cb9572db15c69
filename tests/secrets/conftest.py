"""A real site whose secrets can be recognised, and all that it leaves behind."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from types import SimpleNamespace

import pytest

from tests.secrets.course import PLANTED, PROXY_SECRET, Course
from tests.servers import ROOT, Gunicorn, RedisServer


@pytest.fixture(scope="module", params=["false", "true"], ids=["DEBUG=", "DEBUG=true"])
def site(request, tmp_path_factory):
    """After a whole life: what was answered, logged and stored."""
    database = tmp_path_factory.mktemp("site") / "db.sqlite3"
    with RedisServer() as redis:
        with redis.client() as client:
            client.config_set("requirepass", PLANTED["REDIS"])
        gunicorn = Gunicorn(database, **environment(redis, request.param))
        course = Course(gunicorn.url)
        with gunicorn, course.client:
            run(course, database)
            tokens = course.tokens()
            with redis.client(password=PLANTED["REDIS"]) as client:
                held = everything_in(client)
            redis.kill()
            course.without_redis(tokens)
        yield SimpleNamespace(
            course=course,
            secrets=course.secrets,
            answers=course.answers,
            log=gunicorn.log.read_text(errors="surrogateescape"),
            redis=held,
            database=rows_of(database),
            gunicorn=gunicorn,
        )


def environment(redis, debug):
    return {
        "DEBUG": debug,
        "LOG_LEVEL": "DEBUG",
        "ACCESS_LOG": "-",
        "WEB_CONCURRENCY": "1",
        "REDIS_URL": f"redis://:{PLANTED['REDIS']}@127.0.0.1:{redis.port}/0",
        "SECRET_KEY": PLANTED["SECRET_KEY"],
        "JWT_SIGNING_KEY": PLANTED["JWT_SIGNING_KEY"],
        "JWT_KEY_ID": "2026",
        "JWT_OLD_KEYS": f"2025={PLANTED['JWT_OLD_KEYS']}",
        "API_KEYS_PEPPER": PLANTED["API_KEYS_PEPPER"],
        "TRUSTED_PROXIES": "127.0.0.1",
        "WEBUI_AUTH_TRUSTED_EMAIL_HEADER": "X-Email",
        "TRUSTED_SECRET_HEADER": PROXY_SECRET,
        "TRUSTED_SECRET": PLANTED["TRUSTED_SECRET"],
        "TRUSTED_CREATE_USERS": "true",
        "DEFAULT_USER_ROLE": "user",
        "ENABLE_PASSWORD_AUTH": "true",
        "ENABLE_API_KEYS_ENDPOINT_RESTRICTIONS": "false",
        "DEMO_PASSWORD": PLANTED["DEMO_PASSWORD"],
        "DEMO_ADMIN_PASSWORD": PLANTED["DEMO_ADMIN_PASSWORD"],
    }


def run(course, database):
    course.sign_ins()
    course.sessions()
    course.bad_tokens()
    course.passwords()
    course.trusted_header()
    course.api_keys()
    course.admin_pages()
    course.errors(database)


def rows_of(database):
    """(table, column, value) of the whole database, also of pages that were freed."""
    with closing(sqlite3.connect(database)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type='table'")
        found = []
        for (table,) in tables.fetchall():
            cursor = connection.execute(f'SELECT * FROM "{table}"')
            columns = [each[0] for each in cursor.description]
            found += [
                (table, column, str(value))
                for row in cursor
                for column, value in zip(columns, row, strict=True)
            ]
    files = [database, *database.parent.glob("db.sqlite3-*")]
    freed = b"".join(each.read_bytes() for each in files)
    return [*found, ("the file", "freed pages", freed.decode("latin-1"))]


def everything_in(client):
    """(key, value) of all of Redis, as text."""
    readers = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
    }
    return [
        (key.decode("latin-1"), str(readers[client.type(key)](key)))
        for key in client.scan_iter(count=1000)
    ]


@pytest.fixture
def clean(tmp_path):
    """An environment in which all is well."""
    return Gunicorn(tmp_path / "db.sqlite3").env


@pytest.fixture
def manage():
    """``manage("check", NAME=value)``: what it writes, to either stream."""

    def run_it(*args, **env):
        done = subprocess.run(
            [sys.executable, "manage.py", *args],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout + done.stderr

    return run_it
