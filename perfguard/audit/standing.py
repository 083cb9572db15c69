"""How the log stands, by what the database and the spool directory tell."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from django.db.models import QuerySet
from django.utils import timezone

from perfguard.audit.models import AuditEntry, AuditSeal
from perfguard.audit.seals.sealing import last_seal
from perfguard.audit.spool import SUFFIX
from perfguard.conf import conf

RECENT = timedelta(days=7)
ROWS = 1000  # that are looked at


class Standing(NamedTuple):
    oldest: AuditEntry | None
    newest: AuditEntry | None
    seal: AuditSeal | None  # the last one
    # By the difference of ids: to count them would read them all. Ids that were given
    # and not used make it too large.
    unsealed: int
    pruned: int  # seals
    dropped: dict[str, int]  # entries of the last days, by sink and reason
    spools: dict[str, int]  # name to bytes

    def told(self) -> dict[str, Any]:
        """For programs, with the settings that it depends on."""
        return {
            "level": conf.AUDIT_LEVEL,
            "sinks": list(conf.AUDIT_SINKS),
            "durability": conf.AUDIT_DURABILITY,
            "retention_days": conf.AUDIT_RETENTION_DAYS,
            "retention_entries": conf.AUDIT_RETENTION_ENTRIES,
            "oldest": str(self.oldest.at) if self.oldest else None,
            "newest": str(self.newest.at) if self.newest else None,
            "unsealed_at_most": self.unsealed,
            "last_seal": self.seal.number if self.seal else None,
            "sealed_at": str(self.seal.sealed_at) if self.seal else None,
            "pruned_seals": self.pruned,
            "dropped_days": RECENT.days,
            "dropped": self.dropped,
            "spools": self.spools,
        }

    def lines(self) -> Iterator[str]:
        """For people."""
        told = self.told()
        dropped, spools, days = (
            told.pop(name) for name in ("dropped", "spools", "dropped_days")
        )
        told["sinks"] = ", ".join(told["sinks"]) or None
        for name, value in told.items():
            yield f"{name.replace('_', ' ')}: {'-' if value is None else value}"
        yield from _listed(f"dropped entries, {days} days", dropped)
        yield from _listed("spool files, in bytes", spools)


def _listed(title: str, counts: dict[str, int]) -> list[str]:
    if not counts:
        return [f"{title}: -"]
    return [f"{title}:", *(f"  {name}: {count}" for name, count in counts.items())]


def standing() -> Standing:
    alias = conf.AUDIT_DATABASE
    # No body is needed of them.
    entries = AuditEntry.objects.using(alias).only("id", "at").order_by("id")
    oldest, newest, seal = entries.first(), entries.last(), last_seal(alias)
    closed = seal.last_id if seal else (oldest.pk - 1 if oldest else 0)
    return Standing(
        oldest,
        newest,
        seal,
        max(0, newest.pk - closed) if newest else 0,
        AuditSeal.objects.using(alias).filter(pruned_at__isnull=False).count(),
        _dropped(AuditEntry.objects.using(alias), timezone.now() - RECENT),
        spools(),
    )


def _dropped(entries: QuerySet[AuditEntry], since: datetime) -> dict[str, int]:
    recent = entries.filter(kind="entries_dropped", at__gte=since).order_by("-at")
    counts: Counter[str] = Counter()
    for details in recent.values_list("details", flat=True)[:ROWS]:
        told: dict[str, Any] = json.loads(details)
        counts[f"{told.get('sink')}: {told.get('reason')}"] += told.get("count", 1)
    return dict(counts)


def spools() -> dict[str, int]:
    if not conf.AUDIT_SPOOL_DIR:
        return {}
    files = sorted(Path(conf.AUDIT_SPOOL_DIR).glob(f"*{SUFFIX}"))
    return {each.name: each.stat().st_size for each in files if each.exists()}
