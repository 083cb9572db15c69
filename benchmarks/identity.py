"""A DRF request with a token or an API key, timed against the same view with peers.

Rows are measured in turn, again and again, as in throttle.py: a figure is the median
over the repetitions of each repetition's median, a ratio is taken within each
repetition. A request is a whole view: DRF's dispatch, authentication, permission and
the answer, without middleware and without rendering. The database is SQLite in memory,
so that a query costs as little as it can. Redis and this program share one core.

Round trips are counted by Redis, queries by Django.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import takewhile
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.identity_settings"

import django

django.setup()

import redis
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import RequestFactory, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_api_key.models import APIKey
from rest_framework_api_key.permissions import HasAPIKey
from rest_framework_simplejwt import authentication as plain
from rest_framework_simplejwt import tokens as plain_tokens

from benchmarks.settings import REDIS_AWAY_URL
from benchmarks.throttle import share_one_core
from perfguard.api_keys import services
from perfguard.api_keys.authentication import ApiKeyAuthentication
from perfguard.tokens.authentication import JWTAuthentication
from perfguard.tokens.revocation import is_revoked
from perfguard.tokens.tokens import AccessToken, RefreshToken
from tests.servers import RedisServer

PACKAGES = (
    "Django",
    "djangorestframework",
    "djangorestframework-simplejwt",
    "djangorestframework-api-key",
    "PyJWT",
    "hiredis",
    "redis",
)
IN_PLACE = "simplejwt, and one round trip"
ADDED = "all that a token adds, in round trips"
ADDED_THERE = "the same, in round trips made there"
COUNTED = 10  # requests under MONITOR
NAME, CELL = 40, 14  # columns of the table


class PlainJWT(plain.JWTAuthentication):
    """simplejwt's own class, and its own token class."""

    def get_validated_token(self, raw_token: bytes) -> Any:
        try:
            return plain_tokens.AccessToken(raw_token)
        except plain.TokenError as error:
            raise plain.InvalidToken from error


class PlainJWTAndTrip(PlainJWT):
    """The same, and a GET of no use: what it costs there to ask anything at all."""

    client: redis.Redis

    def get_validated_token(self, raw_token: bytes) -> Any:
        self.client.get("nothing")
        return super().get_validated_token(raw_token)


class View(APIView):
    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()

    def get(self, request: Any) -> Response:
        return Response({})


urlpatterns = [path("", View.as_view(), name="view")]


@dataclass
class Row:
    name: str
    call: Callable[[], Any]
    against: str = ""  # the row that the ratio is to
    status: int | None = 200
    options: dict[str, Any] = field(default_factory=dict)  # of PERFGUARD
    times: list[float] = field(default_factory=list)


def request(status: int, header: str = "", **options: Any) -> Callable[[], Any]:
    view, factory = View.as_view(**options), RequestFactory()
    meta = {"HTTP_AUTHORIZATION": header} if header else {}

    def call() -> None:
        if view(factory.get("/", **meta)).status_code != status:
            raise RuntimeError("A request was not answered as it must.")

    return call


def with_class(kind: Any) -> dict[str, Any]:
    return {"authentication_classes": [kind], "permission_classes": [IsAuthenticated]}


def rows(client: redis.Redis) -> list[Row]:
    user = User.objects.create_user("ada")
    pair = RefreshToken.for_user(user)
    access, gone = str(pair.access_token), RefreshToken.for_user(user)
    revoked = str(gone.access_token)
    gone.blacklist()
    stock = str(plain_tokens.AccessToken.for_user(user))
    key = services.create(user, "bench").text
    _, peer_key = APIKey.objects.create_key(name="bench")
    marks = AccessToken(access).marks
    ours, keys = with_class(JWTAuthentication), with_class(ApiKeyAuthentication)
    away = {"REDIS_URL": REDIS_AWAY_URL}
    peer = {"permission_classes": [HasAPIKey]}
    trip, jwt, api_key = "one round trip", "simplejwt", "djangorestframework-api-key"
    bearer = "Bearer {}".format
    PlainJWTAndTrip.client = client
    return [
        Row(trip, lambda: client.get("nothing")),
        Row("no authentication", request(200), trip),
        Row(jwt, request(200, bearer(stock), **with_class(PlainJWT)), trip),
        Row(
            IN_PLACE,
            request(200, bearer(stock), **with_class(PlainJWTAndTrip)),
            jwt,
        ),
        Row("perfguard, token", request(200, bearer(access), **ours), jwt),
        Row("the question alone", lambda: is_revoked(marks), trip),
        Row(
            "perfguard, token, Redis away",
            request(200, bearer(access), **ours),
            jwt,
            options=away,
        ),
        Row(
            "perfguard, revoked token again", request(401, bearer(revoked), **ours), jwt
        ),
        Row("perfguard, garbage token", request(401, bearer("a.b.c"), **ours), jwt),
        Row(api_key, request(200, f"Api-Key {peer_key}", **peer), trip),
        Row("perfguard, API key", request(200, f"Api-Key {key}", **keys), api_key),
        Row(
            "perfguard, garbage API key",
            request(401, f"Api-Key {key[:-1]}!", **keys),
            api_key,
        ),
    ]


