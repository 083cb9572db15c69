from __future__ import annotations

import pytest

from perfguard.exceptions import InvalidRate
from perfguard.throttling.rates import Rate


@pytest.mark.parametrize(
    ("text", "limit", "period"),
    [
        ("15/3 minutes", 15, 180),
        ("100/minute", 100, 60),
        ("1000/hour", 1000, 3600),
        ("1000/h", 1000, 3600),
        ("10/s", 10, 1),
        ("5/sec", 5, 1),
        ("15/3m", 15, 180),
        ("15/180s", 15, 180),
        ("7/min", 7, 60),
        ("7/mins", 7, 60),
        ("7/2 hrs", 7, 7200),
        ("2/day", 2, 86400),
        ("2/d", 2, 86400),
        ("9/2 weeks", 9, 1209600),
        (" 9 / 2 W ", 9, 1209600),
    ],
)
def test_rates_are_read(text, limit, period):
    assert Rate.parse(text) == Rate(limit, period)


@pytest.mark.parametrize(
    "text",
    [
        *("", "10", "10/", "/minute", "10/fortnight", "10/month", "-1/m", "1e9/s"),
        *("10/0s", "0/m", "1.5/m", "10/-1s", "10/m/m", "10/ss", "١٠/m", "10/ｍ"),
        *(
            "10/400 days",
            "9999999999/m",
            "10\x00/m",
            "10/m\n10/m",
            "9" * 100_000 + "/m",
        ),
        *(None, 10, b"1/m"),
    ],
)
def test_other_text_is_refused_with_what_is_allowed(text):
    with pytest.raises(InvalidRate, match="'15/3 minutes'") as caught:
        Rate.parse(text)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "text", ["15/3 minutes", "100/minute", "1000/hour", "1/45 seconds"]
)
def test_a_rate_prints_as_it_is_written(text):
    assert str(Rate.parse(text)) == text


def test_limits_above_the_threshold_use_buckets(perfguard):
    perfguard(THROTTLE_EXACT_LIMIT=10)
    assert Rate.parse("10/hour").step_ms == 1
    assert Rate.parse("11/hour").step_ms == 36_000
    assert Rate.parse("11/second").step_ms == 10
