"""What the list and the page of an entry show of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.forms import CheckboxInput
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from perfguard.audit.admin_pages import list_url
from perfguard.audit.entries import REQUEST
from perfguard.audit.models import AuditEntry
from perfguard.audit.pages import shown
from perfguard.audit.pages.filters import ACTORS, OUTCOMES
from perfguard.audit.pages.search import word

if TYPE_CHECKING:
    Base = admin.ModelAdmin[AuditEntry]
else:
    Base = object

LIST = ("time", "who", "what", "answer", "took", "from_address", "short_request")
ABOUT = ("exact_time", "who", "what", "answer", "took")
# What an event may lack, by what it is taken from.
SOURCES = {
    "whole_url": "url",
    "whole_route": "route",
    "sent": "bytes_in",
    "headers_in": "request_headers",
    "body_in": "request_body",
    "received": "bytes_out",
    "failure": "error",
    "headers_out": "response_headers",
    "body_out": "response_body",
}
REQUESTED = tuple(SOURCES)[:5]
ANSWERED = tuple(SOURCES)[5:]
EVENT = ("event_details",)
ORIGIN = ("from_address", "agent", "of_user", "of_session", "of_request", "of_trace")
INTEGRITY = ("signed", "row_id", "entry_id", "key_id", "mac", "level")


def having(event: AuditEntry, names: Iterable[Any]) -> list[str]:
    """Those of which there is anything to show."""
    return [
        name
        for name in names
        if name not in SOURCES or getattr(event, SOURCES[name]) not in ("", None)
    ]


class Columns(Base):
    """For ``AuditEntryAdmin``."""

    @admin.display(description=SafeString('<input type="checkbox" id="action-toggle">'))
    def action_checkbox(self, entry: AuditEntry) -> SafeString:
        """As Django's, whose label is the entry with all that was sent in it."""
        label = _("Select this object for an action - {}").format(shown.heading(entry))
        names = {"class": "action-select", "aria-label": label}
        box = CheckboxInput(names, lambda value: False)
        return box.render(ACTION_CHECKBOX_NAME, str(entry.pk), {})

    @admin.display(description=_("time"))
    def time(self, entry: AuditEntry) -> SafeString:
        return shown.moment(entry.at)

    @admin.display(description=_("time"))
    def exact_time(self, entry: AuditEntry) -> SafeString:
        return shown.moment(entry.at, exact=True)

    @admin.display(description=_("user"))
    def who(self, entry: AuditEntry) -> SafeString:
        kind = ACTORS.get(entry.actor_kind, entry.actor_kind)
        name = entry.actor_label or entry.actor_id
        if not name:
            return format_html('<span class="quiet">{}</span>', kind or shown.NOTHING)
        asked = ("user", entry.actor_id or entry.actor_label)
        link = self._link(shown.cut(name, 40), *asked)
        return format_html('{} <span class="quiet small">{}</span>', link, kind)

    @admin.display(description=_("what"))
    def what(self, entry: AuditEntry) -> SafeString:
        url = shown.cut(entry.url, 70)
        if entry.kind == REQUEST:
            method = shown.visible(entry.method)
            return format_html('<b>{}</b> <span dir="ltr">{}</span>', method, url)
        kind = shown.visible(entry.kind)
        told = shown.cut(shown.brief(entry.details), 70)
        text = '<b class="audit-event">{}</b> {} <span class="quiet">{}</span>'
        return format_html(text, kind, url, told)

    @admin.display(description=_("answer"))
    def answer(self, entry: AuditEntry) -> SafeString:
        outcome = OUTCOMES.get(entry.outcome, shown.visible(entry.outcome))
        by = f" ({shown.visible(entry.refused_by)})" if entry.refused_by else ""
        return format_html(
            '<span class="audit-status audit-{}xx">{}</span> {}{}',
            (entry.status or 0) // 100,
            entry.status or "",
            outcome,
            by,
        )

    @admin.display(description=_("duration"))
    def took(self, entry: AuditEntry) -> str:
        return shown.duration(entry.duration_us)

    @admin.display(description=_("address"))
    def from_address(self, entry: AuditEntry) -> SafeString:
        return self._found("address", entry.address)

    @admin.display(description=_("request id"))
    def of_request(self, entry: AuditEntry) -> SafeString:
        return self._found("request", entry.request_id)

    @admin.display(description=_("request id"))
    def short_request(self, entry: AuditEntry) -> SafeString:
        return self._found("request", entry.request_id, 10)

    @admin.display(description=_("trace id"))
    def of_trace(self, entry: AuditEntry) -> SafeString:
        return self._found("trace", entry.trace_id)

    @admin.display(description=_("session or key"))
    def of_session(self, entry: AuditEntry) -> SafeString:
        name = "key" if entry.actor_kind == "api_key" else "session"
        return self._found(name, entry.marker)

    @admin.display(description=_("user id"))
    def of_user(self, entry: AuditEntry) -> SafeString:
        return self._found("user", entry.actor_id)

    @admin.display(description=_("URL"))
    def whole_url(self, entry: AuditEntry) -> SafeString:
        return shown.line(entry.url)

    @admin.display(description=_("route"))
    def whole_route(self, entry: AuditEntry) -> SafeString:
        return shown.line(entry.route)

    @admin.display(description=_("user agent"))
    def agent(self, entry: AuditEntry) -> SafeString:
        return shown.line(entry.user_agent)

    @admin.display(description=_("size"))
    def sent(self, entry: AuditEntry) -> str:
        return shown.size(entry.bytes_in)

    @admin.display(description=_("size"))
    def received(self, entry: AuditEntry) -> str:
        return shown.size(entry.bytes_out)

    @admin.display(description=_("error"))
    def failure(self, entry: AuditEntry) -> SafeString:
        return shown.line(entry.error)

    @admin.display(description=_("headers"))
    def headers_in(self, entry: AuditEntry) -> SafeString:
        return shown.block(entry.request_headers)

    @admin.display(description=_("body"))
    def body_in(self, entry: AuditEntry) -> SafeString:
        return shown.block(entry.request_body, is_cut=entry.request_truncated)

    @admin.display(description=_("headers"))
    def headers_out(self, entry: AuditEntry) -> SafeString:
        return shown.block(entry.response_headers)

    @admin.display(description=_("body"))
    def body_out(self, entry: AuditEntry) -> SafeString:
        return shown.block(entry.response_body, is_cut=entry.response_truncated)

    @admin.display(description=_("details"))
    def event_details(self, entry: AuditEntry) -> SafeString:
        return shown.block(entry.details)

    @admin.display(description=_("row id"))
    def row_id(self, entry: AuditEntry) -> SafeString:
        return self._found("entry", str(entry.pk))  # as text: no locale writes it so

    @admin.display(description=_("signature"))
    def signed(self, entry: AuditEntry) -> SafeString:
        return shown.signature(entry)

    def _found(self, name: str, value: str, length: int = 128) -> SafeString:
        """It, and all that has it."""
        if not value:
            return SafeString(shown.NOTHING)
        return self._link(shown.cut(value, length), name, value)

    def _link(self, text: SafeString, name: str, value: str) -> SafeString:
        url = list_url(self.admin_site.name, word(name, value))
        return format_html('<a href="{}">{}</a>', url, text)
