"""The project with pages that try its headers, for real server processes."""

from __future__ import annotations

from project import env
from project.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
ROOT_URLCONF = "tests.headers.headers_urls"
SECURE_REFERRER_POLICY = env.text("TEST_REFERRER", "same-origin")
