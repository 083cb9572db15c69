from __future__ import annotations

from django.apps import AppConfig
from django.core import checks


class PerfguardConfig(AppConfig):
    name = "perfguard"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from perfguard.checks import ALL, DEPLOY  # noqa: PLC0415 (needs loaded apps)

        for check in ALL:
            checks.register(check, checks.Tags.security)
        for check in DEPLOY:
            checks.register(check, checks.Tags.security, deploy=True)
