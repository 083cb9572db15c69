"""The health probes, answered before anything else looks at the request."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from asgiref.sync import sync_to_async
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase

from perfguard.conf import conf
from perfguard.health.probes import (
    Probe,
    ProbeFailed,
    audit_dropped,
    check_audit,
    check_database,
    check_redis,
)
from perfguard.http.middleware import Middleware
from perfguard.redis.client import get_client

logger = logging.getLogger("perfguard.health")

READY: Mapping[str, Probe] = {
    "database": check_database,
    "redis": check_redis,
    "audit": check_audit,
}
PATHS: Mapping[str, Mapping[str, Probe]] = {
    "/health": {},
    "/livez": {},
    "/health/db": {"database": check_database},
    "/ready": READY,
    "/readyz": READY,
}
# Without Redis limits are kept in memory, and audit entries wait for their database: a
# reason to look, not to stop serving.
OPTIONAL = {"redis", "audit"}


class HealthMiddleware(Middleware):
    """Stands first: no host validation, session, limit or audit is in the way.

    200 when every needed part answers in time, else 503; the body says which.
    """

    def before(self, request: HttpRequest) -> HttpResponseBase | None:
        probes = PATHS.get(request.path_info)
        return None if probes is None else _answer(request, probes)

    async def abefore(self, request: HttpRequest) -> HttpResponseBase | None:
        if request.path_info not in PATHS:
            return None
        return await sync_to_async(self.before, thread_sensitive=False)(request)


def _answer(request: HttpRequest, probes: Mapping[str, Probe]) -> HttpResponseBase:
    if request.method not in {"GET", "HEAD"}:
        return JsonResponse(
            {"detail": "Use GET."}, status=405, headers={"Allow": "GET, HEAD"}
        )
    parts = {
        name: _passes(name, probe) for name, probe in probes.items() if _is_in_use(name)
    }
    status = all(passed for name, passed in parts.items() if name not in OPTIONAL)
    body: dict[str, object] = {"status": status} | {
        name: "ok" if passed else "away" for name, passed in parts.items()
    }
    if "audit" in parts and (dropped := audit_dropped()):
        body["audit_dropped"] = dropped
    return JsonResponse(
        body, status=200 if status else 503, headers={"Cache-Control": "no-store"}
    )


def _is_in_use(name: str) -> bool:
    if name == "redis":
        return get_client() is not None
    return name != "audit" or conf.AUDIT_LEVEL != "NONE"


def _passes(name: str, probe: Probe) -> bool:
    try:
        probe()
    except ProbeFailed as failure:
        if name not in OPTIONAL:
            logger.warning("Not ready: %s", failure)
        return False
    return True
