"""The order of the middleware: the project's is right, and what is not is told."""

from __future__ import annotations

import pytest
from django.contrib.sessions.middleware import SessionMiddleware

from perfguard import order_checks
from perfguard.order_checks import RULES, check_order, check_threads, check_twice, names
from project import settings as project

PAIRS = [(rule, inner) for rule in RULES for inner in rule.inner]


def test_the_project_has_the_order_that_it_promises():
    assert len(project.MIDDLEWARE) > 10
    assert check_order() == check_twice() == []


def test_nothing_of_the_project_needs_a_thread_by_its_kind(settings):
    settings.MIDDLEWARE = project.MIDDLEWARE
    assert check_order() == check_twice() == check_threads() == []


def test_the_project_has_every_middleware_that_a_rule_knows():
    known = {name for rule in RULES for name in (rule.outer, *rule.inner)}
    used = {name for path in project.MIDDLEWARE for name in names(path)}
    assert known - used == {order_checks.UPDATE_CACHE}


@pytest.mark.parametrize(
    ("rule", "inner"), PAIRS, ids=lambda each: getattr(each, "outer", each)
)
def test_each_pair_the_wrong_way_round_is_told_with_its_reason(settings, rule, inner):
    settings.MIDDLEWARE = [rule.outer, inner]
    assert check_order() == []
    settings.MIDDLEWARE = [inner, rule.outer]
    found = [each for each in check_order() if rule.why in each.msg]
    assert [each.id for each in found] == [
        "perfguard.E903" if rule.is_error else "perfguard.W901"
    ]
    assert inner in found[0].msg
    assert found[0].hint == f"Move {rule.outer} above {inner}."


def test_a_rule_names_all_that_stand_outside_and_moves_above_the_first(settings):
    settings.MIDDLEWARE = [
        order_checks.SESSION,
        order_checks.COMMON,
        order_checks.MESSAGES,
        order_checks.HEADERS,
    ]
    (message,) = check_order()
    assert order_checks.SESSION in message.msg
    assert order_checks.COMMON in message.msg
    assert order_checks.MESSAGES not in message.msg
    assert message.hint.endswith(f"above {order_checks.SESSION}.")


class OwnSessions(SessionMiddleware):
    """A project's own, which is Django's for all that the order asks."""


def test_a_class_of_the_projects_own_stands_for_what_it_inherits_from(settings):
    own = f"{__name__}.OwnSessions"
    settings.MIDDLEWARE = [order_checks.AUTHENTICATION, own]
    (message,) = check_order()
    assert own in message.msg


def test_what_cannot_be_imported_is_for_django_to_tell(settings):
    settings.MIDDLEWARE = ["no.such.Middleware", order_checks.SESSION]
    assert check_order() == []
    settings.MIDDLEWARE = []
    assert check_order() == check_twice() == check_threads() == []


def test_twice_is_an_error(settings):
    settings.MIDDLEWARE = [order_checks.SESSION, order_checks.COMMON] * 2
    assert [each.id for each in check_twice()] == ["perfguard.E904"] * 2


def test_whitenoise_alone_would_take_a_thread_and_its_place_can_be_taken(settings):
    settings.MIDDLEWARE = [order_checks.STATIC_FILES]
    (message,) = check_threads()
    assert message.id == "perfguard.I901"
    assert "perfguard.http.static_files.StaticFilesMiddleware" in message.hint
