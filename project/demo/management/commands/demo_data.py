from __future__ import annotations

import secrets
from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction

from project import env
from project.demo.models import Note, User

ADMIN = "admin@example.com"


class Command(BaseCommand):
    help = (
        "Makes the demo administrator and the demo user, with new passwords (or those "
        "of DEMO_ADMIN_PASSWORD and DEMO_PASSWORD), and prints both."
    )

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        self._account(ADMIN, "DEMO_ADMIN_PASSWORD", is_staff=True, is_superuser=True)
        email = env.text("DEMO_EMAIL", "demo@example.com")
        user = self._account(email, "DEMO_PASSWORD", is_staff=False, is_superuser=False)
        if not user.notes.exists():
            Note.objects.create(owner=user, text="The first note.")

    def _account(self, email: str, variable: str, **roles: bool) -> User:
        password = env.text(variable) or secrets.token_urlsafe(12)
        user, _ = User.objects.update_or_create(email=email.lower(), defaults=roles)
        user.set_password(password)
        user.save()
        kind = "administrator" if roles["is_staff"] else "user"
        self.stdout.write(f"demo {kind:<14} {user.email}  {password}")
        return user
