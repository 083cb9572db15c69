"""Each mistake in the settings is met before it is served."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import django
import pytest
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.models import AbstractUser, Group
from django.db import models
from django.db.models.functions import Lower, Upper
from django.test import override_settings
from django.test.utils import isolate_apps

from perfguard.checks import check_proxies as check_networks
from perfguard.trusted_header import checks
from perfguard.trusted_header.authentication import TrustedHeaderAuthentication
from perfguard.trusted_header.checks import ALL
from perfguard.trusted_header.middleware import TrustedHeaderMiddleware
from perfguard.trusted_header.user_model import (
    has_lower_index,
    name_values,
    unique_field,
)
from project.demo.models import User

ROOT = Path(__file__).resolve().parents[2]
SECRET = "of-the-proxy-and-of-nobody-else-0123"
AUTH = "django.contrib.auth.middleware.AuthenticationMiddleware"
MINE = "perfguard.trusted_header.middleware.TrustedHeaderMiddleware"
DOOR = "perfguard.trusted_header.authentication.TrustedHeaderAuthentication"


def found():
    return [message for check in ALL for message in check()]


def ids():
    return [each.id.removeprefix("perfguard.") for each in found()]


def test_off_is_without_fault(perfguard):
    perfguard(TRUSTED_PROXIES=["0.0.0.0/0"])
    assert found() == []


def test_on_is_without_fault(trusted):
    trusted(
        TRUSTED_SECRET_HEADER="X-Secret",
        TRUSTED_SECRET=SECRET,
        TRUSTED_EMAIL_DOMAINS=["example.com", "b\u00fccher.example"],
        TRUSTED_CREATE_USERS=True,
        TRUSTED_DEFAULT_ROLE="user",
        TRUSTED_ROLES={"admin": {"is_staff": True}, "user": {"is_staff": False}},
    )
    assert found() == []


def test_wrong_types_are_another_checks(trusted):
    trusted(TRUSTED_EMAIL_HEADER=7, TRUSTED_ROLES=["admin"])
    assert found() == []


@pytest.mark.parametrize("networks", [[], ["0.0.0.0/0"], ["::/0"], ["8.0.0.0/7"]])
def test_nobody_and_everybody(trusted, networks):
    trusted(TRUSTED_PROXIES=networks)
    assert ids() == ["E201"]


def test_a_star_is_no_network(trusted):
    trusted(TRUSTED_PROXIES=["*"])
    assert found() == []
    assert [each.id for each in check_networks()] == ["perfguard.E005"]


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ("TRUSTED_EMAIL_HEADER", "X_Email"),
        ("TRUSTED_EMAIL_HEADER", "HTTP_X_EMAIL"),
        ("TRUSTED_EMAIL_HEADER", "X-Email:"),
        ("TRUSTED_EMAIL_HEADER", " X-Email"),
        ("TRUSTED_EMAIL_HEADER", "X--Email"),
        ("TRUSTED_EMAIL_HEADER", "X-\u00c9mail"),
        ("TRUSTED_EMAIL_HEADER", "X-Email\n"),
        ("TRUSTED_EMAIL_HEADER", "Authorization"),
        ("TRUSTED_EMAIL_HEADER", "Content-Type"),
        ("TRUSTED_NAME_HEADER", "x-email"),
        ("TRUSTED_GROUPS_HEADER", "X_Groups"),
        ("TRUSTED_ROLE_HEADER", "X-Forwarded-For"),
    ],
)
def test_a_name_that_no_header_can_have(trusted, setting, name):
    trusted(**{setting: name})
    assert ids() == ["E202"]
    assert setting in found()[0].msg


@pytest.mark.parametrize(
    ("header", "secret"),
    [
        ("X-Secret", ""),
        ("", SECRET),
        ("X-Secret", SECRET[:31]),
        ("X-Secret", f"{SECRET} "),
        ("X-Secret", f"{SECRET}\u00e9"),
        ("X-Secret", f"{SECRET}\n"),
    ],
)
def test_half_a_secret_or_a_weak_one_is_met_and_not_shown(trusted, header, secret):
    trusted(TRUSTED_SECRET_HEADER=header, TRUSTED_SECRET=secret)
    assert ids() == ["E203"]
    assert not secret or secret not in str(found())


@pytest.mark.parametrize(
    ("roles", "words"),
    [
        ({"admin": {"is_superuser": True}}, "no header may set"),
        ({"admin": {"is_superuser": False}}, "no header may set"),
        ({"admin": {"password": "x"}}, "no header may set"),
        ({"admin": {"email": "x"}}, "no header may set"),
        ({"admin": {"id": 1}}, "no header may set"),
        ({"admin": {"groups": ["x"]}}, "no column"),
        ({"admin": {"notes": []}}, "no column"),
        ({"admin": {"is_boss": True}}, "no column"),
        ({"admin": {"is_staff": "yes"}}, "cannot hold"),
        ({"admin": {"is_staff": 1}}, "cannot hold"),
        ({"admin": {"name": "x" * 151}}, "cannot hold"),
        ({"admin": ["is_staff"]}, "no dictionary"),
        ({"Admin": {"is_staff": True}}, "lower case"),
        ({" admin": {"is_staff": True}}, "lower case"),
        ({"": {"is_staff": True}}, "lower case"),
    ],
    ids=str,
)
def test_a_role_that_cannot_be_given(trusted, roles, words):
    trusted(TRUSTED_ROLES=roles)
    (error,) = found()
    assert error.id == "perfguard.E204"
    assert words in error.msg


def test_a_default_role_that_there_is_not(trusted):
    trusted(TRUSTED_DEFAULT_ROLE="pending", TRUSTED_ROLES={"user": {}})
    assert ids() == ["E204"]


def test_roles_of_unlike_fields(trusted):
    trusted(TRUSTED_ROLES={"admin": {"is_staff": True}, "user": {}})
    assert ids() == ["W203"]


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ((5, 2, 12), ["E205"]),
        ((5, 2, 13), []),
        ((6, 0, 3), ["E205"]),
        ((6, 0, 4), []),
        ((6, 1, 0), []),
    ],
    ids=str,
)
def test_a_django_that_can_be_deceived(trusted, monkeypatch, version, expected):
    monkeypatch.setattr(django, "VERSION", (*version, "final", 0))
    trusted()
    assert ids() == expected


@pytest.mark.parametrize("domain", ["@example.com", "*.example.com", "", "a b", ".com"])
def test_a_domain_that_is_none(trusted, domain):
    trusted(TRUSTED_EMAIL_DOMAINS=["example.com", domain])
    assert ids() == ["E208"]


def test_settings_without_effect(trusted):
    trusted(TRUSTED_EMAIL_HEADER="", TRUSTED_CREATE_USERS=True)
    (warning,) = found()
    assert warning.id == "perfguard.W202"
    assert "TRUSTED_CREATE_USERS" in warning.msg
    assert "TRUSTED_PROXIES" not in warning.msg


# -- the doors -------------------------------------------------------------------------


class Own(AuthenticationMiddleware):
    pass


@pytest.mark.parametrize(
    ("middleware", "expected"),
    [
        ([AUTH, MINE], []),
        ([f"{__name__}.Own", MINE], []),
        ([MINE, AUTH], ["E207"]),
        ([MINE], ["E207"]),
        ([AUTH], []),
        (["nowhere.Middleware", AUTH, MINE], []),
    ],
    ids=str,
)
def test_the_middleware_stands_behind_djangos(trusted, middleware, expected):
    with override_settings(MIDDLEWARE=middleware):
        assert ids() == expected


@pytest.mark.parametrize(
    ("middleware", "classes", "expected"),
    [
        ([AUTH], [], ["W201"]),
        ([AUTH, MINE], [], []),
        ([AUTH], [DOOR], []),
        ([AUTH], [TrustedHeaderAuthentication], []),
    ],
    ids=str,
)
def test_each_request_needs_a_door(trusted, monkeypatch, middleware, classes, expected):
    monkeypatch.setattr(checks, "has_lower_index", lambda model: True)
    trusted(TRUSTED_PER_REQUEST=True)
    rest = {"DEFAULT_AUTHENTICATION_CLASSES": classes}
    with override_settings(MIDDLEWARE=middleware, REST_FRAMEWORK=rest):
        assert ids() == expected


def test_the_names_in_these_tests_are_those_of_the_classes():
    for path, each in (
        (MINE, TrustedHeaderMiddleware),
        (DOOR, TrustedHeaderAuthentication),
    ):
        assert path == f"{each.__module__}.{each.__qualname__}"


# -- the user model --------------------------------------------------------------------


@isolate_apps("project.demo")
def make_models():
    class Nameless(AbstractBaseUser):
        login = models.CharField(max_length=20, unique=True)
        USERNAME_FIELD = "login"

        class Meta:
            app_label = "demo"

    class Numbered(AbstractBaseUser):
        number = models.IntegerField(unique=True)
        mail = models.EmailField()
        USERNAME_FIELD = "number"
        EMAIL_FIELD = "mail"

        class Meta:
            app_label = "demo"

    class Indexed(AbstractBaseUser):
        number = models.IntegerField(unique=True)
        email = models.EmailField()
        USERNAME_FIELD = "number"

        class Meta:
            app_label = "demo"
            constraints = (models.UniqueConstraint(Lower("email"), name="lower_mail"),)

    class Constrained(AbstractBaseUser):
        number = models.IntegerField(unique=True)
        email = models.EmailField()
        USERNAME_FIELD = "number"

        class Meta:
            app_label = "demo"
            constraints = (models.UniqueConstraint(fields=["email"], name="one_mail"),)
            indexes = (models.Index(Lower("email"), name="small_mail"),)

    class Partly(AbstractBaseUser):
        number = models.IntegerField(unique=True)
        email = models.EmailField()
        USERNAME_FIELD = "number"

        class Meta:
            app_label = "demo"
            constraints = (
                models.UniqueConstraint(
                    fields=["email"], condition=models.Q(number=1), name="partly"
                ),
                models.UniqueConstraint(Upper("email"), name="upper_mail"),
            )

    class Stock(AbstractUser):
        groups = models.ManyToManyField(Group, related_name="+")
        user_permissions = None

        class Meta:
            app_label = "demo"

    return Nameless, Numbered, Indexed, Constrained, Partly, Stock


NAMELESS, NUMBERED, INDEXED, CONSTRAINED, PARTLY, STOCK = make_models()


def use(monkeypatch, model):
    monkeypatch.setattr(checks, "get_user_model", lambda: model)


def test_a_user_model_without_an_e_mail_address(trusted, monkeypatch):
    use(monkeypatch, NAMELESS)
    trusted(TRUSTED_GROUPS_HEADER="")
    assert ids() == ["E206"]


def test_a_user_model_without_groups(trusted, monkeypatch):
    use(monkeypatch, NUMBERED)
    assert ids() == ["E206"]
    trusted(TRUSTED_GROUPS_HEADER="")
    assert ids() == []


def test_a_user_model_that_could_hold_an_account_twice(trusted, monkeypatch):
    use(monkeypatch, NUMBERED)
    trusted(TRUSTED_GROUPS_HEADER="", TRUSTED_CREATE_USERS=True)
    assert ids() == ["E206"]


def test_a_user_model_that_is_searched_row_by_row(trusted, monkeypatch):
    trusted(TRUSTED_GROUPS_HEADER="", TRUSTED_PER_REQUEST=True)
    with override_settings(MIDDLEWARE=[AUTH, MINE]):
        assert ids() == ["W204"]
        use(monkeypatch, INDEXED)
        assert ids() == []


@pytest.mark.parametrize(
    ("model", "unique", "is_indexed"),
    [
        (User, "email", False),
        (STOCK, "username", False),
        (NUMBERED, None, False),
        (INDEXED, "email", True),
        (CONSTRAINED, "email", True),
        (PARTLY, None, False),
    ],
)
def test_a_unique_column_is_known_however_it_is_declared(model, unique, is_indexed):
    assert unique_field(model) == unique
    assert has_lower_index(model) is is_indexed


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Ann Smith", {"first_name": "Ann", "last_name": "Smith"}),
        ("Ann Mary Smith", {"first_name": "Ann Mary", "last_name": "Smith"}),
        ("Ann", {"first_name": "Ann", "last_name": ""}),
        (f"Ann {'x' * 151}", {"first_name": "Ann", "last_name": "x" * 150}),
    ],
)
def test_a_name_goes_into_two_fields(name, values):
    assert name_values(STOCK(), name) == values
    assert name_values(NUMBERED(), name) == {}


def test_a_name_that_somebody_split_elsewhere_stays_so():
    user = STOCK(first_name="Ann", last_name="Mary Smith")
    assert name_values(user, "Ann Mary Smith") == {}


# -- the manual ------------------------------------------------------------------------


def source():
    return Path(checks.__file__).read_text()


def given_ids():
    calls = [it for it in ast.walk(ast.parse(source())) if isinstance(it, ast.Call)]
    for call in calls:
        kind = {"Error": "E", "Warning": "W"}.get(getattr(call.func, "id", ""))
        for each in call.keywords if kind else ():
            if each.arg == "id":
                yield kind, each.value.value


def test_every_id_is_listed_in_the_docstring_and_in_the_manual():
    listed = re.findall(r"perfguard\.[EW]2\d\d", checks.__doc__)
    assert sorted(listed) == sorted({number for _, number in given_ids()})
    assert all(number[10] == kind for kind, number in given_ids())
    rows = re.findall(
        r"^\| `(.+?)` \|", (ROOT / "docs" / "checks.md").read_text(), re.M
    )
    assert set(listed) <= set(rows)
