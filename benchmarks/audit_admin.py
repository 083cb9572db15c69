"""The audit log's pages in the admin, on a PostgreSQL with millions of entries.

The table is filled by the server itself, as a log grows: in the order of the time, over
90 days, a few users sending most of it. A page is a whole request through Django's test
client, with sign-in, permissions and rendering; "first" is its first request, "again"
the median of the ones after it. The indexes are those that EXPLAIN names for the
queries of that very request, and "Seq Scan" is printed where there is one.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.servers import PostgresServer, free_port

PORT = free_port()
os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
os.environ["DATABASE_URL"] = f"postgres://postgres@127.0.0.1:{PORT}/audit"
os.environ["ALLOWED_HOSTS"] = "testserver"
os.environ.setdefault("SECRET_KEY", "of-the-benchmarks-" * 5)
os.environ.pop("REDIS_URL", None)

import django

django.setup()

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext, setup_test_environment
from django.urls import reverse

from perfguard.audit.models import AuditEntry
from perfguard.audit.pages.paging import Position

TABLE = "perfguard_auditentry"
DAYS = 90
NAME = 34  # columns of the table
SCAN = re.compile(r"(?:Index.*? using|Index Scan on) (\w+)|(Seq Scan) on " + TABLE)
FILL = """
INSERT INTO perfguard_auditentry (
  entry_id, at, kind, level, method, url, route, status, outcome, refused_by, error,
  duration_us, bytes_in, bytes_out, actor_kind, actor_id, actor_label, address,
  user_agent, request_id, trace_id, marker, request_headers, request_body,
  request_truncated, response_headers, response_body, response_truncated, details,
  key_id, mac)
SELECT
  md5('entry' || n)::uuid,
  now() - make_interval(secs => {seconds} * (1 - n / {rows}.0)),
  CASE WHEN dice < 0.002 THEN 'sign_in_refused' WHEN dice < 0.02 THEN 'sign_in'
       ELSE 'request' END,
  'REQUEST',
  (ARRAY['POST','POST','POST','POST','PUT','PATCH','GET','GET','GET','DELETE'])
    [1 + n % 10],
  CASE WHEN n % {rare} = 7 THEN '/api/v1/rare/' || n
       ELSE '/api/v1/notes/' || n % 5000 || '?page=' || n % 7 END,
  CASE WHEN n % {rare} = 7 THEN '/api/v1/rare/<id>' ELSE '/api/v1/notes/<id>' END,
  CASE WHEN n < {rows} / 1000 AND n % 50 = 0 THEN 418
       WHEN odds < 0.0005 THEN 503 WHEN odds < 0.001 THEN 500
       WHEN odds < 0.015 THEN 429 WHEN odds < 0.03 THEN 401
       WHEN odds < 0.06 THEN 404 WHEN odds < 0.2 THEN 201 ELSE 200 END,
  CASE WHEN odds < 0.001 THEN 'error' WHEN odds < 0.03 THEN 'refused'
       WHEN odds < 0.031 THEN 'aborted' ELSE 'completed' END,
  CASE WHEN odds BETWEEN 0.001 AND 0.03 THEN 'throttle' ELSE '' END,
  '', (1000 * exp(4 * dice))::bigint, 300, 900, 'token',
  who::text, 'user' || who || '@example.com',
  '10.' || who / 4000 || '.' || who / 100 % 250 || '.' || who % 250,
  'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36',
  md5('request' || n),
  CASE WHEN n % 10 = 0 THEN md5('trace' || n) ELSE '' END,
  left(md5('session' || who || n / 100000), 16),
  '{{"content-type": "application/json", "accept": "*/*", "host": "api.example.com"}}',
  '{{"text": "' || repeat(md5(n::text), 4) || '"}}', false,
  '{{"content-type": "application/json"}}', '{{"id": ' || n || '}}', false, '',
  '0123456789abcdef', repeat(md5(n::text), 2)
FROM (
  SELECT n, random() AS dice, random() AS odds,
         floor(20000 * power(random(), 4))::int AS who
  FROM generate_series({first}, {last}) AS n ORDER BY n) AS drawn
