"""Settings of one subject of the benchmark of the audit log, named by AUDIT_SUBJECT."""

from __future__ import annotations

import os
from typing import Any

import dj_database_url

SUBJECT = os.environ["AUDIT_SUBJECT"]
OURS = "perfguard.audit.middleware.AuditMiddleware"
EASY = "easyaudit.middleware.easyaudit.EasyAuditMiddleware"
LOGGER = "drf_api_logger.middleware.api_logger_middleware.APILoggerMiddleware"


def ours(level: str, durability: str = "async") -> dict[str, Any]:
    return {"AUDIT_LEVEL": level, "AUDIT_DURABILITY": durability}


# Name: middleware, options of PERFGUARD.
SUBJECTS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "bare": ([], {}),
    "NONE": ([OURS], ours("NONE")),
    "METADATA": ([OURS], ours("METADATA")),
    "REQUEST": ([OURS], ours("REQUEST")),
    "REQUEST_RESPONSE": ([OURS], ours("REQUEST_RESPONSE")),
    "METADATA, spool": ([OURS], ours("METADATA", "spool")),
    "METADATA, sync": ([OURS], ours("METADATA", "sync")),
    "django-easy-audit": ([EASY], {}),
    "drf-api-logger": ([LOGGER], {}),
}

SECRET_KEY = "of-the-benchmarks-" * 5
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "rest_framework",
    "perfguard",
]
MIDDLEWARE, PERFGUARD = SUBJECTS[SUBJECT]
if SUBJECT == "django-easy-audit":
    INSTALLED_APPS += ["easyaudit"]
    DJANGO_EASY_AUDIT_WATCH_MODEL_EVENTS = False
    DJANGO_EASY_AUDIT_WATCH_AUTH_EVENTS = False
elif SUBJECT == "drf-api-logger":
    INSTALLED_APPS += ["drf_api_logger"]
    DRF_API_LOGGER_DATABASE = True
elif SUBJECT.endswith("spool"):
    PERFGUARD["AUDIT_SPOOL_DIR"] = os.environ["AUDIT_SPOOL"]

# Connections that stay: the work of the audit log is measured, not that of connecting.
DATABASES = {"default": dj_database_url.parse(os.environ["DATABASE_URL"])}
DATABASES["default"]["CONN_MAX_AGE"] = None
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 10,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "benchmarks.audit_site"
ALLOWED_HOSTS = ["127.0.0.1"]
USE_TZ = True
LOGGING = {"version": 1, "loggers": {"perfguard": {"level": "ERROR"}}}
