"""Settings of the benchmarks: all limiters on one Redis, on a free port."""

from __future__ import annotations

import socket

from tests.servers import free_port

REDIS_PORT = free_port()
REDIS_URL = f"redis://127.0.0.1:{REDIS_PORT}/0"

# Taken, so that nobody else listens there; and never listened on.
_away = socket.socket()
_away.bind(("127.0.0.1", 0))
REDIS_AWAY_URL = f"redis://127.0.0.1:{_away.getsockname()[1]}/0"

SECRET_KEY = "of-the-benchmarks-" * 5
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "rest_framework",
    "perfguard",
]
CACHES = {
    "default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": REDIS_URL}
}
LOGGING = {"version": 1, "loggers": {"perfguard": {"level": "ERROR"}}}
PERFGUARD = {
    "REDIS_URL": REDIS_URL,
    "THROTTLE_RATES": {
        "short": "15/3 minutes",
        "long": "1000/hour",
        "three": ["15/3 minutes", "1000/hour", "100000/day"],
    },
}
