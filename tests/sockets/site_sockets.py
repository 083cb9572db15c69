"""The project's own settings for real servers whose sockets are tested."""

from __future__ import annotations

from project.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
CSRF_TRUSTED_ORIGINS = ["https://*.friends.example"]
PERFGUARD |= {  # noqa: F405
    "SOCKET_RECHECK_SECONDS": 1.0,
    "SOCKET_MAX_PER_IDENTITY": 12,
    "SOCKET_MAX_MESSAGE_BYTES": 1000,
    "THROTTLE_RATES": {
        **dict.fromkeys(PERFGUARD["THROTTLE_RATES"]),  # noqa: F405
        "socket_connect": None,
        # Each connect of the tests is from an address of its own.
        "socket_connect_address": "3/hour",
    },
}
# Django tells of each wrong host with a traceback: that is no fault of a socket.
LOGGING["handlers"]["quiet"] = {"class": "logging.NullHandler"}  # noqa: F405
LOGGING["loggers"] = {  # noqa: F405
    **LOGGING.get("loggers", {}),  # noqa: F405
    "django.security.DisallowedHost": {"handlers": ["quiet"], "propagate": False},
}
