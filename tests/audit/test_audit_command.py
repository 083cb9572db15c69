"""``manage.py perfguard_audit``, as an administrator and cron call it."""

from __future__ import annotations

import json
import os
import pwd
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.core.management.base import SystemCheckError
from django.db import connection

from perfguard.audit import log
from perfguard.audit.models import AuditEntry, AuditSeal
from perfguard.audit.seals.sealing import seal
from perfguard.audit.spool import ENTRY, to_record
from perfguard.management.commands.perfguard_audit import Command
from tests.audit.audit_rows import START, add_rows, line_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _few(perfguard):
    perfguard(AUDIT_SEAL_ENTRIES=4)


def run(*args, **options):
    out = StringIO()
    call_command("perfguard_audit", *args, stdout=out, **options)
    return out.getvalue()


def refused(*args):
    out = StringIO()
    with pytest.raises(CommandError) as caught:
        call_command("perfguard_audit", *args, stdout=out)
    return caught.value.returncode, str(caught.value), out.getvalue()


def recorded(kind):
    assert log.flush()
    return [
        (each.actor_label, json.loads(each.details))
        for each in AuditEntry.objects.filter(kind=kind).order_by("id")
    ]


OS_USER = pwd.getpwuid(os.getuid()).pw_name


# -- seal -------------------------------------------------------------


def test_seal_closes_what_is_written():
    add_rows(10)
    assert run("seal", "--limit", "1") == "Sealed 4 entries.\n"
    assert run("seal") == "Sealed 6 entries.\n"
    assert run("seal") == "Sealed 0 entries.\n"


# -- verify -----------------------------------------------------------


def test_verify_says_how_much_was_looked_at():
    add_rows(8)
    seal()
    add_rows(2)
    assert run("verify") == (
        "Verified 2 seals, 0 of them pruned, with 8 entries, and 2 entries that are "
        "not sealed yet.\n"
    )


def test_verify_ends_with_1_if_something_was_found():
    ids = add_rows(8)
    seal()
    AuditEntry.objects.filter(id=ids[5]).delete()
    code, error, out = refused("verify")
    assert (code, error) == (1, "Findings: 1.")
    assert out.startswith(f"removed_entry: Entry {ids[5]} is gone.\nVerified 2 seals")


def test_verify_tells_programs_a_finding_a_line():
    ids = add_rows(8)
    seal()
    AuditEntry.objects.filter(id=ids[5]).update(status=500)
    code, _, out = refused("verify", "--json")
    finding, summary = map(json.loads, out.splitlines())
    assert code == 1
    assert finding["kind"] == "changed_entry"
    assert (finding["seal"], finding["entry"]) == (2, ids[5])
    assert summary == {
        "findings": 1,
        "seals": 2,
        "pruned": 0,
        "entries": 8,
        "unsealed": 0,
    }


@pytest.mark.parametrize(
    ("args", "seals"),
    [
        (["--from", "2"], 2),
        (["--to", "1"], 1),
        (["--from", "2026-11-01T00:05:00Z", "--to", "2026-11-01 00:06+00:00"], 1),
    ],
    ids=["from", "to", "times"],
)
def test_verify_takes_numbers_of_seals_and_dates(args, seals):
    add_rows(12)
    seal()
    assert run("verify", *args).startswith(f"Verified {seals} seal")


@pytest.mark.parametrize(
    "args",
    [["--from", "9"], ["--from", "2026-11-02"], ["--to", "2026-10-31"]],
    ids=["number", "day", "before"],
)
def test_verify_ends_with_2_if_there_was_nothing_to_verify(args):
    add_rows(12)
    seal()
    code, error, out = refused("verify", *args)
    assert (code, error) == (2, "There is no such seal: nothing was verified.")
    assert out.startswith("Verified 0 seals, 0 of them pruned, with 0 entries")


