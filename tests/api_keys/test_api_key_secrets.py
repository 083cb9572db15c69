"""A secret is in the answer that makes it, and nowhere else."""

from __future__ import annotations

import logging
import sys

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.views.debug import ExceptionReporter

from perfguard.api_keys import services
from perfguard.api_keys.keyring import keyring
from perfguard.api_keys.keys import Credential, parse
from perfguard.api_keys.models import ApiKey
from perfguard.api_keys.records import load
from perfguard.api_keys.requests import answer_for

pytestmark = [
    pytest.mark.urls("tests.api_keys.urls_api_keys"),
    pytest.mark.django_db(transaction=True),
]


def everything_in_redis(redis):
    client = redis.client()
    return [(name, client.dump(name), client.get(name)) for name in client.scan_iter()]


def everything_in_the_database():
    rows = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')
            rows += [(table, *row) for row in cursor.fetchall()]
    return rows


def test_no_secret_stays_anywhere(
    api, owner, boss, redis, perfguard, caplog, capsys, refused, changed
):
    caplog.set_level(logging.DEBUG)
    connection.force_debug_cursor = True  # queries are logged, with their values
    made = [services.create(owner, "by hand"), services.create(owner, "limited")]
    services.restrict(made[1].api_key, ["GET chats"])
    made.append(services.rotate(made[0].api_key))
    call_command("perfguard_keys", "create", "ada@example.com", "by command")
    texts = [each.text for each in made] + [capsys.readouterr().out.strip()]
    root = Client()
    root.force_login(boss)
    added = root.post(
        "/admin/perfguard/apikey/add/",
        {"owner": owner.pk, "label": "by admin", "allowed_endpoints": "", "rate": ""}
        | {"expires_at_0": "", "expires_at_1": ""},
    )
    texts.append(added.context["text"])
    for text in texts:
        for path in ("/api/v1/who", "/plain/sync", "/api/v1/keys", "/api/v1/nowhere"):
            api.get(path, text)
        api.get("/api/v1/who", f"{text}x")
        api.get("/api/v1/who", f"{text[:-7]}AAAAAAA")
    perfguard(API_KEYS_PEPPER="a pepper of the tests, and long enough")
    api.get("/api/v1/who", texts[0])
    perfguard(REDIS_URL="redis://127.0.0.1:1/0")
    api.get("/api/v1/who", texts[0])
    call_command("perfguard_keys", "list", "--all")
    services.revoke(made[0].api_key)
    connection.force_debug_cursor = False
    captured = capsys.readouterr()
    places = {
        "logs": caplog.text + captured.out + captured.err,
        "Redis": str(everything_in_redis(redis)),
        "database": str(everything_in_the_database()),
        "admin log": str([each.__dict__ for each in LogEntry.objects.all()]),
        "cookies": f"{root.cookies}{api.client.cookies}",
        "signals": str([{**each, "request": None} for each in refused + changed]),
    }
    assert "by hand" in places["database"]
    assert "hashed_secret" in places["Redis"]
    assert len(texts) == 5
    for text in texts:
        secret = parse(text).secret
        assert [name for name, held in places.items() if secret in held] == []


def test_no_repr_shows_a_secret_or_a_hash(issued, rf):
    credential = parse(issued.text)
    request = rf.get("/", headers={"Authorization": f"Api-Key {issued.text}"})
    shown = repr(
        [
            credential,
            issued,
            issued.api_key,
            load(credential.key_id),
            answer_for(request),
            keyring.find(credential),
            Credential("A" * 12, credential.secret),
        ]
    )
    assert credential.secret not in shown
    assert issued.api_key.hashed_secret not in shown


@pytest.mark.parametrize("header", ["Authorization: Api-Key {}", "X-API-Key: {}"])
def test_no_report_of_an_error_shows_a_secret(
    issued, rf, perfguard, monkeypatch, header
):
    perfguard(API_KEYS_HEADER="X-API-Key")
    name, _, value = header.format(issued.text).partition(": ")
    request = rf.get("/api/v1/who", headers={name: value})

    def fail(credential: Credential) -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr(keyring, "find", fail)
    with pytest.raises(RuntimeError):
        answer_for(request)
    try:
        answer_for(request)
    except RuntimeError:
        reporter = ExceptionReporter(request, *sys.exc_info())
    report = reporter.get_traceback_text() + reporter.get_traceback_html()
    assert "_ask" in report
    # Of this very function the report shows everything.
    frames = [
        str(frame["vars"])
        for frame in reporter.get_traceback_frames()
        if "perfguard/api_keys" in frame["filename"]
    ]
    assert len(frames) == 2
    secret = parse(issued.text).secret
    assert [values for values in frames if secret in values] == []


def test_the_rows_hold_no_more_than_they_must(issued):
    row = ApiKey.objects.values().get()
    assert set(row) == {
        "id",
        "key_id",
        "hashed_secret",
        "owner_id",
        "label",
        "created",
        "created_by",
        "expires_at",
        "revoked_at",
        "revoked_by",
        "is_restricted",
        "allowed_endpoints",
        "rate",
        "last_used_at",
        "replaced_by_id",
    }
