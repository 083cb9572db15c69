from __future__ import annotations

from argparse import RawDescriptionHelpFormatter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from perfguard.api_keys import services
from perfguard.api_keys.models import ApiKey
from perfguard.conf import conf
from perfguard.exceptions import InvalidLifetime
from perfguard.lifetimes import read_lifetime

BY = "perfguard_keys"
Result = TypeVar("Result")
EXAMPLES = """
A new key goes to the standard output, alone and this one time; everything else that
"create" and "rotate" have to say goes to the standard error, so that this works:

  KEY=$(manage.py perfguard_keys create ada@example.com "nightly report" \\
        --expires 90d --allow "GET notes:list" --allow "* /api/v1/reports")

  manage.py perfguard_keys list --owner ada@example.com
  manage.py perfguard_keys rotate 4fJ2mQ9sT0aB --overlap 1h
  manage.py perfguard_keys revoke 4fJ2mQ9sT0aB
"""


class Command(BaseCommand):
    help = "Makes, lists, rotates and revokes API keys."

    def create_parser(
        self, prog_name: str, subcommand: str, **kwargs: Any
    ) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.epilog = EXAMPLES
        parser.formatter_class = RawDescriptionHelpFormatter
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        create = actions.add_parser("create", help="make a key, and print it once")
        create.add_argument("owner", help="the name that the owner signs in with")
        create.add_argument("label", help="what the key is for")
        create.add_argument(
            "--expires", metavar="30d", help="its life; never, if missing"
        )
        create.add_argument(
            "--allow",
            action="append",
            metavar="RULE",
            help="'METHOD[,METHOD] target', or '* target'; may be repeated. The target "
            "is the name of a URL, a route, or a path. Without it, all endpoints",
        )
        create.add_argument("--rate", default="", help="such as 100/minute")
        list_ = actions.add_parser("list", help="list keys, the newest first")
        list_.add_argument("--owner", help="of this owner alone")
        list_.add_argument("--all", action="store_true", help="also those that ended")
        rotate = actions.add_parser("rotate", help="make a key in place of another")
        rotate.add_argument("key_id", help="the public id, after the prefix")
        rotate.add_argument(
            "--overlap",
            metavar="1d",
            help="how long the old key goes on; API_KEYS_ROTATION_OVERLAP, if missing",
        )
        revoke = actions.add_parser("revoke", help="end keys at once, for good")
        revoke.add_argument("key_id", nargs="+")

    def handle(self, *args: Any, **options: Any) -> None:
        {
            "create": self._create,
            "list": self._list,
            "rotate": self._rotate,
            "revoke": self._revoke,
        }[options["action"]](options)

    def _create(self, options: dict[str, Any]) -> None:
        life = _lifetime(options["expires"])
        issued = _tried(
            lambda: services.create(
                _owner(options["owner"]),
                options["label"],
                expires_at=None if life is None else timezone.now() + life,
                endpoints=options["allow"],
                rate=options["rate"],
                by=BY,
            )
        )
        self._show(issued)

    def _rotate(self, options: dict[str, Any]) -> None:
        overlap = _lifetime(options["overlap"])
        if overlap is None and options["overlap"]:
            raise CommandError("The old key has to end.")
        old = _key(options["key_id"])
        issued = _tried(lambda: services.rotate(old, overlap, BY))
        self._show(issued)
        self.stderr.write(f"{old.key_id} goes on until {_moment(old.expires_at)}.")

    def _show(self, issued: services.Issued) -> None:
        self.stdout.write(issued.text)
        until = _moment(issued.api_key.expires_at)
        self.stderr.write(f"{issued.api_key}, until {until}. It is not shown again.")

    def _revoke(self, options: dict[str, Any]) -> None:
        keys = [_key(key_id) for key_id in options["key_id"]]
        told = [services.revoke(each, BY) for each in keys]
        for each in keys:
            self.stdout.write(f"Revoked {each}.")
        if not all(told):
            raise CommandError(
                "Redis could not be told: processes that reach it may accept a key for "
                f"{conf.API_KEYS_CACHE_SECONDS:g} seconds more. Run this again to be "
                "sure."
            )

    def _list(self, options: dict[str, Any]) -> None:
        rows = ApiKey.objects.all() if options["all"] else ApiKey.objects.in_use()
        if options["owner"]:
            rows = rows.filter(owner=_owner(options["owner"]))
        for each in rows.select_related("owner").iterator():
            limits = "restricted" if each.is_restricted else "everywhere"
            self.stdout.write(
                f"{each.key_id}  {each.state:<14}  {limits:<10}  "
                f"until {_moment(each.expires_at)}  used {_moment(each.last_used_at)}  "
                f"{each.owner}  {each.label}"
            )


def _owner(name: str) -> Any:
    users = get_user_model()
    try:
        return users._default_manager.get_by_natural_key(name)
    except users.DoesNotExist as error:
        raise CommandError(f"Nobody signs in as {name!r}.") from error


def _key(key_id: str) -> ApiKey:
    try:
        return ApiKey.objects.get(key_id=key_id)
    except ApiKey.DoesNotExist as error:
        raise CommandError(f"No API key has the public id {key_id[:50]!r}.") from error


def _lifetime(text: str | None) -> timedelta | None:
    try:
        return None if text is None else read_lifetime(text)
    except InvalidLifetime as error:
        raise CommandError(str(error)) from error


def _moment(moment: datetime | None) -> str:
    return "never" if moment is None else moment.isoformat(timespec="seconds")


def _tried(make: Callable[[], Result]) -> Result:
    try:
        return make()
    except ValidationError as error:
        raise CommandError(" ".join(error.messages)) from error
