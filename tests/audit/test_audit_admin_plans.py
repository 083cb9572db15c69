"""Every question of the list has an index, in PostgreSQL's own words."""

from __future__ import annotations

import re

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from perfguard.audit.models import AuditEntry
from perfguard.audit.pages import paging
from perfguard.audit.pages.paging import Position
from tests.audit.audit_admin_rows import LIST, event, row

HEX = "0af7651916cd43dd8448eb211c80319c"
USED = re.compile(r"(?:Index.*? using|Index Scan on) (\w+)")
QUESTIONS = {
    "": "at",
    "?on=2026-11-01": "at",
    "?time=week": "at",
    "?q=user:7": "actor",
    "?q=user7@example.com": "label",
    "?q=10.0.0.7": "address",
    "?q=status:429": "status",
    "?q=kind:sign_in": "kind",
    "?kind=sign_in": "kind",
    "?outcome=aborted": "outcome",
    "?q=request:request-7": "request",
    f"?q=trace:{HEX}": "trace",
    "?q=session:s7": "marker",
    "?q=user:7&status=2xx&method=POST": "actor",
    "?status=4xx": "status",
    "?method=DELETE": "at",
    "?q=/api/v1/notes": "at",
    "?by=api_key": "at",
    "?kind=events": "at",
}


def plenty():
    for number in range(6000):
        who = str(number % 200)
        values = {
            "actor_id": who,
            "actor_label": f"user{who}@example.com",
            "address": f"10.0.0.{number % 200}",
            "status": 429 if number % 150 == 9 else 200,
            "outcome": "aborted" if number % 100 == 3 else "completed",
            "marker": f"s{who}" if number % 2 else "",
            "trace_id": f"{number:032x}" if number % 10 == 0 else "",
        }
        if number % 150 == 5:
            yield event(number, "sign_in", url=f"/?n={number}")
        else:
            yield row(number, **values)


@pytest.fixture
def filled(postgres_log, admin_client, perfguard, monkeypatch):
    perfguard(AUDIT_DATABASE=postgres_log, AUDIT_EVENTS=())
    monkeypatch.setattr(paging, "STRIDE", 1000)
    AuditEntry.objects.using(postgres_log).bulk_create(plenty(), batch_size=1000)
    connection = connections[postgres_log]
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE perfguard_auditentry")

    def plans(query):
        with CaptureQueriesContext(connection) as queries:
            assert admin_client.get(LIST + query).status_code == 200
        asked = [each["sql"] for each in queries]
        return asked, [_explained(connection, sql) for sql in asked]

    return plans


def _explained(connection, sql):
    with connection.cursor() as cursor:
        # A table of thousands is read as soon as its index: that of millions is not.
        cursor.execute("SET enable_seqscan = off")
        cursor.execute(f"EXPLAIN {sql}")
        return "\n".join(line for (line,) in cursor.fetchall())


def test_every_question_has_an_index(filled, postgres_log):
    middle = AuditEntry.objects.using(postgres_log).order_by("at")[3000]
    token = Position.of(middle).token()
    deep = {f"?before={token}": "at", f"?after={token}": "at"}
    for query, index in {**QUESTIONS, **deep}.items():
        asked, plans = filled(query)
        used = {name for plan in plans for name in USED.findall(plan)}
        assert f"perfguard_audit_{index}" in used, query
        assert not [plan for plan in plans if "Seq Scan" in plan], query
        assert not [sql for sql in asked if "COUNT(" in sql], query


def test_an_id_is_found_by_the_indexes_together(filled):
    _asked, plans = filled(f"?q={HEX}")
    (plan,) = [each for each in plans if "BitmapOr" in each]
    assert {"trace", "request", "marker"} <= {
        name.rpartition("_")[2] for name in USED.findall(plan)
    }


def test_a_name_is_found_by_the_indexes_together(filled, django_user_model):
    django_user_model.objects.create_user("user7@example.com", pk=7)
    _asked, plans = filled("?q=user:user7@example.com")
    (plan,) = [each for each in plans if "BitmapOr" in each]
    used = {name.rpartition("_")[2] for name in USED.findall(plan)}
    assert used == {"label", "actor"}


def test_the_entries_of_a_seal_are_found_by_their_ids(filled, postgres_log):
    first = AuditEntry.objects.using(postgres_log).order_by("id")[3000].pk
    _asked, plans = filled(f"?q=entry:{first}-{first + 50}")
    assert [each for each in plans if "perfguard_auditentry_pkey" in each]


def test_a_deep_page_begins_at_its_place(filled, postgres_log):
    middle = AuditEntry.objects.using(postgres_log).order_by("at")[3000]
    _asked, plans = filled(f"?before={Position.of(middle).token()}")
    assert [each for each in plans if re.search(r"Index Cond: \(at <= '", each)]
