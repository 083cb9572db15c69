"""Several applications behind one guard, for real servers."""

from __future__ import annotations

import os

from perfguard.asgi import guard

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.sockets.site_sockets")
application = guard(websocket="tests.sockets.inner_sockets.route")
