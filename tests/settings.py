"""The project's own settings, on fast passwords and a database of the run's own."""

from __future__ import annotations

import os
import tempfile

os.environ.setdefault("SECRET_KEY", "of-the-tests-" * 5)
os.environ["DATABASE_URL"] = "sqlite://:memory:"
for name in ("REDIS_URL", "DEBUG", "HTTPS", "TRUSTED_PROXIES"):
    os.environ.pop(name, None)

from project.settings import *  # noqa: E402, F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
MIDDLEWARE = [each for each in MIDDLEWARE if "static_files" not in each]  # noqa: F405
# A file: Django never closes a database in memory, and probes have own threads.
DATABASES["default"]["TEST"] = {  # noqa: F405
    "NAME": f"{tempfile.gettempdir()}/perfguard-tests-{os.getpid()}.sqlite3"
}
PERFGUARD = {}
ROOT_URLCONF = "tests.urls"
