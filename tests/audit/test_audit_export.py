"""Entries leave as CSV or JSON lines, a part at a time, and harmless as a sheet."""

from __future__ import annotations

import csv
import json
import tracemalloc
from io import StringIO

import pytest
from django.db import connections

from perfguard.audit import exports
from perfguard.audit.entries import FIELDS, Entry
from perfguard.audit.exports import COLUMNS, export_lines, write_file
from perfguard.audit.lines import known_keys, mac_of, to_line
from perfguard.audit.models import AuditEntry
from tests.audit.audit_rows import add_rows


def rows(using="default"):
    return AuditEntry.objects.using(using).order_by("id")


def read_csv(lines):
    return list(csv.DictReader(StringIO("".join(lines), newline="")))


def test_csv_has_a_header_and_a_row_for_each_entry(log_database):
    ids = add_rows(2, using=log_database)
    lines = list(export_lines(rows(log_database), "csv"))
    assert lines[0] == ",".join(COLUMNS) + "\r\n"
    one, two = read_csv(lines)
    assert [one["id"], two["id"]] == [str(each) for each in ids]
    assert one["at"] == "2026-11-01 00:00:00"
    assert (one["status"], one["bytes_in"]) == ("201", "")
    assert (one["request_truncated"], one["request_body"]) == (
        "false",
        '{"name":"Müller ✓"}',
    )


def test_json_lines_hold_what_was_signed(log_database):
    add_rows(2, using=log_database, url="=1+1", error="a\nb")
    lines = list(export_lines(rows(log_database), "jsonl"))
    assert [line.count("\n") for line in lines] == [1, 1]
    for line in lines:
        values = json.loads(line)
        signed = to_line(Entry(*(values[name] for name in FIELDS)))
        assert mac_of(signed, known_keys()[values["key_id"]]) == values["mac"]
        assert (values["url"], values["status"]) == ("=1+1", 201)


def test_an_empty_export_has_its_header(db):
    assert len(list(export_lines(rows(), "csv"))) == 1
    assert list(export_lines(rows(), "jsonl")) == []


FORMULAS = {
    "equals": "=1+1",
    "plus": "+1+1",
    "minus": "-1+1",
    "at": "@SUM(A1)",
    "tab": "\t=1+1",
    "return": "\r=1+1",
    "newline": "\n=1+1",
    "blank": "  =1+1",
    "no_break_space": "\xa0=1+1",
    "quote": '"=1+1',
    "apostrophe": "'=1+1",
    "blank_and_quote": ' " =1+1',
    "byte_order_mark": "\ufeff=1+1",
    "no_width": "\u200b=1+1",
    "full_width_equals": "\uff1d1+1",
    "full_width_plus": "\uff0b1",
    "full_width_minus": "\uff0d1",
    "full_width_at": "\uff20SUM(A1)",
    "call": "=cmd|' /C calc'!A0",
}


@pytest.mark.parametrize("text", FORMULAS.values(), ids=FORMULAS.keys())
@pytest.mark.parametrize("column", ["user_agent", "actor_label", "request_body"])
def test_no_cell_begins_a_formula(db, column, text):
    add_rows(1, **{column: text})
    (row,) = read_csv(export_lines(rows(), "csv"))
    assert row[column] == f"'{text}"


@pytest.mark.parametrize(
    "text", ["", "a=1", "/path?a=-1", "1-2", "'quoted'", " blank", "{}", "ünï=1"]
)
def test_other_cells_are_as_they_were(db, text):
    add_rows(1, user_agent=text)
    (row,) = read_csv(export_lines(rows(), "csv"))
    assert row["user_agent"] == text


def test_newlines_quotes_and_commas_stay_in_their_cell(db):
    text = 'a,"b"\r\nc\n=d'
    add_rows(1, request_body=text)
    (row,) = read_csv(export_lines(rows(), "csv"))
    assert row["request_body"] == text


# -- volume -----------------------------------------------------------


@pytest.mark.parametrize("form", exports.FORMS)
def test_rows_are_fetched_by_a_cursor_of_the_server(postgres_log, form):
    add_rows(5000, using=postgres_log)
    statements = []

    def watch(execute, sql, params, many, context):
        statements.append(context["cursor"].name)
        return execute(sql, params, many, context)

    with connections[postgres_log].execute_wrapper(watch):
        lines = export_lines(rows(postgres_log), form)
        first = next(lines)
    assert first
    assert sum(1 for _ in lines) + 1 == 5000 + (form == "csv")
    assert len(statements) <= 1
    assert all(name.startswith("_django_curs_") for name in statements)


def peak_of(count, form):
    """Bytes at most, while so many entries of 4 KB leave."""
    AuditEntry.objects.all().delete()
    add_rows(count, request_body="x" * 4000)
    tracemalloc.start()
    try:
        assert sum(map(len, export_lines(rows(), form))) > count * 4000
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("form", exports.FORMS)
def test_memory_does_not_grow_with_the_export(db, monkeypatch, form):
    monkeypatch.setattr(exports, "CHUNK", 50)
    peak_of(50, form)  # what is imported and cached by the first
    assert peak_of(2400, form) < 2 * peak_of(300, form)


# -- files ------------------------------------------------------------


def test_a_file_is_for_its_owner_alone(tmp_path):
    path = tmp_path / "log.csv"
    write_file(path, ["a\r\n", "ü\r\n"])
    assert path.read_bytes() == "a\r\nü\r\n".encode()
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_whole_or_what_it_was(tmp_path):
    def broken():
        yield "half"
        raise OSError("gone")

    path = tmp_path / "log.csv"
    path.write_text("before")
    with pytest.raises(OSError, match="gone"):
        write_file(path, broken())
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    write_file(path, ["after"])
    assert path.read_text() == "after"
