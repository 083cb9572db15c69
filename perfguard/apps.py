from __future__ import annotations

from django.apps import AppConfig
from django.core import checks


class PerfguardConfig(AppConfig):
    name = "perfguard"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # All of these need loaded apps.
        from perfguard.api_keys import receivers as api_keys  # noqa: PLC0415
        from perfguard.api_keys.validators import use_rate_reader  # noqa: PLC0415
        from perfguard.checks import ALL, DEPLOY  # noqa: PLC0415
        from perfguard.throttling.plans import Scope  # noqa: PLC0415
        from perfguard.tokens import receivers as tokens  # noqa: PLC0415

        tokens.connect()
        api_keys.connect()
        use_rate_reader(lambda text: Scope.read("api_key", text))
        for check in ALL:
            checks.register(check, checks.Tags.security)
        for check in DEPLOY:
            checks.register(check, checks.Tags.security, deploy=True)
