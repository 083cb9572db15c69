from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from perfguard.api_keys import services
from perfguard.api_keys.keyring import keyring
from perfguard.api_keys.keys import parse
from perfguard.api_keys.models import ApiKey

pytestmark = [
    pytest.mark.urls("tests.api_keys.urls_api_keys"),
    pytest.mark.django_db(transaction=True),
]


@pytest.fixture
def run(capsys, owner, perfguard):
    perfguard()

    def call(*words):
        call_command("perfguard_keys", *words)
        return capsys.readouterr()

    return call


def code_of(text):
    return keyring.find(parse(text)).code


def test_create_prints_the_key_alone_and_once(run):
    done = run("create", "ada@example.com", "nightly")
    text = done.out.strip()
    assert done.out == f"{text}\n"
    assert code_of(text) == ""
    assert "nightly" in done.err
    assert text not in done.err
    assert ApiKey.objects.get().created_by == "perfguard_keys"


def test_create_takes_a_life_rules_and_a_rate(run):
    run(
        "create",
        "ada@example.com",
        "limited",
        *("--expires", "90d"),
        *("--allow", "GET notes:list"),
        *("--allow", "* /api/v1/chats"),
        *("--rate", "5/minute"),
    )
    row = ApiKey.objects.get()
    assert row.endpoints == ["GET notes:list", "* /api/v1/chats"]
    assert row.rate == "5/minute"
    assert timedelta(days=89) < row.expires_at - timezone.now() <= timedelta(days=90)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["create", "nobody@example.com", "x"], "nobody@example.com"),
        (["create", "ada@example.com", "x", "--expires", "soon"], "soon"),
        (["create", "ada@example.com", "x", "--allow", "GET nowhere"], "nowhere"),
        (["create", "ada@example.com", " "], "printable"),
        (["rotate", "A" * 12], "A" * 12),
        (["revoke", "A" * 12], "A" * 12),
        (["list", "--owner", "nobody@example.com"], "nobody@example.com"),
        ([], "required"),
        (["burn"], "burn"),
    ],
)
def test_what_cannot_be_is_said(run, words, says):
    with pytest.raises(CommandError, match=says):
        run(*words)
    assert not ApiKey.objects.exists()


def test_rotate_prints_the_new_key_and_when_the_old_one_ends(run, issued):
    done = run("rotate", issued.api_key.key_id, "--overlap", "1h")
    assert code_of(done.out.strip()) == ""
    assert f"{issued.api_key.key_id} goes on until" in done.err
    issued.api_key.refresh_from_db()
    assert issued.api_key.expires_at <= timezone.now() + timedelta(hours=1)


@pytest.mark.parametrize("overlap", ["-1", "soon"])
def test_rotate_needs_an_overlap_with_an_end(run, issued, overlap):
    with pytest.raises(CommandError):
        run("rotate", issued.api_key.key_id, f"--overlap={overlap}")
    assert ApiKey.objects.count() == 1


def test_rotate_refuses_a_key_that_has_ended(run, issued):
    services.revoke(issued.api_key)
    with pytest.raises(CommandError, match="in use"):
        run("rotate", issued.api_key.key_id)


def test_revoke_ends_several(run, issued, owner):
    second = services.create(owner, "second")
    done = run("revoke", issued.api_key.key_id, second.api_key.key_id)
    assert done.out.count("Revoked") == 2
    assert {code_of(each.text) for each in (issued, second)} == {"revoked"}


def test_revoke_says_when_redis_was_not_told(run, issued, perfguard):
    perfguard(REDIS_URL="redis://127.0.0.1:1/0")
    with pytest.raises(CommandError, match="300 seconds"):
        run("revoke", issued.api_key.key_id)
    assert ApiKey.objects.get().state == "revoked"


def test_list_shows_keys_in_use_or_all_and_no_hash(run, issued, owner, other):
    services.create(other, "theirs")
    ended = services.create(owner, "ended")
    services.revoke(ended.api_key)
    out = run("list").out
    assert issued.api_key.key_id in out
    assert "theirs" in out
    assert "ended" not in out
    assert "revoked" in run("list", "--all").out
    assert "theirs" not in run("list", "--owner", "ada@example.com").out
    assert "$" not in out


def test_the_help_shows_how(capsys):
    with pytest.raises(SystemExit):
        call_command("perfguard_keys", "--help")
    out = capsys.readouterr().out
    assert "KEY=$(manage.py perfguard_keys create" in out
    with pytest.raises(SystemExit):
        call_command("perfguard_keys", "create", "--help")
    assert "METHOD[,METHOD] target" in capsys.readouterr().out