def test_verify_from_a_day_of_unsealed_entries_is_fine():
    add_rows(4)
    seal()
    add_rows(1)
    assert run("verify", "--from", "2026-11-02").endswith(
        "with 0 entries, and 1 entry that is not sealed yet.\n"
    )
    assert refused("verify", "--from", "9")[0] == 2


def test_verify_compares_with_the_anchor_that_is_set(perfguard, tmp_path):
    path = tmp_path / "anchor.jsonl"
    perfguard(AUDIT_ANCHOR_PATH=str(path), AUDIT_SEAL_ENTRIES=4)
    add_rows(8)
    seal()
    AuditSeal.objects.filter(number=2).delete()
    AuditEntry.objects.filter(at__gte=START + timedelta(minutes=4)).delete()
    code, _, out = refused("verify")
    assert code == 1
    assert out.startswith(
        "truncated: The log ends with seal 1; the anchor knows seal 2"
    )
    kept = tmp_path / "kept.jsonl"
    kept.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    assert run("verify", "--anchor", str(kept)).startswith("Verified 1 seal, ")


def test_verify_ends_with_2_if_it_could_not(tmp_path):
    code, error, _ = refused("verify", "--anchor", str(tmp_path / "none"))
    assert code == 2
    assert "none" in error
    (tmp_path / "empty").touch()
    assert refused("verify", "--anchor", str(tmp_path / "empty"))[0] == 2


def test_verify_ends_with_2_without_its_table():
    with connection.schema_editor() as editor:
        editor.delete_model(AuditSeal)
    try:
        assert refused("verify")[0] == 2
    finally:
        with connection.schema_editor() as editor:
            editor.create_model(AuditSeal)


@pytest.mark.parametrize(
    ("column", "code"), [("at", 1), ("status", 1), ("entry_id", 2)]
)
def test_verify_never_says_that_what_it_cannot_read_is_fine(column, code):
    add_rows(1)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE perfguard_auditentry SET {column} = 'junk'")
    assert refused("verify")[0] == code


def test_settings_that_are_wrong_are_no_finding(monkeypatch):
    def fail(*args, **options):
        raise SystemCheckError

    monkeypatch.setattr("django.core.management.base.BaseCommand.check", fail)
    with pytest.raises(SystemCheckError) as caught:
        Command().check()
    assert caught.value.returncode == 2


@pytest.mark.parametrize(
    "args",
    [
        ("verify", "--from", "yesterday"),
        ("verify", "--to", "0"),
        ("verify", "--from", "2026-13-01"),
        ("seal", "--limit", "-1"),
        ("prune", "--days", "1.5"),
        ("prune", "--seconds", "nan"),
        ("export", "--limit", "9" * 20),
        ("verify", "--from", "9" * 20),
        ("export", "--status", "6xx"),
        ("export", "--status", "4040"),
        ("export", "--since", "23/11/2026"),
        ("export", "--format", "xml"),
    ],
    ids=lambda args: "_".join(args),
)
def test_arguments_that_make_no_sense_are_refused(args):
    _, error, out = refused(*args)
    assert args[-1].lstrip("-") in error
    assert out == ""


# -- prune ------------------------------------------------------------


def test_prune_is_on_record():
    add_rows(12)
    seal()
    dry = run("prune", "--entries", "8", "--dry-run")
    assert dry == "Would prune 1 seal with 4 entries.\n"
    assert recorded("entries_pruned") == []
    assert run("prune", "--entries", "8", "--pause-ms", "0") == (
        "Pruned 1 seal with 4 entries.\n"
    )
    assert recorded("entries_pruned") == [(OS_USER, {"seals": 1, "entries": 4})]
    assert run("prune", "--entries", "10") == "Pruned 0 seals with 0 entries.\n"
    assert len(recorded("entries_pruned")) == 1


