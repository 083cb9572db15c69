from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connections

from perfguard.audit import log
from perfguard.audit.models import AuditEntry, AuditSeal
from perfguard.audit.quiet import quiet
from perfguard.conf import conf
from tests.servers import PostgresServer

ALIAS = "audit"


@pytest.fixture(scope="session")
def audit_postgres() -> Iterator[str]:
    """The URL of a database without tables."""
    with PostgresServer() as server:
        yield server.create("audit")


@pytest.fixture
def postgres_log(
    audit_postgres: str, transactional_db: None, perfguard: Any
) -> Iterator[str]:
    """An empty log in PostgreSQL, which is AUDIT_DATABASE."""
    url = urlsplit(audit_postgres)
    connections.databases[ALIAS] = {
        **connections.databases["default"],
        "ENGINE": "tests.audit.late_postgres",
        "NAME": url.path[1:],
        "USER": url.username,
        "HOST": url.hostname,
        "PORT": url.port,
        "OPTIONS": {},
    }
    perfguard(AUDIT_DATABASE=ALIAS)
    with connections[ALIAS].schema_editor() as editor:
        editor.create_model(AuditEntry)
        editor.create_model(AuditSeal)
    yield ALIAS
    with connections[ALIAS].schema_editor() as editor:
        editor.delete_model(AuditEntry)
        editor.delete_model(AuditSeal)
    connections[ALIAS].close()
    del connections[ALIAS]
    del connections.databases[ALIAS]


@pytest.fixture(params=["sqlite", "postgres"])
def log_database(
    request: pytest.FixtureRequest, transactional_db: None, perfguard: Any
) -> str:
    """The alias of AUDIT_DATABASE, of each kind in turn, with an empty log."""
    if request.param == "postgres":
        return request.getfixturevalue("postgres_log")
    perfguard()
    return "default"


@pytest.fixture(autouse=True)
def _no_writers() -> Iterator[None]:
    """What one test has recorded is no other's: threads end, with their connections."""
    quiet.renew()
    yield
    # The database is gone by now: what a test has not waited for is not waited for.
    conf.AUDIT_DRAIN_SECONDS  # reads all settings
    vars(conf)["AUDIT_DRAIN_SECONDS"] = 0.1
    log.close()
    vars(conf).clear()


@pytest.fixture
def entries(transactional_db: Any) -> Callable[..., list[AuditEntry]]:
    """``entries(**filters)``: what was stored, oldest first."""

    def stored(**filters: Any) -> list[AuditEntry]:
        assert log.flush()
        return list(AuditEntry.objects.filter(**filters).order_by("at", "id"))

    return stored


@pytest.fixture
def only(entries: Any) -> Callable[..., AuditEntry]:
    """The one entry of a request."""

    def one(**filters: Any) -> AuditEntry:
        (entry,) = entries(kind="request", **filters)
        return entry

    return one
