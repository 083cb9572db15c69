"""The demo API in this process, and a user of it."""

from __future__ import annotations

from collections import Counter

from django.test import Client
from hypothesis import HealthCheck, settings

from perfguard.api_keys import services
from perfguard.tokens.tokens import RefreshToken
from tests.fuzz.shares import LONGER
from tests.fuzz.verdicts import verdict

EMAIL, PASSWORD = "ada@example.com", "a-long-demo-password"
SCOPES = ("anon", "user", "sign_in", "sign_in_address", "refresh", "password")
PROXY = "127.0.0.1"


def fuzz(examples):
    """Hypothesis settings for so many cases, or more: ``FUZZ_LONGER=10``."""
    return settings(
        max_examples=examples * LONGER,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


class Site:
    """The demo, and one user of it, whose credentials are made anew when they end."""

    def __init__(self, user):
        self.user = user
        self.client = Client(raise_request_exception=False)
        self.statuses = Counter()
        self.renew()

    @property
    def answers(self):
        return self.statuses.total()

    @property
    def let_in(self):
        """The part of the answers that were no refusals: else little was tried."""
        good = sum(self.statuses[each] for each in range(200, 400))
        return good / self.answers

    def renew(self):
        self.user.set_password(PASSWORD)
        self.user.is_active = True
        self.user.save()
        self.refresh = RefreshToken.for_user(self.user)
        self.key = services.create(self.user, "fuzz")
        self.note = self.user.notes.create(text="x")

    def headers(self, caller):
        return {
            "nobody": {},
            "token": {"Authorization": f"Bearer {self.refresh.access_token}"},
            "API key": {"X-API-Key": self.key.text},
        }[caller]

    def real(self, name):
        """What exists under the name of a parameter or a field; None for others."""
        return {
            "email": EMAIL,
            "password": PASSWORD,
            "refresh": str(self.refresh),
            "token": str(self.refresh.access_token),
            "sid": self.refresh["sid"],
            "key_id": self.key.api_key.key_id,
            "id": self.note.pk,
        }.get(name)

    def judge(self, method, status, headers, content):
        self.statuses[status] += 1
        assert status != 429
        assert verdict(method, status, headers, content) == ""
        if self.answers % 50 == 0:  # some end the session, or the account
            self.renew()

    def ask(self, method, path, body=b"", content_type="application/json", **headers):
        meta = {"HTTP_" + name.upper(): value for name, value in headers.items()}
        answer = self.client.generic(
            method, path, body, content_type, REMOTE_ADDR=PROXY, **meta
        )
        if answer.exc_info:
            raise answer.exc_info[1]
        self.judge(method, answer.status_code, answer.headers, answer.content)
