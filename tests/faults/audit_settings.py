"""The project's own settings around a few small views whose requests need no database;
the audit log is in one of its own, which may be taken away."""

from __future__ import annotations

import ast

import dj_database_url

from project import env
from project.settings import *  # noqa: F403

ROOT_URLCONF = "tests.faults.audit_views"
DATABASES["audit"] = dj_database_url.parse(  # noqa: F405
    env.text("AUDIT_DATABASE_URL"), conn_max_age=60, conn_health_checks=True
)
PERFGUARD |= {  # noqa: F405
    "AUDIT_DATABASE": "audit",
    "AUDIT_ANONYMOUS": True,
    "AUDIT_EXCLUDED_PATHS": ["/state"],
    **ast.literal_eval(env.text("PERFGUARD", "{}")),
}
