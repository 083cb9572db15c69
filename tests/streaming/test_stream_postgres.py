"""Open streams hold no connection to the database."""

from __future__ import annotations

from contextlib import ExitStack

import httpx
import psycopg
import pytest

from tests.servers import PostgresServer, wait_until
from tests.streaming.conftest import Site

# Of each kind of source: those that wait, and those that have asked the database.
SOURCES = [
    {"source": source, "kind": kind}
    for source in ("gated", "querying")
    for kind in ("sync", "async")
]
STREAMS = 52


@pytest.fixture(scope="module")
def postgres():
    with PostgresServer() as server:
        yield server


def connections_to(database):
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    with psycopg.connect(database, autocommit=True) as connection:
        return connection.execute(query).fetchone()[0]


@pytest.mark.parametrize("kind", ["gthread", "asgi"])
def test_fifty_open_streams_hold_no_connection(postgres, tmp_path, kind):
    database = postgres.create(kind)
    # Nobody asks meanwhile whether a token is good yet, which takes a query.
    site = Site(
        tmp_path / "none", kind, DATABASE_URL=database, STREAM_TEST_HEARTBEAT="100"
    )
    with site.server, ExitStack() as opened:
        body = {"email": "demo@example.com", "password": "demo-password"}
        made = httpx.post(f"{site.url}/api/v1/auths/signin", json=body, timeout=20)
        header = {"Authorization": f"Bearer {made.json()['token']}"}
        for number in range(STREAMS):
            # Each has asked the database, for the user and in the view.
            query = SOURCES[number % len(SOURCES)] | {"run": site.run().name}
            stream = opened.enter_context(site.open("guarded", header, **query))
            assert stream.next().data.startswith('{"number":')
        wait_until(lambda: not connections_to(database), "all connections to be closed")