def main() -> None:
    options = read_options()
    share_one_core()
    call_command("migrate", verbosity=0)
    with (
        RedisServer(port=settings.REDIS_PORT) as server,
        redis.Redis.from_url(settings.REDIS_URL, socket_timeout=5) as client,
    ):
        table = rows(client)
        repeat(table, options)
        counts = {row.name: counted(row, server.client()) for row in table}
    facts = {name: version(name) for name in PACKAGES}
    print(", ".join(f"{name} {value}" for name, value in facts.items()), end="\n\n")
    figures = figures_of(table, counts)
    show(table, figures)
    if options.json:
        print(json.dumps({**facts, "figures": figures}))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=25)
    parser.add_argument("--requests", type=int, default=200, help="in each repetition")
    parser.add_argument("--quick", action="store_true", help="3 repetitions of 40")
    parser.add_argument("--json", action="store_true", help="print an object, last")
    options = parser.parse_args()
    if options.quick:
        options.repetitions, options.requests = 3, 40
    return options


def repeat(table: list[Row], options: argparse.Namespace) -> None:
    """The first repetition only warms up."""
    gc.freeze()
    gc.disable()
    for repetition in range(options.repetitions + 1):
        gc.collect()
        for row in table:
            with override_settings(PERFGUARD={**settings.PERFGUARD, **row.options}):
                figure = one_repetition(row.call, options.requests)
            if repetition:
                row.times.append(figure)
    gc.enable()


def one_repetition(call: Callable[[], Any], times: int) -> float:
    for _ in range(5):
        call()
    taken = []
    for _ in range(times):
        start = perf_counter_ns()
        call()
        taken.append(perf_counter_ns() - start)
    return median(taken) / 1000


def counted(row: Row, client: redis.Redis) -> dict[str, float]:
    """Round trips to Redis, and queries, for a request."""
    with override_settings(PERFGUARD={**settings.PERFGUARD, **row.options}):
        row.call()
        with client.monitor() as monitor, CaptureQueriesContext(connection) as queries:
            for _ in range(COUNTED):
                row.call()
            client.echo("done")
            lines = iter(monitor.next_command, None)
            seen = takewhile(lambda line: line["command"] != "ECHO done", lines)
            # INFO is asked at most every five seconds, in the same round trip.
            trips = [
                line
                for line in seen
                if line["client_type"] == "tcp" and line["command"] != "INFO"
            ]
    return {"trips": len(trips) / COUNTED, "queries": len(queries) / COUNTED}


def figures_of(table: list[Row], counts: Any) -> dict[str, Any]:
    by_name = {row.name: row for row in table}
    found: dict[str, Any] = defaultdict(dict)
    for row in table:
        base = by_name[row.against or row.name]
        ratios = [mine / its for mine, its in zip(row.times, base.times, strict=True)]
        found[row.name] = {"us": median(row.times), "ratio": median(ratios)}
        found[row.name].update(counts[row.name])
    token, jwt, trip, there = (
        by_name[name].times
        for name in ("perfguard, token", "simplejwt", "one round trip", IN_PLACE)
    )
    rows = list(zip(token, jwt, trip, there, strict=True))
    found[ADDED] = {"ratio": median((a - b) / c for a, b, c, _ in rows)}
    found[ADDED_THERE] = {"ratio": median((a - b) / (d - b) for a, b, _, d in rows)}
    return dict(found)


def show(table: list[Row], figures: dict[str, Any]) -> None:
    print_row("", ["microseconds", "times", "round trips", "queries"])
    for row in table:
        it = figures[row.name]
        against = f"{it['ratio']:.2f}x"
        cells = [f"{it['us']:.1f}", against, f"{it['trips']:g}", f"{it['queries']:g}"]
        print_row(row.name, [*cells, f"   of: {row.against}" if row.against else ""])
    for name in (ADDED, ADDED_THERE):
        print_row(name, ["", f"{figures[name]['ratio']:.2f}x", "", ""])


def print_row(name: str, cells: list[str]) -> None:
    print(f"{name:{NAME}}" + "".join(f"{cell:>{CELL}}" for cell in cells))


if __name__ == "__main__":
    main()
