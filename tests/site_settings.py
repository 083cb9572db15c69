"""The project's own settings for real server processes that are asked very often, and
that tell which of them answered."""

from __future__ import annotations

import os

from project import env
from project.settings import *  # noqa: F403

MIDDLEWARE = ["tests.site_settings.tell_worker", *MIDDLEWARE]  # noqa: F405
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
PERFGUARD["THROTTLE_RATES"] = dict.fromkeys(  # noqa: F405
    PERFGUARD["THROTTLE_RATES"],  # noqa: F405
    "1000000/hour",
)
DATABASES["default"]["ATOMIC_REQUESTS"] = env.flag("ATOMIC_REQUESTS")  # noqa: F405


def tell_worker(get_response):
    def middleware(request):
        response = get_response(request)
        response.headers["X-Worker"] = str(os.getpid())
        return response

    return middleware
