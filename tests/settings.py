"""The project's own settings, on fast passwords and a database in memory."""

from __future__ import annotations

import os

os.environ.setdefault("SECRET_KEY", "of-the-tests-" * 5)
os.environ["DATABASE_URL"] = "sqlite://:memory:"
for name in ("REDIS_URL", "DEBUG", "HTTPS", "TRUSTED_PROXIES"):
    os.environ.pop(name, None)

from project.settings import *  # noqa: E402, F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
MIDDLEWARE = [each for each in MIDDLEWARE if "whitenoise" not in each]  # noqa: F405
PERFGUARD = {}
ROOT_URLCONF = "tests.urls"
