"""Settings of the benchmark of the pipeline: every layer off, and every layer on."""

from __future__ import annotations

import tempfile

from benchmarks.settings import *  # noqa: F403
from benchmarks.settings import INSTALLED_APPS, REDIS_URL, SECRET_KEY
from perfguard.tokens.simplejwt import TOKEN_CLASSES

INSTALLED_APPS = [
    *INSTALLED_APPS,
    "django.contrib.sessions",
    "django.contrib.messages",
    "corsheaders",
]
# Not in memory: each thread would have a database of its own.
_directory = tempfile.TemporaryDirectory()
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": f"{_directory.name}/pipeline.sqlite3",
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SIMPLE_JWT = {**TOKEN_CLASSES, "SIGNING_KEY": SECRET_KEY}
ROOT_URLCONF = "benchmarks.pipeline"
ALLOWED_HOSTS = ["testserver"]
CORS_ALLOWED_ORIGINS = ["http://testserver"]
SESSION_ENGINE = "django.contrib.sessions.backends.db"

OFF = {
    "REDIS_URL": REDIS_URL,
    "REQUEST_ID_HEADER": "",
    "PROCESS_TIME_HEADER": "",
    "HEADERS_PRESET": "off",
    "COMPRESSION_ENABLED": False,
    "CONDITIONAL_GET_ENABLED": False,
    "THROTTLE_ENABLED": False,
}
ON = {
    "REDIS_URL": REDIS_URL,
    "THROTTLE_PATHS": [{"path": "^/", "scope": "pipeline"}],
    "THROTTLE_RATES": {"pipeline": "100000000/hour"},
    "TRUSTED_PROXIES": ["127.0.0.1"],
    "TRUSTED_EMAIL_HEADER": "X-Email",
    "TRUSTED_PER_REQUEST": True,
    "API_KEYS_ENDPOINT_RESTRICTIONS": True,
    "API_KEYS_ALLOWED_ENDPOINTS": ["/page", "/apage"],
    "REDIRECTS": [{"path": "/old$", "to": "/new"}],
}
PERFGUARD = OFF
