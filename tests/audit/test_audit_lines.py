"""Lines are the same whoever writes them, and are what their rows say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfguard.audit import entries, lines
from perfguard.audit.database_sink import store
from perfguard.audit.entries import Entry, new_id, now, stamp
from perfguard.audit.lines import from_line, row_line, to_line
from perfguard.audit.models import AuditEntry

TEXTS = st.text(st.characters(codec=None), max_size=30)


@given(
    texts=st.lists(TEXTS, min_size=5, max_size=5),
    number=st.none() | st.integers(0, 2**63 - 1),
    flag=st.booleans(),
)
def test_both_libraries_write_the_same_bytes(
    texts: list[str], number: int | None, flag: bool
) -> None:
    url, label, agent, body, details = texts
    entry = Entry(
        entry_id=new_id(),
        at=now(),
        kind="request",
        url=url,
        actor_label=label,
        user_agent=agent,
        request_body=body,
        details=details,
        duration_us=number,
        request_truncated=flag,
    )
    fast = to_line(entry)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "orjson", None)
        assert to_line(entry) == fast
    assert b"\n" not in fast
    assert to_line(from_line(fast)) == fast


@pytest.mark.parametrize("microsecond", [0, 1, 120_000, 999_999])
def test_a_row_gives_the_line_that_it_was_made_of(
    microsecond: int, log_database: str
) -> None:
    at = datetime(2026, 10, 25, 0, 30, 0, microsecond, UTC)
    entry = Entry(
        entry_id=new_id(),
        at=stamp(at),
        kind="request",
        url="/ü\x00\x01\x7f\u2028\ud800'\"\\",
        status=200,
        duration_us=2**40,
        response_truncated=True,
    )
    store([to_line(entry)])
    row = AuditEntry.objects.using(log_database).get()
    assert row_line(row) == to_line(entry)
    assert row.at == at


def test_the_time_is_that_of_the_clock_in_utc() -> None:
    before = datetime.now(UTC) - timedelta(microseconds=1)
    read = datetime.fromisoformat(now()).replace(tzinfo=UTC)
    assert before <= read <= datetime.now(UTC)
    elsewhere = timezone(timedelta(hours=5, minutes=30))
    assert stamp(datetime(2026, 1, 1, 5, 30, tzinfo=elsewhere)) == "2026-01-01 00:00:00"


def test_ids_are_of_version_7_and_grow_with_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []
    for milliseconds in (1_800_000_000_000, 1_800_000_000_001):
        monkeypatch.setattr(
            entries.time, "time_ns", lambda ms=milliseconds: ms * 1_000_000
        )
        made.append(new_id())
    first, second = made
    assert first < second
    assert (len(first), first[12]) == (32, "7")
    assert first[16] in "89ab"
