from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from perfguard.exceptions import InvalidSetting
from perfguard.redis.client import get_client
from perfguard.throttling.gate import gate
from perfguard.throttling.identity import account_identity
from perfguard.throttling.plans import scope_names
from perfguard.throttling.windows import REDIS


class Command(BaseCommand):
    help = (
        "Shows or empties the throttle windows of one identity, in Redis. Windows in "
        "the memory of a server process can only be emptied by that process."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=["show", "reset"])
        parser.add_argument(
            "identity",
            help="'user:42', 'ip:203.0.113.7', 'ip:2001:db8::/64', or an account's "
            "e-mail address with --account",
        )
        parser.add_argument(
            "--scope",
            action="append",
            dest="scopes",
            help="a scope of THROTTLE_RATES; may be repeated; all, when missing",
        )
        parser.add_argument(
            "--account",
            action="store_true",
            help="the identity is the name that an account signs in with",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        identity = options["identity"]
        if options["account"]:
            identity = account_identity(identity)
        elif ":" not in identity:
            raise CommandError(
                f"{identity!r} is no identity: write 'user:42' or 'ip:203.0.113.7', or "
                "add --account for the name that an account signs in with."
            )
        scopes = options["scopes"] or scope_names()
        try:
            act = self._show if options["action"] == "show" else self._reset
            act(identity, scopes)
        except (InvalidSetting, ValueError) as error:
            raise CommandError(str(error)) from error

    def _show(self, identity: str, scopes: list[str]) -> None:
        verdict = gate.peek(identity, *scopes)
        if verdict.source != REDIS:
            raise CommandError("Redis is away or not configured: nothing to show.")
        for window in verdict.windows:
            state = "room" if window.allowed else "full"
            self.stdout.write(
                f"{window.scope:<20} {window.rate!s:<16} {state}  "
                f"{window.remaining} left, more in {window.reset_after:.1f} s"
            )

    def _reset(self, identity: str, scopes: list[str]) -> None:
        if get_client() is None or not gate.reset(identity, *scopes):
            raise CommandError("Redis is away or not configured: nothing was reset.")
        self.stdout.write(f"Emptied {', '.join(scopes)} of {identity}.")
