from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command

from perfguard.throttling.gate import gate
from perfguard.throttling.identity import account_identity


@pytest.fixture
def on_redis(perfguard, redis_server):
    perfguard(
        REDIS_URL=redis_server.url,
        THROTTLE_RATES={"api": ["2/minute", "9/hour"]},
    )


def test_show_lists_the_windows(on_redis, capsys):
    gate.hit("user:1", "api")
    call_command("perfguard_throttle", "show", "user:1", "--scope", "api")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["api", "2/minute", "room"],
        ["api", "9/hour", "room"],
    ]
    assert "1 left" in lines[0]


def test_show_without_a_scope_lists_all(on_redis, capsys):
    call_command("perfguard_throttle", "show", "user:1")
    out = capsys.readouterr().out
    assert "sign_in " in out
    assert "api " in out


def test_reset_lets_an_account_sign_in_again(on_redis, capsys):
    identity = account_identity("a@example.com")
    while gate.hit(identity, "sign_in").allowed:
        pass
    call_command("perfguard_throttle", "reset", "A@Example.com", "--account")
    assert gate.hit(identity, "sign_in").allowed


@pytest.mark.parametrize("action", ["show", "reset"])
def test_an_unknown_scope_is_named(on_redis, action):
    with pytest.raises(CommandError, match="nowhere"):
        call_command("perfguard_throttle", action, "user:1", "--scope", "nowhere")


@pytest.mark.parametrize("action", ["show", "reset"])
def test_redis_away_is_said(perfguard, action):
    perfguard(REDIS_URL="redis://127.0.0.1:1/0")
    gate.hit("user:1", "sign_in")
    with pytest.raises(CommandError, match="Redis is away"):
        call_command("perfguard_throttle", action, "user:1")


@pytest.mark.parametrize("action", ["show", "reset"])
def test_memory_alone_is_out_of_reach(perfguard, action):
    perfguard()
    with pytest.raises(CommandError, match="not configured"):
        call_command("perfguard_throttle", action, "user:1")


def test_what_is_no_identity_is_explained(on_redis):
    with pytest.raises(CommandError, match="--account"):
        call_command("perfguard_throttle", "show", "a@example.com")