"""


def fill(rows: int) -> None:
    indexes = AuditEntry._meta.indexes
    with connection.schema_editor() as editor:
        for index in indexes:
            editor.remove_index(AuditEntry, index)
    share = 250_000
    with connection.cursor() as cursor:
        for first in range(1, rows + 1, share):
            values = {
                "rows": rows,
                "rare": max(rows // 20, 10),
                "seconds": DAYS * 86_400,
                "first": first,
                "last": min(first + share - 1, rows),
            }
            cursor.execute(FILL.format(**values))
            print(f"\r{values['last']:,} rows", end="", file=sys.stderr)
    with connection.schema_editor() as editor:
        for index in indexes:
            editor.add_index(AuditEntry, index)
    with connection.cursor() as cursor:
        cursor.execute(f"VACUUM ANALYZE {TABLE}")
    print(file=sys.stderr)


def pages(client: Any) -> dict[str, str]:
    """The name of a page, and its address behind the list's."""
    entries = AuditEntry.objects
    middle = entries.get(pk=entries.order_by("-pk").values_list("pk")[0][0] // 2)
    newest = entries.order_by("-at").first()
    day = middle.at.date().isoformat()
    return {
        "first page": "",
        "deep page (the middle)": f"?before={Position.of(middle).token()}",
        "the page before it": f"?after={Position.of(middle).token()}",
        "year": f"?on={day[:4]}",
        "month": f"?on={day[:7]}",
        "day": f"?on={day}",
        "past 7 days": "?time=week",
        "a busy user": "?q=user:0",
        "a user by name": "?q=user19000@example.com",
        "a user of that name, nobody": "?q=nobody@example.com",
        "an address": f"?q={middle.address}",
        "an id": f"?q={middle.request_id}",
        "request:": f"?q=request:{middle.request_id}",
        "session:": f"?q=session:{middle.marker}",
        "status:404": "?q=status:404",
        "status:418, long ago": "?q=status:418",
        "kind:sign_in_refused": "?q=kind:sign_in_refused",
        "filter: an event": "?kind=sign_in",
        "filter: all events": "?kind=events",
        "filter: aborted": "?outcome=aborted",
        "filter: error": "?outcome=error",
        "filter: 4xx": "?status=4xx",
        "filter: 5xx": "?status=5xx",
        "filter: 3xx, of which is none": "?status=3xx",
        "filter: DELETE": "?method=DELETE",
        "filter: by API key, none": "?by=api_key",
        "a user and 5xx": "?q=user:0&status=5xx",
        "a path": "?q=/api/v1/notes/77",
        "a rare path": "?q=/api/v1/rare/",
        "a rare path on a day": f"?q=/api/v1/rare/&on={day}",
        "one entry": f"{newest.pk}/change/",
    }


def measured(get: Callable[[], Any], times: int) -> dict[str, Any]:
    first = timed(get)
    with CaptureQueriesContext(connection) as captured:
        answer = get()
    if answer.status_code != 200:
        raise RuntimeError(f"The page answered {answer.status_code}.")
    asked = [each["sql"] for each in captured.captured_queries]
    of_log = [sql for sql in asked if TABLE in sql]
    changelist = answer.context.get("cl")
    return {
        "first_ms": first,
        "again_ms": median(timed(get) for _ in range(times)),
        "queries": len(asked),
        "of_the_log": len(of_log),
        "entries": len(changelist.result_list) if changelist else 1,
        "complete": not (changelist and changelist.page.looked_until),
        "indexes": sorted({name for sql in of_log for name in indexes_of(sql)}),
        "counts": sum("COUNT(" in sql for sql in asked),
    }


def timed(get: Callable[[], Any]) -> float:
    start = perf_counter()
    get()
    return (perf_counter() - start) * 1000


def indexes_of(sql: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {sql}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    found = ["".join(each) for each in SCAN.findall(plan)]
    return [name.removeprefix("perfguard_") for name in found]


def shown(name: str, row: dict[str, Any]) -> str:
    entries = f"{row['entries']}{'' if row['complete'] else ' …'}"
    return (
        f"{name:<{NAME}}{row['first_ms']:>9.1f}{row['again_ms']:>9.1f}"
        f"{entries:>9}{row['queries']:>9}  {', '.join(row['indexes'])}"
    )


def stock(rows: int) -> dict[str, float]:
    """What Django's own list would ask, for each page."""
    asked = {
        "COUNT(*) of all": f"SELECT COUNT(*) FROM {TABLE}",
        "date_hierarchy, the days of a month": (
            f"SELECT DISTINCT DATE_TRUNC('day', at AT TIME ZONE 'UTC') FROM {TABLE} "
            "WHERE at > now() - interval '60 days' AND at < now() - interval '30 days'"
        ),
        "the page in the middle, by OFFSET": (
            f"SELECT * FROM {TABLE} ORDER BY at DESC, id DESC "
            f"LIMIT 100 OFFSET {rows // 2}"
        ),
    }
    found = {}
    for name, sql in asked.items():
        with connection.cursor() as cursor:
            start = perf_counter()
            cursor.execute(sql)
            found[name] = (perf_counter() - start) * 1000
    return found


def run(rows: int, times: int) -> dict[str, Any]:
    setup_test_environment()  # so that answers tell their context
    call_command("migrate", verbosity=0)
    start = perf_counter()
    fill(rows)
    filled = perf_counter() - start
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("root@example.com"))
    client.get("/admin/")
    base = reverse("admin:perfguard_auditentry_changelist")
    found = {
        name: measured(lambda rest=rest: client.get(base + rest), times)
        for name, rest in pages(client).items()
    }
    return {"rows": rows, "fill_s": filled, "pages": found, "stock_ms": stock(rows)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--times", type=int, default=5, help="requests per page")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    server = PostgresServer()
    server.port = PORT
    with server:
        server.create("audit")
        result = run(options.rows, options.times)
        connection.close()
    print(f"{result['rows']:,} entries, filled in {result['fill_s']:.0f} s; ms\n")
    print(f"{'':<{NAME}}{'first':>9}{'again':>9}{'entries':>9}{'queries':>9}  indexes")
    for name, row in result["pages"].items():
        print(shown(name, row))
    print("\nas Django's own list would ask")
    for name, milliseconds in result["stock_ms"].items():
        print(f"{name:<{NAME + 9}}{milliseconds:>9.1f}")
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
