"""Bodies without the secrets in them."""

from __future__ import annotations

import re

from perfguard.redaction.event_streams import redact_events, redact_lines, unreadable
from perfguard.redaction.forms import redact_pairs
from perfguard.redaction.header_fields import redact_headers
from perfguard.redaction.json_text import redact_json, redact_value
from perfguard.redaction.markup import redact_markup
from perfguard.redaction.multipart import redact_multipart
from perfguard.redaction.names import is_secret

__all__ = ["redact_body", "redact_headers"]

TYPE = re.compile(r"[ \t]*+([\w.+-]{1,80}/[\w.+-]{1,80})(?=[ \t;,]|\Z)")
FORM = "application/x-www-form-urlencoded"
BY_TYPE = {
    "text/event-stream": redact_events,
    **dict.fromkeys(("application/xml", "text/xml", "text/html"), redact_markup),
    **dict.fromkeys(
        (
            *("application/x-ndjson", "application/ndjson", "application/jsonl"),
            *("application/x-jsonlines", "application/jsonlines", "text/x-ndjson"),
            *("application/json-lines", "application/json-seq"),
        ),
        redact_lines,
    ),
}
# Their secrets stand below names, or under them: not where patterns could see them.
UNREAD_TEXT = {"text/yaml", "text/x-yaml", "text/vnd.yaml"}
TABLES = {"text/csv", "text/tab-separated-values"}


def redact_body(
    raw: bytes, content_type: str, *, complete: bool, limit: int
) -> tuple[str, bool]:
    """The text to be stored, of at most ``limit`` bytes, and whether any is missing.

    ``raw`` is what was captured of the body, ``complete`` whether that is all of it.
    """
    if not raw or limit <= 0:
        return "", bool(raw) or not complete
    text = _redacted(raw, content_type, is_cut=not complete, limit=limit)
    data = text.encode(errors="replace")
    kept = data[:limit].decode(errors="ignore")
    return kept, not complete or len(data) > limit


def _redacted(raw: bytes, content_type: str, *, is_cut: bool, limit: int) -> str:
    match = TYPE.match(content_type)
    kind = match[1].lower() if match else "unknown"
    marker = f"[{kind}, {'over ' if is_cut else ''}{len(raw)} bytes]"
    if kind == "multipart/form-data":
        redacted = redact_multipart(raw, content_type, is_cut=is_cut)
        return unreadable(len(raw)) if redacted is None else redacted
    # No text has a NUL, but UTF-16 does, and so do most files.
    if b"\0" in raw:
        return marker
    text = raw.decode(errors="replace").removeprefix("\ufeff")
    redacted = _text(text, kind, is_cut=is_cut, limit=limit)
    return marker if redacted is None else redacted


def _text(text: str, kind: str, *, is_cut: bool, limit: int) -> str | None:
    """None for what cannot be looked into."""
    if kind.endswith(("/json", "+json")):
        return _json(text, is_cut=is_cut, limit=limit)
    if kind == FORM:
        return _form(text, is_cut=is_cut, limit=limit)
    redact = BY_TYPE.get(kind) or (redact_markup if kind.endswith("+xml") else None)
    if redact:
        return redact(text, is_cut=is_cut, limit=limit)
    return _free_text(text, kind, is_cut=is_cut)


def _json(text: str, *, is_cut: bool, limit: int) -> str:
    redacted = redact_json(text, is_cut=is_cut, limit=limit)
    if redacted is None:
        return unreadable(len(text.encode(errors="replace")))
    return redacted


def _form(text: str, *, is_cut: bool, limit: int) -> str:
    # Curl calls JSON a form unless it is told otherwise.
    if text.lstrip()[:1] in {"{", "["}:
        redacted = redact_json(text, is_cut=is_cut, limit=limit)
        if redacted is not None:
            return redacted
    return redact_pairs(text, is_cut=is_cut, limit=limit)


def _free_text(text: str, kind: str, *, is_cut: bool) -> str | None:
    if not kind.startswith("text/") or kind in UNREAD_TEXT:
        return None
    if kind in TABLES and _has_secret_column(text):
        return None
    return redact_value(text, is_cut=is_cut)


def _has_secret_column(text: str) -> bool:
    head = text.lstrip().split("\n", 1)[0]
    return any(map(is_secret, re.split(r"[,;\t|]", head)))
