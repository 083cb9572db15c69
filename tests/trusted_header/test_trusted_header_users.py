"""From an address to a user of the project, and what a header changes there."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext

from perfguard.exceptions import InvalidCredential
from perfguard.trusted_header import users
from perfguard.trusted_header.users import MOST_CANDIDATES, user_from_header
from project.demo.models import User
from tests.trusted_header.trusted_header_requests import (
    ANN,
    DECEPTIVE,
    OTHER_SCRIPTS,
    asking,
)

pytestmark = pytest.mark.django_db

ROLES = {
    "admin": {"is_staff": True, "is_active": True},
    "user": {"is_staff": False, "is_active": True},
    "pending": {"is_staff": False, "is_active": False},
}
ASCII_TWINS = ["ann", "kim", "sam", "finn", "strasse", "alex", "jose", "xnn"]


def stored(email, **fields):
    """A user whose address is just so: the model itself would respell it."""
    (user,) = User.objects.bulk_create([User(email=email, **fields)])
    return user


def code_of(**headers):
    with pytest.raises(InvalidCredential) as caught:
        user_from_header(asking(**headers))
    return caught.value.code


@pytest.fixture
def creating(trusted):
    trusted(TRUSTED_CREATE_USERS=True)
    return trusted


@pytest.fixture
def with_roles(creating):
    creating(TRUSTED_ROLES=ROLES)
    return creating


# -- who it is -------------------------------------------------------------------------


@pytest.mark.usefixtures("trusted")
def test_the_header_names_a_user():
    ann = stored(ANN)
    stored("bob@example.com")
    assert user_from_header(asking(email="ANN@example.com")) == ann


@pytest.mark.usefixtures("trusted")
def test_no_header_and_an_untrusted_one_are_nobody(told):
    stored(ANN)
    assert user_from_header(asking()) is None
    assert user_from_header(asking("203.0.113.7", email=ANN)) is None
    assert told == [("untrusted_peer", "")]


@pytest.mark.usefixtures("trusted")
def test_an_account_that_was_stored_with_capitals_is_found():
    ann = stored("Ann@Example.com")
    assert user_from_header(asking(email=ANN)) == ann


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("twin", ["Ann@example.com", "ANN@EXAMPLE.COM"])
def test_two_accounts_equal_but_for_case_are_refused(told, twin):
    stored(ANN)
    stored(twin)
    assert code_of(email=ANN) == code_of(email=twin) == "ambiguous"
    assert told == [("ambiguous", "")] * 2


@pytest.mark.usefixtures("trusted")
def test_an_inactive_user_is_refused_and_told(told):
    ann = stored(ANN, is_active=False)
    assert code_of(email=ANN) == "inactive"
    assert told == [("inactive", str(ann.pk))]


@pytest.mark.usefixtures("trusted")
def test_nobody_is_created_by_default(told):
    assert code_of(email=ANN) == "unknown_user"
    assert not User.objects.exists()
    assert told == [("unknown_user", "")]


@pytest.mark.parametrize(
    "value", [*DECEPTIVE.values(), *OTHER_SCRIPTS.values()], ids=ascii
)
@pytest.mark.parametrize("is_allowed", [False, True])
def test_a_look_alike_never_signs_in_as_the_ascii_account(trusted, value, is_allowed):
    trusted(TRUSTED_EMAIL_NON_ASCII=is_allowed)
    User.objects.bulk_create(User(email=f"{it}@example.com") for it in ASCII_TWINS)
    assert code_of(email=value) in {"malformed", "unknown_user"}


@pytest.mark.parametrize(
    "value", [*DECEPTIVE.values(), *OTHER_SCRIPTS.values()], ids=ascii
)
def test_nobody_signs_in_as_a_look_alike_that_is_stored(trusted, value):
    trusted(TRUSTED_EMAIL_NON_ASCII=True)
    stored(value)
    for name in ASCII_TWINS:
        assert code_of(email=f"{name}@example.com") == "unknown_user"


@pytest.fixture
def _folding_database():
    """One that takes letters for one, as others do by their collation."""
    connection.ensure_connection()
    fold = connection.connection.create_function
    fold("LOWER", 1, lambda text: text and text.casefold(), deterministic=True)
    yield
    connection.close()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("trusted", "_folding_database")
def test_a_database_that_takes_letters_for_one_does_not_decide():
    stored("\u017fam@example.com")
    assert code_of(email="sam@example.com") == "unknown_user"
    sam = stored("sam@example.com")
    assert user_from_header(asking(email="sam@example.com")) == sam


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("trusted", "_folding_database")
def test_so_many_look_alikes_that_nobody_counts_them_are_refused():
    letters = list(product("s\u017f", repeat=5))
    User.objects.bulk_create(User(email="".join(it) + "@x.org") for it in letters[1:])
    assert len(letters) - 1 > MOST_CANDIDATES
    assert code_of(email="sssss@x.org") == "ambiguous"


@pytest.mark.parametrize("name", OTHER_SCRIPTS)
def test_an_account_of_another_script_is_found_where_that_is_allowed(trusted, name):
    trusted(TRUSTED_EMAIL_NON_ASCII=True)
    user = stored(OTHER_SCRIPTS[name])
    assert user_from_header(asking(email=OTHER_SCRIPTS[name])) == user


# -- a new account ---------------------------------------------------------------------


@pytest.mark.usefixtures("creating")
def test_an_unknown_address_becomes_a_user_without_rights(told):
    user = user_from_header(asking(email="Ann@Example.com", name="Ann%20Smith"))
    user.refresh_from_db()
    assert (user.email, user.name) == (ANN, "Ann Smith")
    assert user.is_active
    assert not user.is_staff
    assert not user.is_superuser
    assert not user.has_usable_password()
    assert not user.groups.exists()
    assert user_from_header(asking(email=ANN)) == user
    assert told == []


@pytest.mark.usefixtures("creating")
def test_the_first_user_is_no_administrator():
    assert not User.objects.exists()
    user = user_from_header(asking(email=ANN, role="admin"))
    assert not user.is_staff
    assert not user.is_superuser


@pytest.mark.usefixtures("creating")
def test_a_model_whose_defaults_give_rights_gives_none_here(monkeypatch):
    for name in ("is_staff", "is_superuser"):
        monkeypatch.setattr(User._meta.get_field(name), "_get_default", lambda: True)
    user = user_from_header(asking(email=ANN))
    assert not user.is_staff
    assert not user.is_superuser


def test_a_domain_that_is_not_listed_creates_nobody(creating):
    creating(TRUSTED_EMAIL_DOMAINS=["example.org"])
    assert code_of(email=ANN) == "domain"
    assert not User.objects.exists()


def test_a_new_user_has_the_default_role(with_roles, told):
    with_roles(TRUSTED_DEFAULT_ROLE="pending")
    assert code_of(email=ANN) == "inactive"
    assert not User.objects.get(email=ANN).is_active
    assert code_of(email=ANN) == "inactive"
    assert {code for code, _ in told} == {"inactive"}


def test_the_proxys_role_goes_before_the_default_one(with_roles):
    with_roles(TRUSTED_DEFAULT_ROLE="pending")
    assert user_from_header(asking(email=ANN, role="Admin")).is_staff


def test_a_role_that_there_is_not_leaves_the_default_one(with_roles, caplog):
    with_roles(TRUSTED_DEFAULT_ROLE="pending")
    assert code_of(email=ANN, role="owner") == "inactive"
    assert "'owner' is no role" in caplog.text


@pytest.mark.parametrize(
    "values",
    [
        {"TRUSTED_DEFAULT_ROLE": "pendng"},
        {"TRUSTED_DEFAULT_ROLE": "x", "TRUSTED_ROLES": {"x": {"is_superuser": True}}},
    ],
    ids=str,
)
def test_a_default_role_that_there_is_not_creates_nobody(with_roles, values):
    with_roles(**values)
    assert code_of(email=ANN) == "not_created"
    assert not User.objects.exists()


@pytest.mark.usefixtures("creating")
def test_two_first_requests_at_once_make_one_user(monkeypatch):
    """The second looks before the first has written, and writes after it."""
    found = users._find
    looks = []

    def looks_too_early(request, email, using=None):
        looks.append(using)
        return None if len(looks) == 1 else found(request, email, using)

    ann = stored(ANN)
    monkeypatch.setattr(users, "_find", looks_too_early)
    assert user_from_header(asking(email=ANN)) == ann
    assert User.objects.count() == 1
    assert looks == [None, "default"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("creating")
def test_eight_first_requests_at_once_make_one_user(monkeypatch):
    count, found = 8, users._find
    barrier = threading.Barrier(count)
    first = threading.local()

    def looks_together(request, email, using=None):
        user = found(request, email, using)
        if not hasattr(first, "seen"):
            first.seen = True
            barrier.wait(30)
        return user

    def ask(_):
        try:
            return user_from_header(asking(email=ANN)).pk
        finally:
            connection.close()

    monkeypatch.setattr(users, "_find", looks_together)
    with ThreadPoolExecutor(count) as pool:
        keys = set(pool.map(ask, range(count)))
    assert keys == {User.objects.get().pk}


def test_an_account_that_the_model_respells_is_not_created(creating, caplog):
    """The demo's model stores a sharp s as two: that is somebody else's address."""
    creating(TRUSTED_EMAIL_NON_ASCII=True)
    assert code_of(email="stra\u00dfe@example.com") == "not_created"
    assert not User.objects.exists()
    assert "respells" in caplog.text


def test_a_respelled_account_does_not_become_the_one_there_is(creating):
    creating(TRUSTED_EMAIL_NON_ASCII=True)
    stored("strasse@example.com")
    assert code_of(email="stra\u00dfe@example.com") == "not_created"
    assert User.objects.count() == 1


def test_without_a_unique_column_nobody_is_created(creating, monkeypatch):
    monkeypatch.setattr(users, "unique_field", lambda model: None)
    assert code_of(email=ANN) == "not_created"
    assert not User.objects.exists()


# -- role ------------------------------------------------------------------------------


@pytest.mark.usefixtures("with_roles")
def test_a_role_is_given_and_taken():
    ann = stored(ANN)
    for role, is_staff in (("admin", True), (None, True), ("", True), ("user", False)):
        headers = {} if role is None else {"role": role}
        user_from_header(asking(email=ANN, **headers))
        ann.refresh_from_db()
        assert ann.is_staff is is_staff


@pytest.mark.usefixtures("with_roles")
def test_an_unknown_role_is_ignored_with_one_warning(caplog):
    ann = stored(ANN, is_staff=True)
    for _ in range(3):
        user_from_header(asking(email=ANN, role="owner\tof, all"))
    ann.refresh_from_db()
    assert ann.is_staff
    assert [each.getMessage() for each in caplog.records] == [
        r"A trusted role header was ignored: 'owner\tof, all' is no role."
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"is_superuser": True},
        {"password": "x"},
        {"email": "root@example.com"},
        {"id": 1},
        {"groups": []},
        {"nonsense": 1},
        {"is_staff": "yes"},
        {"is_staff": True, "is_superuser": True},
        "is_staff",
    ],
    ids=str,
)
def test_a_role_that_cannot_be_given_is_no_role(with_roles, fields):
    with_roles(TRUSTED_ROLES={"root": fields})
    ann = stored(ANN)
    user_from_header(asking(email=ANN, role="root"))
    ann.refresh_from_db()
    assert (ann.is_staff, ann.is_superuser, ann.email) == (False, False, ANN)


@pytest.mark.usefixtures("with_roles")
def test_a_role_never_makes_an_inactive_user_active():
    ann = stored(ANN, is_active=False)
    assert code_of(email=ANN, role="user") == "inactive"
    ann.refresh_from_db()
    assert not ann.is_active


@pytest.mark.usefixtures("with_roles")
def test_a_role_that_deactivates_refuses_at_once():
    ann = stored(ANN)
    assert code_of(email=ANN, role="pending") == "inactive"
    ann.refresh_from_db()
    assert not ann.is_active


# -- name ------------------------------------------------------------------------------


@pytest.mark.usefixtures("trusted")
def test_a_name_is_updated_when_it_differs():
    ann = stored(ANN, name="Ann")
    for name, known in (("Ann%20Smith", "Ann Smith"), ("", "Ann Smith")):
        user_from_header(asking(email=ANN, name=name))
        ann.refresh_from_db()
        assert ann.name == known


# -- groups ----------------------------------------------------------------------------


@pytest.fixture
def groups(trusted):
    return [Group.objects.create(name=name) for name in ("ops", "dev", "B\u00fcro")]


def names_of(user):
    return {group.name for group in user.groups.all()}


@pytest.mark.usefixtures("groups")
def test_groups_become_those_of_the_header():
    ann = stored(ANN)
    user_from_header(asking(email=ANN, groups="ops,B\u00fcro"))
    assert names_of(ann) == {"ops", "B\u00fcro"}
    user_from_header(asking(email=ANN, groups="dev,ops"))
    assert names_of(ann) == {"ops", "dev"}


@pytest.mark.usefixtures("groups")
def test_a_missing_header_leaves_groups_and_an_empty_one_clears_them():
    ann = stored(ANN, is_superuser=True)
    user_from_header(asking(email=ANN, groups="ops"))
    user_from_header(asking(email=ANN))
    assert names_of(ann) == {"ops"}
    user_from_header(asking(email=ANN, groups=""))
    assert names_of(ann) == set()


@pytest.mark.usefixtures("groups")
@pytest.mark.parametrize("unknown", ["root", "Ops", "OPS"])
def test_a_group_that_there_is_not_is_not_made(caplog, unknown):
    ann = stored(ANN)
    for _ in range(2):
        user_from_header(asking(email=ANN, groups=f"dev,{unknown}"))
    assert names_of(ann) == {"dev"}
    assert Group.objects.count() == 3
    assert len(caplog.records) == 1
    assert f"{unknown!r}, which is no group" in caplog.text


@pytest.mark.usefixtures("groups")
def test_a_database_that_takes_names_for_one_gives_no_group(monkeypatch):
    ann = stored(ANN)
    monkeypatch.setattr(
        type(Group.objects), "filter", lambda self, name__in: self.exclude(name="dev")
    )
    user_from_header(asking(email=ANN, groups="OPS,B\u00fcro"))
    assert names_of(ann) == {"B\u00fcro"}


@pytest.mark.usefixtures("groups")
def test_a_list_that_cannot_be_read_refuses_and_changes_nothing():
    ann = stored(ANN, name="Ann")
    ann.groups.set(Group.objects.all())
    assert code_of(email=ANN, name="Eve", groups="ops\udce9") == "malformed_groups"
    ann.refresh_from_db()
    assert ann.name == "Ann"
    assert len(names_of(ann)) == 3


# -- cost ------------------------------------------------------------------------------


@pytest.mark.usefixtures("with_roles")
def test_the_usual_request_is_one_query(django_assert_num_queries):
    stored(ANN, name="Ann", is_staff=True)
    with django_assert_num_queries(1):
        user_from_header(asking(email=ANN, name="Ann", role="admin"))


@pytest.mark.usefixtures("groups")
def test_groups_that_have_not_changed_are_one_query_more(django_assert_num_queries):
    stored(ANN).groups.set(Group.objects.filter(name__in=["ops", "dev"]))
    with django_assert_num_queries(2):
        user_from_header(asking(email=ANN, groups="dev,ops"))


@pytest.mark.usefixtures("groups")
def test_a_group_that_there_is_not_is_looked_up_and_nothing_written(
    django_assert_num_queries,
):
    stored(ANN).groups.set(Group.objects.filter(name="ops"))
    with django_assert_num_queries(3):
        user_from_header(asking(email=ANN, groups="ops,root"))


@pytest.mark.usefixtures("with_roles")
def test_only_what_differs_is_written():
    ann = stored(ANN, name="Ann")
    with CaptureQueriesContext(connection) as queries:
        user_from_header(asking(email=ANN, name="Ann", role="admin"))
    written = [each["sql"] for each in queries if 'UPDATE "demo_user"' in each["sql"]]
    assert len(written) == 1
    assert '"is_staff"' in written[0]
    # What somebody else changes meanwhile stays.
    assert '"name"' not in written[0]
    ann.refresh_from_db()
    assert ann.is_staff
