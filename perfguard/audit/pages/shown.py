"""Entries for the eye: nothing in them is trusted, for anybody can send it."""

from __future__ import annotations

import hmac
import json
import re
from typing import Any

from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from perfguard.audit.lines import known_keys, mac_of, row_line
from perfguard.audit.models import AuditEntry

# Controls (C0, C1), and what is invisible or turns the direction of the text around:
# both let an entry look like another one.
CONTROLS = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]"
    "|[\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
LONG = 2000  # characters, and lines: of what is folded away
LONG_LINES = 40
NOTHING = "\N{EN DASH}"


def visible(text: str) -> str:
    """With each control character by its number."""
    return CONTROLS.sub(_numbered, text)


def _numbered(found: re.Match[str]) -> str:
    number = ord(found[0])
    if number > 0xFF:
        return f"\\u{number:04x}"
    return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(found[0], f"\\x{number:02x}")


def visible_lines(text: str) -> str:
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join(visible(line) for line in lines)


def cut(text: str, length: int) -> SafeString:
    """One line of a table; the whole of it is in its title."""
    whole = visible(text)
    if len(whole) <= length:
        return format_html("<bdi>{}</bdi>", whole)
    short = Truncator(whole).chars(length)
    return format_html('<bdi title="{}">{}</bdi>', whole, short)


def heading(entry: AuditEntry) -> str:
    return Truncator(visible(str(entry))).chars(100)


def line(text: str) -> SafeString:
    return format_html("<bdi>{}</bdi>", visible(text)) if text else SafeString(NOTHING)


def block(text: str, *, is_cut: bool = False) -> SafeString:
    """A body, headers or details; JSON in lines."""
    if not text:
        return SafeString(NOTHING)
    lines = visible_lines(pretty(text))
    note = _("Only the beginning was kept.") if is_cut else ""
    shown = format_html('<pre class="audit-text" dir="auto">{}</pre>', lines)
    if note:
        shown = format_html('{}<p class="help">{}</p>', shown, note)
    if len(lines) <= LONG and lines.count("\n") < LONG_LINES:
        return shown
    count = len(text)
    size = ngettext("%d character", "%d characters", count) % count
    return format_html(
        '<details class="audit-fold"><summary>{}</summary>{}</details>', size, shown
    )


def brief(details: str) -> str:
    """Of an event, in one line."""
    try:
        values = json.loads(details)
    except (ValueError, RecursionError):
        return details
    if not isinstance(values, dict):
        return details
    told = {name: each for name, each in values.items() if each not in ("", None)}
    return " ".join(f"{name}={each}" for name, each in told.items())


def pretty(text: str) -> str:
    """JSON in lines, if that loses nothing: a name that is there twice, or a number
    that Python writes otherwise, is shown as it was sent."""
    try:
        value = json.loads(
            text,
            object_pairs_hook=_once,
            parse_float=_exact,
            parse_constant=_refused,
        )
        if not isinstance(value, dict | list):
            return text
        return json.dumps(value, ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return text


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name twice")
    return found


def _exact(text: str) -> float:
    if repr(float(text)) != text:
        raise ValueError(text)
    return float(text)


def _refused(text: str) -> Any:
    raise ValueError(text)


def moment(at: Any, *, exact: bool = False) -> SafeString:
    """In the reader's time zone, and one that every locale reads."""
    local = timezone.localtime(at) if timezone.is_aware(at) else at
    timespec = "microseconds" if exact else "seconds"
    zone = f" {local.tzname()}" if exact and local.tzname() else ""
    text = local.replace(tzinfo=None).isoformat(" ", timespec) + zone
    return format_html('<time dir="ltr" datetime="{}">{}</time>', at.isoformat(), text)


def duration(microseconds: int | None) -> str:
    if microseconds is None:
        return NOTHING
    if microseconds < 1_000:
        return f"{microseconds} µs"
    if microseconds < 1_000_000:
        return f"{microseconds / 1_000:.1f} ms"
    return f"{microseconds / 1_000_000:.2f} s"


def size(count: int | None) -> str:
    return NOTHING if count is None else filesizeformat(count)


def signature(entry: AuditEntry) -> SafeString:
    """Whether the row is what was written. The icon repeats the words."""
    if not entry.mac:
        return _mark("no", _("There is none."))
    key = known_keys().get(entry.key_id)
    if key is None:
        return _mark("unknown", _("The key is not configured."))
    if hmac.compare_digest(mac_of(row_line(entry), key), entry.mac):
        return _mark("yes", _("Valid."))
    return _mark("no", _("Does not match: this entry was changed."))


def _mark(name: str, text: str) -> SafeString:
    return format_html('<span class="audit-{}">{}</span>', name, text)