def test_prune_without_a_bound_asks_for_one(perfguard):
    code, error, _ = refused("prune")
    assert code == 2
    assert "AUDIT_RETENTION_DAYS" in error
    perfguard(AUDIT_RETENTION_DAYS=10_000)
    assert run("prune") == "Pruned 0 seals with 0 entries.\n"


def test_no_bound_is_too_long(perfguard):
    perfguard(AUDIT_RETENTION_DAYS=10**9)
    assert run("prune") == "Pruned 0 seals with 0 entries.\n"
    assert run("export", "--since", "0001-01-01").startswith("id,")


def test_prune_names_what_it_kept_as_evidence():
    ids = add_rows(9)
    seal()
    AuditEntry.objects.filter(id=ids[1]).update(status=500)
    code, error, out = refused("prune", "--entries", "1", "--pause-ms", "0")
    assert (code, out) == (1, "Pruned 1 seal with 4 entries.\n")
    assert "kept: 1." in error
    out = run("prune", "--entries", "1", "--tampered")
    assert out == "Pruned 2 seals with 5 entries.\n"  # after which there is an event


# -- export -----------------------------------------------------------


def exported(*args):
    lines = run("export", "--format", "jsonl", *args).splitlines()
    return [json.loads(line)["id"] for line in lines]


def test_an_export_is_on_record():
    add_rows(3)
    out = run("export", "--limit", "2", "--status", "2xx")
    assert len(out.splitlines()) == 3
    assert recorded("entries_exported") == [
        (
            OS_USER,
            {"entries": 2, "form": "csv", "asked": "status=200-299 limit=2"},
        )
    ]


def test_an_export_that_is_broken_off_is_on_record():
    class Full(StringIO):
        def write(self, text):
            if self.tell() > 300:
                raise BrokenPipeError("nobody reads")
            return super().write(text)

    add_rows(9)
    with pytest.raises(CommandError, match="nobody reads") as caught:
        call_command("perfguard_audit", "export", form="jsonl", stdout=Full())
    assert caught.value.returncode == 2
    ((_, details),) = recorded("entries_exported")
    assert 0 < details["entries"] < 9
    assert details["failed"] == "BrokenPipeError"


def test_an_export_into_a_file_is_private(tmp_path):
    ids = add_rows(3)
    path = tmp_path / "log.csv"
    out = run("export", "--output", str(path))
    assert out == f"Exported 3 entries to {path}.\n"
    assert path.stat().st_mode & 0o777 == 0o600
    lines = path.read_text().splitlines()
    assert [line.partition(",")[0] for line in lines[1:]] == [str(each) for each in ids]


def test_an_export_into_nowhere_ends_with_2_before_anything_is_read(tmp_path):
    add_rows(1)
    for path in (tmp_path / "no" / "log.csv", tmp_path, "/dev/null"):
        code, error, _ = refused("export", "--output", str(path))
        assert code == 2
        assert error.endswith(f"{str(path)!r}")
    assert recorded("entries_exported") == []


def full_disk(*args, **options):
    raise OSError(28, "No space left on device", "log.csv.temporary")


