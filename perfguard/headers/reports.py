"""Reports of browsers about violations: read, cut down, and stored.

Anybody may send one, and any text in it. Both forms are read: ``report-uri``'s (CSP
level 2) and that of the Reporting API (CSP level 3).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import unquote, urlsplit

from django.db.models import F
from django.urls import Resolver404, get_script_prefix, resolve
from django.utils import timezone

from perfguard.headers.models import CspReport

LEGACY, BATCH = "application/csp-report", "application/reports+json"
MOST_IN_A_BATCH = 20
MOST_ROWS = 1000
FORGOTTEN = timedelta(days=7)
LONGEST = 255  # characters of a column
LONGEST_URL = 4096  # characters that are looked at
# What extensions of a browser do to a page is no fault of the page.
# Of other than http a browser tells the scheme alone (CSP level 3, section 5.4).
EXTENSIONS = re.compile(r"[a-z-]*extension(:|\Z)", re.ASCII)
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class Malformed(ValueError):
    """No report that a browser would send."""


@dataclass(frozen=True, slots=True)
class Violation:
    directive: str
    disposition: str
    document: str
    blocked: str
    source_file: str
    line: int
    sample: str

    @property
    def fingerprint(self) -> str:
        parts = (self.directive, self.disposition, self.document, self.blocked)
        text = "\0".join((*parts, self.source_file, str(self.line)))
        return sha256(text.encode(errors="replace")).hexdigest()


def read_violations(content_type: str, body: bytes) -> list[Violation]:
    """Raises Malformed. Reports of other kinds and of extensions are passed over."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Malformed("The body is no JSON.") from error
    read = _legacy if content_type == LEGACY else _batch
    found = [_violation(fields) for fields in read(document)]
    return [each for each in found if each is not None]


def _legacy(document: Any) -> Iterator[Mapping[str, Any]]:
    fields = document.get("csp-report") if isinstance(document, dict) else None
    if not isinstance(fields, dict):
        raise Malformed("The body has no object 'csp-report'.")
    yield {
        "directive": fields.get("effective-directive")
        or fields.get("violated-directive"),
        "disposition": fields.get("disposition"),
        "document": fields.get("document-uri"),
        "blocked": fields.get("blocked-uri"),
        "source_file": fields.get("source-file"),
        "line": fields.get("line-number"),
        "sample": fields.get("script-sample"),
    }


def _batch(document: Any) -> Iterator[Mapping[str, Any]]:
    reports = document if isinstance(document, list) else [document]
    for report in reports[:MOST_IN_A_BATCH]:
        body = report.get("body") if isinstance(report, dict) else None
        if not isinstance(body, dict):
            raise Malformed("An item of the body has no object 'body'.")
        if report.get("type") == "csp-violation":
            yield {
                "directive": body.get("effectiveDirective"),
                "disposition": body.get("disposition"),
                "document": body.get("documentURL") or report.get("url"),
                "blocked": body.get("blockedURL"),
                "source_file": body.get("sourceFile"),
                "line": body.get("lineNumber"),
                "sample": body.get("sample"),
            }


def _violation(fields: Mapping[str, Any]) -> Violation | None:
    texts = {name: _text(value) for name, value in fields.items() if name != "line"}
    directive, _, _ = texts["directive"].partition(" ")
    if not re.fullmatch(r"[A-Za-z-]{1,64}", directive):
        raise Malformed("A report names no directive.")
    if EXTENSIONS.match(texts["source_file"]) or EXTENSIONS.match(texts["blocked"]):
        return None
    line = fields["line"]
    is_line = isinstance(line, int) and 0 <= line < 2**31
    return Violation(
        directive=directive.lower(),
        disposition="report" if texts["disposition"] == "report" else "enforce",
        document=_page(texts["document"]),
        blocked=_origin(texts["blocked"]),
        source_file=_source(texts["source_file"], texts["document"]),
        line=int(line) if is_line else 0,
        sample=texts["sample"][:40],
    )


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else ""
    return UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text[:LONGEST_URL])


def _page(url: str) -> str:
    """The route of one of the site's pages; of what is none, nothing but its path."""
    path = _text(unquote(_parts(url)[1])) or "/"
    prefix = get_script_prefix()
    inside = path.removeprefix(prefix) if path.startswith(prefix) else path[1:]
    try:
        return f"{prefix}{resolve(f'/{inside}').route}"[:LONGEST]
    except Resolver404:
        return path[:LONGEST]


def _origin(url: str) -> str:
    """ "inline", "eval" and other keywords stay; of a URL its origin."""
    origin, _ = _parts(url)
    return (origin or re.split("[/?#]", url)[0])[:LONGEST]


def _source(url: str, document: str) -> str:
    """A script by its address; in the page itself it is that page's route."""
    origin, path = _parts(url)
    if not origin:
        return ""
    if (origin, path) == _parts(document):
        return _page(document)
    return (origin + path)[:LONGEST]


def _parts(url: str) -> tuple[str, str]:
    """Origin and path, without user, query and fragment."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "", ""
    if parts.scheme not in {"http", "https", "ws", "wss"} or not host:
        return "", ""
    name = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{name}{f':{port}' if port else ''}", parts.path


def store(violation: Violation) -> None:
    now = timezone.now()
    known = CspReport.objects.filter(fingerprint=violation.fingerprint)
    if known.update(count=F("count") + 1, last_seen=now):
        return
    _make_room()
    row = CspReport(
        **asdict(violation),
        fingerprint=violation.fingerprint,
        first_seen=now,
        last_seen=now,
    )
    # Another process may have just done so.
    CspReport.objects.bulk_create([row], ignore_conflicts=True)


def _make_room() -> None:
    """What nobody has seen for a week goes first, then what was reported least, so that
    inventions neither drive out what many browsers see, nor stay for ever."""
    above = CspReport.objects.count() - MOST_ROWS + 1
    if above <= 0:
        return
    old = CspReport.objects.filter(last_seen__lt=timezone.now() - FORGOTTEN)
    going = list(old.order_by("last_seen").values_list("pk", flat=True)[:above])
    if missing := above - len(going):
        rest = CspReport.objects.exclude(pk__in=going).order_by("count", "last_seen")
        going += rest.values_list("pk", flat=True)[:missing]
    CspReport.objects.filter(pk__in=going).delete()
