from __future__ import annotations

import os

from perfguard.asgi import guard

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
application = guard(websocket="project.demo.sockets.echo")
