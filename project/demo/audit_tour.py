"""The part of the tour that is about the audit log."""

from __future__ import annotations

import json
import time
from typing import Any

SHOWN = ("method", "url", "status", "outcome", "refused_by", "actor_label")


def show_audit(tour: Any, site: Any) -> None:
    tour.title("The audit log has them all, without their secrets")
    # Not the demo user, whose sign-ins are counted elsewhere.
    answer = site.sign_in("admin@example.com", site.admin_password)
    signed_in = json.loads(answer.body)
    site.post("/api/v1/notes?token=of-the-url", signed_in["token"], text="A note.")
    _wait_for(site, "/api/v1/notes")
    told = [each for each in _entries(site) if each["kind"] != "entries_exported"]
    for entry in told[-6:]:
        if entry["kind"] == "request":
            words = " ".join(str(entry.get(name) or "-") for name in SHOWN)
            tour.line(f"{entry['at'][11:19]}  {words}")
        else:
            tour.line(f"{entry['at'][11:19]}  {entry['kind']}: {entry['details']}")
    body = next(each for each in _entries(site) if each["route"].endswith("signin"))
    tour.line(f"the body of a sign-in: {body['request_body']}")
    tour.line(f"and of its answer: {body['response_body'][:90]}...")
    for command in (["seal"], ["verify"]):
        tour.line(f"manage.py perfguard_audit {command[0]}")
        tour.line(f"    {site.manage('perfguard_audit', *command).strip()}")


def _entries(site: Any) -> list[dict[str, Any]]:
    text = site.manage("perfguard_audit", "export", "--format", "jsonl")
    return sorted(map(json.loads, text.splitlines()), key=lambda entry: entry["at"])


def _wait_for(site: Any, path: str) -> None:
    for _ in range(50):
        if any(entry["url"].startswith(path) for entry in _entries(site)):
            return
        time.sleep(0.1)
