"""How long tokens live: what may be written, and what tokens then say."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import timedelta
from decimal import Decimal
from math import ceil
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from perfguard.exceptions import InvalidLifetime, InvalidSetting
from perfguard.lifetimes import LONGEST, UNITS, read_lifetime
from perfguard.tokens.models import TokenSession
from perfguard.tokens.tokens import AccessToken, RefreshToken, UntypedToken
from tests.tokens.doors import Mint, called, claims_of, present

ROOT = Path(__file__).resolve().parent.parent.parent
bounded = settings(max_examples=1000, deadline=None, database=None)


# -- the text --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("90s", 90),
        ("30m", 1800),
        ("1h", 3600),
        ("1d", 86_400),
        ("4w", 2_419_200),
        ("1d12h", 129_600),
        ("12h1d", 129_600),
        ("1w2d3h4m5s6ms", 788_646),
        ("1.5h", 5400),
        ("0.5m", 30),
        ("1.5d0.5h", 131_400),
        ("0d5m", 300),
        ("007m", 420),
        ("1000ms", 1),
        ("1001ms", 2),
        ("1ms", 1),
        ("0.001s", 1),
        ("0.000000001ms", 1),
        ("999.999ms", 1),
        ("1.0000001s", 2),
        ("315619200s", 315_619_200),
        ("3653d", 315_619_200),
        ("5m3ms", 301),
    ],
)
def test_what_may_be_written(text, seconds):
    assert read_lifetime(text) == timedelta(seconds=seconds)


def test_minus_one_is_without_end():
    assert read_lifetime("-1") is None


REFUSED = [
    "",
    " ",
    "0",
    "0s",
    "0m",
    "0ms",
    "0.0h",
    "0d0h",
    "1",
    "60",
    "-0",
    "-2",
    "-1 ",
    " -1",
    "--1",
    "-1.0",
    "-01",
    "-1s",
    "-5m",
    "+5m",
    "1h-30m",
    "1month",
    "2weeks",
    "1 day",
    "4 w",
    "4w ",
    " 4w",
    "4w\n",
    "4W",
    "1H",
    "1MS",
    "1M",
    "1y",
    "1y2d",
    "1us",
    "abc5mxyz",
    "4w;x",
    "4w junk 2d",
    "1d,12h",
    "1d 12h",
    "1d+12h",
    "1d1d",
    "1s2m3s",
    "1ms1ms",
    ".5h",
    "1.h",
    "1..5h",
    "1.2.3h",
    "1,5h",
    "1e3s",
    "1_000s",
    "0x10s",
    "infs",
    "nans",
    "inf",
    "\uff11h",
    "1\uff48",
    "١h",
    "1\u200bh",
    "²h",
    "½h",
    "h",
    "hm",
    "h1",
    "PT1H",
    "1:30:00",
    "None",
    "never",
    "522w",
    "3654d",
    "315619201s",
    "315619200s1ms",
    "999999999w",
    "9999999999s",
    "0.0000000001ms",
    "9" * 10_000 + "s",
    "1s" * 10_000,
    "1" * 100_000,
    "\x00",
    "4w\x00",
    "\ud800",
]


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: ascii(text)[:20])
def test_what_may_not_be_written(text):
    with pytest.raises(InvalidLifetime) as caught:
        read_lifetime(text)
    assert repr(text[:50]) in str(caught.value)
    assert len(str(caught.value)) < 600
    assert isinstance(caught.value, InvalidSetting)
    assert isinstance(caught.value, ValueError)


numbers = st.decimals(0, 10_000, places=3).map(lambda each: f"{each:f}")


@bounded
@given(parts=st.dictionaries(st.sampled_from(sorted(UNITS)), numbers, min_size=1))
def test_a_sum_is_a_sum_rounded_up(parts):
    total = sum(Decimal(number) * UNITS[unit] for unit, number in parts.items())
    seconds = ceil(total / 1000)
    assume(0 < seconds <= LONGEST.total_seconds())
    text = "".join(f"{number}{unit}" for unit, number in parts.items())
    assert read_lifetime(text) == timedelta(seconds=seconds)


@bounded
@given(st.text(alphabet="0123456789.-+ msMhdwWy\n\uff11", max_size=20) | st.text())
@example("-1")
def test_any_text_is_a_lifetime_or_is_refused(text):
    try:
        lifetime = read_lifetime(text)
    except InvalidLifetime:
        return
    assert (text == "-1") if lifetime is None else (lifetime.total_seconds() > 0)
    assert lifetime is None or (lifetime <= LONGEST and not lifetime.microseconds)


def test_a_long_text_is_refused_at_once():
    started = time.perf_counter()
    for text in ("1s1m" * 50_000, "1" * 200_000, "1m" * 100_000 + "x"):
        with pytest.raises(InvalidLifetime):
            read_lifetime(text)
    assert time.perf_counter() - started < 5


# -- what the project is started with --------------------------------------------------


def manage(**environment):
    return subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={
            **{
                name: os.environ[name]
                for name in ("PATH", "HOME")
                if name in os.environ
            },
            "SECRET_KEY": "of-the-tests-" * 5,
            "DATABASE_URL": "sqlite://:memory:",
            **environment,
        },
    )


@pytest.mark.parametrize(
    ("variable", "name"),
    [
        ("JWT_EXPIRES_IN", "TOKEN_ACCESS_LIFETIME"),
        ("JWT_REFRESH_EXPIRES_IN", "TOKEN_REFRESH_LIFETIME"),
        ("JWT_SESSION_EXPIRES_IN", "TOKEN_SESSION_LIFETIME"),
    ],
)
def test_the_project_does_not_pass_its_checks_with_a_wrong_lifetime(variable, name):
    done = manage(**{variable: "1month"})
    assert done.returncode == 1
    assert f"PERFGUARD['{name}']: '1month' is not a lifetime" in done.stderr
    assert "perfguard.E401" in done.stderr


def test_the_project_passes_its_checks_with_a_good_one():
    done = manage(JWT_EXPIRES_IN="1d12h")
    assert (done.returncode, "perfguard.E" in done.stderr) == (0, False), done.stderr


def test_without_end_must_be_wanted_twice():
    assert "perfguard.E402" in manage(JWT_EXPIRES_IN="-1").stderr
    wanted = manage(JWT_EXPIRES_IN="-1", JWT_ALLOW_NEVER_EXPIRES="true")
    assert wanted.returncode == 0, wanted.stderr


# -- what tokens say -------------------------------------------------------------------

database = pytest.mark.django_db(transaction=True)


def life(token):
    claims = claims_of(token)
    return claims["exp"] - claims["iat"]


@database
@pytest.mark.parametrize(
    ("text", "seconds"), [("30m", 1800), ("1ms", 1), ("1500ms", 2), ("1d12h", 129_600)]
)
def test_exp_is_iat_and_the_lifetime(user, perfguard, text, seconds):
    perfguard(TOKEN_ACCESS_LIFETIME=text, TOKEN_REFRESH_LIFETIME="2w")
    before = int(time.time())
    refresh = RefreshToken.for_user(user)
    # A token lives as long as it says at least: fractions of a second are rounded up.
    assert 0 <= life(refresh.access_token) - seconds <= 1
    assert 0 <= life(AccessToken.for_user(user)) - seconds <= 1
    assert 0 <= life(refresh) - 1_209_600 <= 1
    assert before <= claims_of(refresh)["iat"] <= time.time()


@database
def test_the_default_is_four_weeks(user, perfguard):
    perfguard()
    refresh = RefreshToken.for_user(user)
    four_weeks = 2_419_200
    lives = {life(refresh), life(refresh.access_token)}
    assert lives <= {four_weeks, four_weeks + 1}


@database
def test_a_token_of_a_millisecond_is_good_at_once(user, perfguard):
    perfguard(TOKEN_ACCESS_LIFETIME="1ms")
    assert called(str(RefreshToken.for_user(user).access_token)) == 200


@database
def test_ids_are_new_at_each_sign_in(user, api):
    pairs = [api.sign_in() for _ in range(3)]
    claims = [claims_of(pair[name]) for pair in pairs for name in ("token", "refresh")]
    assert len({each["jti"] for each in claims}) == 6
    assert len({each["sid"] for each in claims}) == 3
    assert all(isinstance(each["iat"], int) for each in claims)


@database
def test_the_answer_to_a_sign_in_says_when_the_token_ends(user, api):
    pair = api.sign_in()
    assert pair["expires_at"] == claims_of(pair["token"])["exp"]


@database
def test_no_token_outlives_its_session(user, perfguard):
    perfguard(TOKEN_SESSION_LIFETIME="1h")
    refresh = RefreshToken.for_user(user)
    end = int(TokenSession.objects.get().expires_at.timestamp())
    assert (claims_of(refresh)["exp"], claims_of(refresh.access_token)["exp"]) == (
        end,
        end,
    )


@database
def test_no_access_token_outlives_the_refresh_token_it_came_from(user, perfguard):
    perfguard(TOKEN_ACCESS_LIFETIME="4w", TOKEN_REFRESH_LIFETIME="1h")
    refresh = RefreshToken.for_user(user)
    assert claims_of(refresh.access_token)["exp"] == claims_of(refresh)["exp"]


@database
def test_refreshing_does_not_lead_beyond_the_session(user, perfguard):
    perfguard(TOKEN_SESSION_LIFETIME="1h", TOKEN_REUSE_GRACE=0.0)
    refresh = RefreshToken.for_user(user)
    end = claims_of(refresh)["exp"]
    for _ in range(3):
        refresh, access = RefreshToken(str(refresh)).rotated()
        assert claims_of(refresh)["exp"] == claims_of(access)["exp"] == end


SIMPLEJWT = {
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=7),
    "REFRESH_TOKEN_LIFETIME": timedelta(hours=3),
}


@database
def test_lifetimes_of_simplejwt_hold_where_perfguard_has_none(
    user, settings, perfguard
):
    perfguard()
    settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, **SIMPLEJWT}
    refresh = RefreshToken.for_user(user)
    assert life(refresh.access_token) in {420, 421}
    assert life(refresh) in {10_800, 10_801}


@database
def test_lifetimes_of_perfguard_come_first(user, settings, perfguard):
    settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, **SIMPLEJWT}
    perfguard(TOKEN_ACCESS_LIFETIME="5m", TOKEN_REFRESH_LIFETIME="2h")
    refresh = RefreshToken.for_user(user)
    assert life(refresh.access_token) in {300, 301}
    assert life(refresh) in {7200, 7201}


# -- without end -----------------------------------------------------------------------


@pytest.fixture
def endless(perfguard, settings, api):
    settings.ROOT_URLCONF = "tests.tokens.doors"
    perfguard(
        TOKEN_ACCESS_LIFETIME="-1",
        TOKEN_REFRESH_LIFETIME="-1",
        TOKEN_ALLOW_NEVER_EXPIRES=True,
    )


@database
def test_a_token_without_end_has_no_exp_and_its_session_no_end(user, endless):
    refresh = RefreshToken.for_user(user)
    assert "exp" not in claims_of(refresh)
    assert "exp" not in claims_of(refresh.access_token)
    assert TokenSession.objects.get().expires_at is None
    assert called(str(refresh.access_token)) == 200


@database
def test_a_token_without_end_can_be_revoked(user, endless, redis):
    mint = Mint(user)
    assert called(mint().access) == 200
    UntypedToken(mint().refresh).blacklist()
    assert called(mint().access) == 401
    (ended,) = redis.client().keys("*:ended:*")
    (revoked,) = redis.client().keys("*:revoked:*")
    assert [redis.client().pttl(key) for key in (ended, revoked)] == [-1, -1]


@database
def test_a_token_without_end_is_signed_out_at_every_door(user, endless):
    mint = Mint(user)
    present(mint())
    assert called(mint().access) == 401


@database
def test_without_the_permission_no_token_is_without_end(user, perfguard):
    perfguard(TOKEN_ACCESS_LIFETIME="-1", TOKEN_REFRESH_LIFETIME="-1")
    refresh = RefreshToken.for_user(user)
    assert called(str(refresh.access_token)) == 401


@database
def test_without_a_session_no_token_is_without_end(user, endless):
    assert called(str(AccessToken.for_user(user))) == 401


@database
def test_tokens_without_end_are_refused_when_the_permission_is_withdrawn(
    user, endless, perfguard
):
    token = str(RefreshToken.for_user(user).access_token)
    assert called(token) == 200
    perfguard(TOKEN_ALLOW_NEVER_EXPIRES=False)
    assert called(token) == 401


@database
def test_one_kind_may_be_without_end(user, perfguard, endless):
    perfguard(TOKEN_ACCESS_LIFETIME="30m")
    refresh = RefreshToken.for_user(user)
    assert "exp" not in claims_of(refresh)
    assert life(refresh.access_token) in {1800, 1801}
    successor, access = RefreshToken(str(refresh)).rotated()
    assert "exp" not in claims_of(successor)
    assert life(access) in {1800, 1801}
