from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from perfguard.headers.analysis import score
from perfguard.headers.csp import build_policy
from perfguard.headers.layers import rules
from perfguard.headers.observatory import GRADE_NAMES, MODIFIERS, Score
from perfguard.headers.plans import Plan, make_plan
from perfguard.headers.visits import Unreachable, Visit, visit_project, visit_site


class Command(BaseCommand):
    help = (
        "Prints the security headers that the settings ask for; with --score, grades "
        "what a site really sends, by the rules of the HTTP Observatory."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--score",
            metavar="URL",
            help="http://..., https://..., or a path of this project such as "
            "/admin/login/, which is answered without a server",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        parser.add_argument(
            "--min-grade",
            choices=GRADE_NAMES,
            help="with --score: exit with 1 when the grade is lower",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["score"]:
            self._score(options["score"], options["json"], options["min_grade"])
        elif options["min_grade"]:
            raise CommandError("--min-grade needs --score.")
        else:
            self._settings(as_json=options["json"])

    def _settings(self, *, as_json: bool) -> None:
        plans = {"*": make_plan({}, {})}
        plans |= {str(rule.get("path")): make_plan(rule, {}) for rule in rules()}
        found = {path: dict(_sent(plan)) for path, plan in plans.items()}
        if as_json:
            self.stdout.write(json.dumps(found))
            return
        for path, plan in plans.items():
            self.stdout.write(f"{path}")
            for name, text in found[path].items():
                source = plan.values[name.lower()].source
                self.stdout.write(f"  {name}: {text}  ({source})")

    def _score(self, address: str, as_json: bool, least: str | None) -> None:
        try:
            visit = (
                visit_project(address) if address[:1] == "/" else visit_site(address)
            )
        except Unreachable as error:
            raise CommandError(str(error)) from error
        result = score(visit)
        write = self._json if as_json else self._text
        write(visit, result)
        if least and not result.reaches(least):
            raise CommandError(f"{result.grade} is lower than {least}.")

    def _json(self, visit: Visit, result: Score) -> None:
        fields = {
            "url": visit.page.url,
            "status": visit.page.status,
            "score": result.points,
            "grade": result.grade,
            "results": {name: MODIFIERS[name] for name in result.results},
        }
        self.stdout.write(json.dumps(fields))

    def _text(self, visit: Visit, result: Score) -> None:
        self.stdout.write(f"{visit.page.url} ({visit.page.status})")
        for name in result.results:
            self.stdout.write(f"  {MODIFIERS[name]:+4d}  {name}")
        self.stdout.write(f"{result.points}  {result.grade}")


def _sent(plan: Plan) -> list[tuple[str, str]]:
    return [
        (it.name, it.value if isinstance(it.value, str) else build_policy(it.value))
        for it in plan.values.values()
        if it.value
    ]