def test_an_export_that_fails_before_its_first_line_counts_nothing(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("perfguard.audit.exports.mkstemp", full_disk)
    assert refused("export", "--output", str(tmp_path / "log.csv"))[0] == 2
    ((_, details),) = recorded("entries_exported")
    assert (details["entries"], details["failed"]) == (0, "OSError")


def test_no_message_shows_a_temporary_name(tmp_path, monkeypatch):
    monkeypatch.setattr("perfguard.audit.exports.os.replace", full_disk)
    path = tmp_path / "log.csv"
    code, error, _ = refused("export", "--output", str(path))
    assert code == 2
    assert error.endswith(f"No space left on device: {str(path)!r}")


def test_an_export_of_nothing_says_so(capsys):
    add_rows(1)
    run("export", "--kind", "nonsense")
    run("export", "--kind", "request")
    assert capsys.readouterr().err.split("\n")[:2] == [
        "Exported 0 entries.",
        "Exported 1 entry.",
    ]


def test_an_export_by_name_has_what_tells_the_id_alone(django_user_model):
    user = django_user_model.objects.create_user("carol@example.com")
    ids = add_rows(1, actor_id=str(user.pk), actor_label="")
    ids += add_rows(1, actor_id="", actor_label="carol@example.com")
    add_rows(1)
    assert sorted(exported("--user", "carol@example.com")) == ids


@pytest.mark.parametrize(
    ("args", "places"),
    [
        ((), [0, 1, 2, 3, 4, 5]),
        (("--since", "2026-11-01T00:01:00Z"), [1, 2, 4, 5]),
        (("--until", "2026-11-01T00:01:00Z"), [0, 3]),
        (("--user", "8"), [3, 4, 5]),
        (("--user", "ann@example.com"), [0, 1, 2]),
        (("--kind", "sign_in"), [3, 4, 5]),
        (("--status", "201"), [0, 1, 2]),
        (("--status", "4xx"), [3, 4, 5]),
        (("--status", "4xx", "--limit", "1"), [3]),
    ],
    ids=["all", "since", "until", "id", "name", "kind", "one", "class", "limit"],
)
def test_an_export_is_of_what_is_asked_for(args, places):
    ids = add_rows(3)
    bob = {"actor_id": "8", "actor_label": "bob@example.com"}
    ids += add_rows(3, kind="sign_in", status=404, **bob)
    assert sorted(exported(*args)) == [ids[each] for each in places]


# -- the rest ---------------------------------------------------------


def test_replay_stores_what_dead_processes_left(perfguard, tmp_path):
    left = tmp_path / "host-1-1.spool"
    records = b"".join(to_record(ENTRY, line_of(each)) for each in range(2))
    left.write_bytes(records)
    assert run("replay", str(tmp_path)).startswith("Stored 2 entries of 1 file, ")
    left.write_bytes(records)
    perfguard(AUDIT_SPOOL_DIR=str(tmp_path))
    assert run("replay").startswith("Stored 2 entries of 1 file, ")
    assert AuditEntry.objects.count() == 2
    assert not left.exists()


def test_replay_needs_a_directory(tmp_path):
    for args in (("replay",), ("replay", str(tmp_path / "none"))):
        code, error, _ = refused(*args)
        assert code == 2
        assert "no directory" in error


def test_status_of_an_empty_log():
    assert "last seal: -\n" in run("status")


def test_status_tells_how_the_log_stands(perfguard, tmp_path):
    add_rows(8)
    seal()
    run("prune", "--entries", "4")  # whose entry is the first of the unsealed
    details = {"sink": "database", "reason": "queue", "count": 3}
    dropped = {"kind": "entries_dropped", "details": json.dumps(details)}
    add_rows(2, **dropped, at=str(START.replace(year=2126, tzinfo=None)))
    log.close()  # a writer would look into the directory
    perfguard(AUDIT_SPOOL_DIR=str(tmp_path), AUDIT_LEVEL="BASIC")
    (tmp_path / "1-2.spool").write_bytes(b"12345")
    told = json.loads(run("status", "--json"))
    assert told["oldest"] == str(START + timedelta(minutes=4))
    assert told["unsealed_at_most"] == 3
    assert (told["last_seal"], told["pruned_seals"]) == (2, 1)
    assert (told["dropped"], told["dropped_days"]) == ({"database: queue": 6}, 7)
    assert told["spools"] == {"1-2.spool": 5}
    assert (told["level"], told["durability"]) == ("BASIC", "async")
    assert (told["sinks"], told["retention_days"]) == (["database"], 0)
    text = run("status")
    assert "spool files, in bytes:\n  1-2.spool: 5\n" in text
    assert "dropped entries, 7 days:\n  database: queue: 6\n" in text
    assert "sinks: database\n" in text
    assert "{" not in text
