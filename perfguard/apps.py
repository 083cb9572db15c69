from __future__ import annotations

from django.apps import AppConfig, apps
from django.core import checks


class PerfguardConfig(AppConfig):
    name = "perfguard"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # What is imported here needs loaded apps.
        from perfguard.api_keys.validators import use_rate_reader  # noqa: PLC0415
        from perfguard.checks import ALL, DEPLOY  # noqa: PLC0415
        from perfguard.throttling.plans import Scope  # noqa: PLC0415

        self.connect()
        use_rate_reader(lambda text: Scope.read("api_key", text))
        for check in ALL:
            checks.register(check, checks.Tags.security)
        for check in DEPLOY:
            checks.register(check, checks.Tags.security, deploy=True)

    def connect(self) -> None:
        """Have the rooms hear of changes of users; a second time changes nothing."""
        from django.contrib.auth import get_user_model  # noqa: PLC0415

        from perfguard.api_keys import receivers as api_keys  # noqa: PLC0415
        from perfguard.audit import receivers as audit  # noqa: PLC0415
        from perfguard.tokens import receivers as tokens  # noqa: PLC0415

        # Proxies and children of the user model send signals of their own.
        user = get_user_model()
        users = [each for each in apps.get_models() if issubclass(each, user)]
        tokens.connect(users)
        api_keys.connect(users)
        audit.connect()
