"""Django's own user model, whose e-mail address is not unique and no user name.

A process of its own: the user model of a process is one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from textwrap import indent

import pytest

from tests.servers import ROOT, clean_environment

PROGRAM = """
import json
from django.conf import settings
settings.configure(
    SECRET_KEY="x" * 50,
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "perfguard"],
    DATABASES={{
        "default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
    }},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    PERFGUARD={{
        "TRUSTED_PROXIES": ["10.0.0.0/8"],
        "TRUSTED_EMAIL_HEADER": "X-Email",
        "TRUSTED_NAME_HEADER": "X-Name",
        "TRUSTED_CREATE_USERS": True,
    }},
)
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from django.contrib.auth.models import User
from django.test import RequestFactory
from perfguard.exceptions import InvalidCredential
from perfguard.trusted_header.checks import ALL
from perfguard.trusted_header.users import user_from_header

def ask(email, name=""):
    request = RequestFactory().get(
        "/", REMOTE_ADDR="10.0.0.1", HTTP_X_EMAIL=email, HTTP_X_NAME=name
    )
    try:
        user = user_from_header(request)
    except InvalidCredential as error:
        return error.code
    user.refresh_from_db()
    return [user.username, user.email, user.first_name, user.last_name]

def story():
{story}

print(json.dumps([list(story()), [each.id for check in ALL for each in check()]]))
"""


def run(story):
    program = PROGRAM.format(story=indent(story, "    "))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told, checks = json.loads(done.stdout)
    assert checks == []
    return told


@pytest.mark.parametrize(
    ("story", "told"),
    [
        pytest.param(
            """
User.objects.create_user("ann", "Ann@example.com")
yield ask("ann@example.com", "Ann%20Mary%20Smith")
""",
            [["ann", "Ann@example.com", "Ann Mary", "Smith"]],
            id="an account is found by its address and named",
        ),
        pytest.param(
            """
User.objects.create_user("one", "ann@example.com")
User.objects.create_user("two", "ann@example.com")
yield ask("ann@example.com")
User.objects.filter(username="two").update(email="ANN@example.com")
yield ask("ann@example.com")
""",
            ["ambiguous", "ambiguous"],
            id="two accounts of one address are refused",
        ),
        pytest.param(
            """
yield ask("Ann@Example.com", "Ann")
yield ask("ann@example.com", "Ann")
yield User.objects.count()
""",
            [["ann@example.com", "ann@example.com", "Ann", ""]] * 2 + [1],
            id="a new account has its address as its user name",
        ),
        pytest.param(
            """
User.objects.create_user("ann@example.com", "eve@example.com")
yield ask("ann@example.com")
yield User.objects.count()
""",
            ["not_created", 1],
            id="somebody else's user name is nobody's address",
        ),
        pytest.param(
            """
email = "x" * 64 + "@" + ".".join(["y" * 60] * 3)
yield ask(email)[1] == ask(email)[1] == email
yield [len(each.username) for each in User.objects.all()]
""",
            [True, [64]],
            id="an address too long for a user name",
        ),
    ],
)
def test_the_stock_user(story, told):
    assert run(story) == told
