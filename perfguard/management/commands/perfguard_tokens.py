from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.core.management.base import BaseCommand, CommandError

from perfguard.tokens import journal
from perfguard.tokens.claims import user_key_of
from perfguard.tokens.models import RevokedToken, TokenSession
from perfguard.tokens.pruning import prune
from perfguard.tokens.sessions import live_sessions

PENDING = (
    "It is in the journal, but Redis is away: it is told as soon as a server process "
    "finds it, or by 'perfguard_tokens sync'."
)


class Command(BaseCommand):
    help = "Shows and revokes tokens, and keeps the journal of revocations."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        each = actions.add_parser("list", help="the live sessions of a user")
        self._user(each)
        each = actions.add_parser("revoke", help="end one session")
        each.add_argument("sid", help="the session's id: the sid claim of its tokens")
        each = actions.add_parser("revoke-all", help="revoke all tokens of a user")
        who = each.add_mutually_exclusive_group(required=True)
        who.add_argument("--user", help="a user's name or e-mail, as for signing in")
        who.add_argument("--user-id", help="a user's id, also of one who is deleted")
        who.add_argument("--everybody", action="store_true", help="of all users")
        actions.add_parser("sync", help="tell Redis what it was not told")
        each = actions.add_parser("prune", help="delete what has expired")
        each.add_argument("--batch", type=int, default=1000, help="rows at a time")

    def _user(self, parser: ArgumentParser) -> None:
        who = parser.add_mutually_exclusive_group(required=True)
        who.add_argument("--user", help="a user's name or e-mail, as for signing in")
        who.add_argument("--user-id", help="a user's id, also of one who is deleted")

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        getattr(self, f"_{action.replace('-', '_')}")(**options)

    def _list(self, **options: Any) -> None:
        for each in live_sessions(user_key(**options)):
            self.stdout.write(
                f"{each.sid}  since {each.created:%Y-%m-%d %H:%M}  "
                f"last used {each.last_used:%Y-%m-%d %H:%M}  {each.address or '-'}  "
                f"{each.user_agent[:60]}"
            )

    def _revoke(self, sid: str, **options: Any) -> None:
        delivery = journal.end_session(sid, reason="command")
        if delivery is None:
            raise CommandError(f"There is no session {sid!r}.")
        self._say("The session is ended.", delivery)

    def _revoke_all(self, everybody: bool, **options: Any) -> None:
        if everybody:
            delivery = journal.revoke_everybody(reason="command")
            return self._say("All tokens of all users are revoked.", delivery)
        delivery = journal.revoke_user(user_key(**options), reason="command")
        return self._say("All tokens of the user are revoked.", delivery)

    def _sync(self, **options: Any) -> None:
        if not journal.deliver_due():
            raise CommandError("Redis is away. Nothing is lost: run it again.")
        self.stdout.write("Redis knows all that the journal says.")

    def _prune(self, batch: int, **options: Any) -> None:
        tokens, sessions = prune(RevokedToken, batch), prune(TokenSession, batch)
        self.stdout.write(f"Deleted {tokens} revoked tokens and {sessions} sessions.")

    def _say(self, done: str, delivery: journal.Delivery) -> None:
        if delivery.delivered:
            self.stdout.write(done)
        else:
            raise CommandError(f"{PENDING}")


def user_key(user: str | None = None, user_id: str | None = None, **_: Any) -> str:
    if user_id is not None:
        return user_id
    try:
        return user_key_of(get_user_model()._default_manager.get_by_natural_key(user))
    except (ObjectDoesNotExist, ValidationError) as error:
        raise CommandError(f"There is no user {user!r}.") from error
