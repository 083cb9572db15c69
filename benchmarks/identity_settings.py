"""Settings of the benchmark of tokens and API keys."""

from __future__ import annotations

from benchmarks.settings import *  # noqa: F403
from benchmarks.settings import INSTALLED_APPS, PERFGUARD, REDIS_URL, SECRET_KEY
from perfguard.tokens.simplejwt import TOKEN_CLASSES

INSTALLED_APPS = [*INSTALLED_APPS, "rest_framework_api_key"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SIMPLE_JWT = {**TOKEN_CLASSES, "SIGNING_KEY": SECRET_KEY}
PERFGUARD = {**PERFGUARD, "REDIS_URL": REDIS_URL, "TOKEN_ACCESS_LIFETIME": "30m"}
ROOT_URLCONF = "benchmarks.identity"
