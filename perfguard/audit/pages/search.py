"""The search box of the audit log: words, each of which one index answers.

A word says which column it is of (``user:42``), or is known by its shape.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils.text import smart_split, unescape_string_literal
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from perfguard.audit.models import AuditEntry
from perfguard.audit.pages.conditions import (
    ADDRESS,
    IDS,
    MARKER,
    USER,
    Condition,
    is_status,
    of_kind,
    of_outcome,
    of_status,
)
from perfguard.audit.pages.users import ids_of

Entries = QuerySet[AuditEntry]
MOST_WORDS = 10

HELP = gettext_lazy(
    "A user, an address, or an id of an entry, request or trace. Or, more exactly: "
    "user:42 · user:ada@example.com · address:203.0.113.7 · request:… · trace:… · "
    "session:… · key:… · status:404 · kind:sign_in · outcome:refused. These are "
    "found at once, as a whole. path:/api/v1/notes · method:DELETE · status:5xx are "
    "looked for entry by entry, the newest first, for two seconds at a time."
)


class Search(NamedTuple):
    conditions: list[Condition]
    problems: list[str]  # of words that nobody understands


Reader = Callable[[str, Entries], Condition]


class BadWord(ValueError):
    """Its text is for the reader."""


def read(text: str, entries: Entries) -> Search:
    conditions, problems = [], []
    words = list(smart_split(text))
    if len(words) > MOST_WORDS:
        problems.append(_("These are more than %d words.") % MOST_WORDS)
    for word in words[:MOST_WORDS]:
        try:
            conditions.append(condition_of(word, entries))
        except BadWord as error:
            problems.append(str(error))
    return Search(conditions, problems)


def condition_of(word: str, entries: Entries) -> Condition:
    """Raises BadWord."""
    for fits, reader in SHAPES:
        if fits(word):
            return reader(word, entries)
    name, colon, value = word.partition(":")
    if not colon:
        return _bare(word, entries)
    return _named(name.lower(), _unquoted(value), entries)


def word(name: str, value: str) -> str:
    """What to write in the box, to find just that."""
    is_plain = not any(each.isspace() or each in "\"'\\" for each in value)
    if is_plain:
        return f"{name}:{value}"
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{name}:"{quoted}"'


def _named(name: str, value: str, entries: Entries) -> Condition:
    if name not in READERS:
        known = {"name": name, "known": ", ".join(READERS)}
        raise BadWord(_("“%(name)s:” is not known here. Known are: %(known)s.") % known)
    try:
        if not value:
            raise ValueError(value)
        return READERS[name](value, entries)
    except ValueError as error:
        raise BadWord(
            _("“%(value)s” is no value of “%(name)s:”.")
            % {"name": name, "value": value}
        ) from error


def _is_quoted(value: str) -> bool:
    return value[0] in "\"'"


def _unquoted(value: str) -> str:
    """Raises BadWord."""
    if not value or not _is_quoted(value):
        return value
    if len(value) == 1 or value[-1] != value[0]:
        raise BadWord(_("A quotation mark is missing in “%s”.") % value)
    return unescape_string_literal(value)


def _user(value: str, entries: Entries) -> Condition:
    """By the id, if any entry has it; or by the name, and then also by the id of who
    has that name: not every entry tells both."""
    found = _first(entries, ("actor_id", "actor_label"), _spellings(value))
    if found and "actor_id" in found:
        return Condition(Q(**found), USER)
    wanted = Q(**(found or {"actor_label": value}))
    ids = ids_of(_spellings(value))
    return Condition(wanted | Q(actor_id__in=ids) if ids else wanted, USER)


def _bare(value: str, entries: Entries) -> Condition:
    """A user, as what has no other shape."""
    condition = _user(value, entries)
    if is_status(value) and not entries.filter(condition.q).exists():
        raise BadWord(
            _("There is no user “%(value)s”. Did you mean status:%(value)s?")
            % {"value": value}
        )
    return condition


def _quoted_user(value: str, entries: Entries) -> Condition:
    return _user(_unquoted(value), entries)


def _spellings(value: str) -> list[str]:
    # Addresses are mostly kept in small letters, whatever they are written in.
    return list(dict.fromkeys([value, value.lower()]))


def _first(
    entries: Entries, columns: Iterable[str], values: Iterable[str]
) -> Mapping[str, Any] | None:
    """The first of them that any entry has."""
    values = list(values)
    wanted = [{column: value} for column in columns for value in values]
    return next((each for each in wanted if entries.filter(**each).exists()), None)


def _address(value: str, entries: Entries) -> Condition:
    return Condition(Q(address=str(ip_address(value))), ADDRESS)


def _is_address(value: str) -> bool:
    try:
        ip_address(value)
    except ValueError:
        return False
    return True


def _hexadecimal(value: str) -> str:
    """The 32 digits of a UUID, however it is written; or nothing."""
    try:
        return UUID(value).hex if len(value) in {32, 36} else ""
    except ValueError:
        return ""


def _id(value: str, entries: Entries) -> Condition:
    digits = _hexadecimal(value)
    written = dict.fromkeys([value, digits, str(UUID(digits))])
    wanted = Q(entry_id=digits) | Q(trace_id=digits) | Q(request_id__in=list(written))
    return Condition(wanted | Q(marker__in=list(written)), IDS)


def _entry(value: str, entries: Entries) -> Condition:
    """Also by the id of its row, which findings and seals name, or from one to
    another."""
    if not re.fullmatch("[0-9]{1,18}(-[0-9]{1,18})?", value):
        return Condition(Q(entry_id=UUID(value)), IDS)
    first, dash, last = value.partition("-")
    if not dash:
        return Condition(Q(id=int(first)), IDS)
    return Condition(Q(id__gte=int(first), id__lte=int(last)), IDS)


def _request(value: str, entries: Entries) -> Condition:
    return Condition(Q(request_id=value), IDS)


def _trace(value: str, entries: Entries) -> Condition:
    return Condition(Q(trace_id=value.lower()), IDS)


def _marker(value: str, entries: Entries) -> Condition:
    return Condition(Q(marker=value), MARKER)


def _path(value: str, entries: Entries) -> Condition:
    return Condition(Q(route=value) | Q(url__startswith=value))


READERS: dict[str, Reader] = {
    "user": _user,
    "address": _address,
    "entry": _entry,
    "request": _request,
    "trace": _trace,
    "session": _marker,
    "key": _marker,
    "status": lambda value, entries: of_status(value),
    "kind": lambda value, entries: of_kind(value),
    "outcome": lambda value, entries: of_outcome(value),
    "path": _path,
    "method": lambda value, entries: Condition(Q(method=value.upper())),
}
# What needs no name, in the order in which it is tried.
SHAPES: tuple[tuple[Callable[[str], object], Reader], ...] = (
    (_is_quoted, _quoted_user),
    (_is_address, _address),
    (lambda value: value.startswith("/"), _path),
    (_hexadecimal, _id),
)
