"""Whatever was done to the log behind its back is found, and named."""

from __future__ import annotations

import json
import tracemalloc
from datetime import timedelta

import pytest
from django.utils import timezone

from perfguard.audit.lines import signing_key
from perfguard.audit.models import AuditEntry, AuditSeal
from perfguard.audit.seals import findings, segments
from perfguard.audit.seals.digests import content_of, digest_of, marks_of
from perfguard.audit.seals.findings import Finding, Kind
from perfguard.audit.seals.retention import prune
from perfguard.audit.seals.sealing import seal
from perfguard.audit.seals.verifying import Verification
from perfguard.conf import conf
from tests.audit.audit_rows import START, add_rows

# Seals 1 to 3, each of four entries, and two that are unsealed.
SEALED, UNSEALED = 12, 2


@pytest.fixture
def sealed(log_database, perfguard):
    """The ids of the entries, by place."""
    perfguard(AUDIT_SEAL_ENTRIES=4, AUDIT_DATABASE=log_database)
    first = add_rows(SEALED, using=log_database)
    seal()
    return first + add_rows(UNSEALED, using=log_database)


def rows(*ids):
    found = AuditEntry.objects.using(conf.AUDIT_DATABASE).order_by("id")
    return found.filter(id__in=ids) if ids else found


def seals(*numbers):
    found = AuditSeal.objects.using(conf.AUDIT_DATABASE).order_by("number")
    return found.filter(number__in=numbers) if numbers else found


def found_by(**options) -> list[tuple[str, int | None, int | None]]:
    return [
        (each.kind.value, each.seal, each.entry)
        for each in Verification(**options).findings()
    ]


def copied(row, **changes):
    """A row with the same content, and another ``entry_id`` for the constraint."""
    values = {
        each.attname: getattr(row, each.attname)
        for each in AuditEntry._meta.concrete_fields
    }
    return AuditEntry(**{**values, **changes})


def exchange(one, other, fields):
    """Two rows swap these; the constraint is left in peace by a step between."""
    first, second = (dict(rows(each).values(*fields)[0]) for each in (one, other))
    rows(one).update(entry_id="0" * 32)
    rows(other).update(**first)
    rows(one).update(**second)


CONTENT = [
    each.attname for each in AuditEntry._meta.concrete_fields if each.attname != "id"
]


def test_a_log_that_nobody_touched_is_fine(sealed):
    verification = Verification()
    assert list(verification.findings()) == []
    assert (verification.seals, verification.pruned) == (3, 0)
    assert (verification.entries, verification.unsealed) == (SEALED, UNSEALED)


def test_an_empty_log_is_fine(log_database):
    assert found_by() == []


@pytest.mark.parametrize("field", CONTENT)
@pytest.mark.parametrize("place", [5, SEALED], ids=["sealed", "unsealed"])
def test_a_changed_field_is_found(db, perfguard, field, place):
    perfguard(AUDIT_SEAL_ENTRIES=4)
    ids = add_rows(SEALED)
    seal()
    ids += add_rows(UNSEALED)
    (row,) = rows(ids[place])
    value = getattr(row, field)
    changed = {
        "entry_id": "0" * 32,
        "at": START - timedelta(microseconds=1),
        "duration_us": 99,
        "request_truncated": True,
        "response_truncated": True,
    }.get(field, 204 if field in NUMBERS else f"{value}x"[-16:])
    rows(row.pk).update(**{field: changed})
    kind = "unknown_key" if field == "key_id" else "changed_entry"
    assert found_by() == [(kind, 2 if place == 5 else None, row.pk)]


NUMBERS = ("status", "bytes_in", "bytes_out")


# What is done; what is found, with the number of the seal and the place of the entry.
def removes(ids):
    rows(ids[5]).delete()


def removes_the_first(ids):
    rows(ids[0]).delete()


def removes_the_last_of_a_seal(ids):
    rows(ids[7]).delete()


def removes_a_whole_segment(ids):
    rows(*ids[4:8]).delete()


def moves_to_the_end(ids):
    rows(ids[5]).update(id=ids[-1] + 10)


def moves_below_all(ids):
    rows(ids[5]).update(id=0)


def inserts_a_copy(ids):
    rows(ids[6]).delete()
    seals(2).update(ids=f"{ids[4]}-{ids[7]}")
    copied(rows(ids[0])[0], pk=ids[6], entry_id="0" * 32).save(
        using=conf.AUDIT_DATABASE, force_insert=True
    )


def exchanges(ids):
    exchange(ids[1], ids[6], CONTENT)


def exchanges_what_was_said_but_not_the_macs(ids):
    exchange(
        ids[5], ids[6], [each for each in CONTENT if each not in ("mac", "key_id")]
    )


def changes_entry_and_mac(ids):
    rows(ids[5]).update(status=500, mac="0" * 64)


def spoils_the_mac(ids):
    rows(ids[5]).update(mac="✗")


def changes_a_digest(ids):
    seals(2).update(digest="0" * 64)


def changes_a_listing(ids):
    seals(2).update(ids=f"{ids[4]}-{ids[6]}", count=3)
    rows(ids[7]).delete()


def changes_a_listing_with_its_hash(ids):
    rows(ids[7]).delete()
    (forged,) = seals(2)
    forged.ids = f"{ids[4]}-{ids[6]}"
    forged.marks = marks_of(each.mac for each in rows(*ids[4:7]))
    seals(2).update(
        ids=forged.ids, marks=forged.marks, count=3, content=content_of(forged)
    )


def widens_a_seal_over_the_next(ids):
    seals(2).update(last_id=ids[SEALED - 1])


def changes_only_the_ids(ids):
    seals(2).update(ids="not a listing")


def changes_the_marks(ids):
    seals(2).update(marks=b"short")


def changes_the_time_of_a_seal(ids):
    seals(2).update(last_at=START)


def changes_the_key_of_a_seal(ids):
    seals(2).update(key_id="0" * 16)


def removes_a_seal(ids):
    seals(2).delete()


def removes_a_seal_and_changes_what_it_closed(ids):
    seals(2).delete()
    rows(ids[5]).update(status=500)


def removes_the_first_seal(ids):
    seals(1).delete()
    rows(*ids[:4]).delete()


def exchanges_two_seals(ids):
    seals(2).update(number=99)
    seals(3).update(number=2)
    seals(99).update(number=3)


def pretends_a_seal_was_pruned(ids):
    rows(*ids[4:8]).delete()
    seals(2).update(pruned_at=timezone.now(), ids="", marks=b"", tombstone="0:0")


def takes_the_tombstone_of_another(ids):
    prune(entries=10)
    rows(*ids[4:8]).delete()
    one = seals(1)[0]
    seals(2).update(pruned_at=one.pruned_at, ids="", marks=b"", tombstone=one.tombstone)


def puts_an_entry_into_a_pruned_segment(ids):
    kept = rows(ids[1])[0]
    prune(entries=10)
    kept.save(using=conf.AUDIT_DATABASE, force_insert=True)


def changes_a_pruned_seal(ids):
    prune(entries=10)
    seals(1).update(count=3)


def changes_when_a_seal_was_pruned(ids):
    prune(entries=10)
    seals(1).update(pruned_at=START)


def takes_back_that_a_seal_was_pruned(ids):
    prune(entries=10)
    seals(1).update(pruned_at=None)


CASES = [
    (removes, [("removed_entry", 2, 5)]),
    (removes_the_first, [("removed_entry", 1, 0)]),
    (removes_the_last_of_a_seal, [("removed_entry", 2, 7)]),
    (removes_a_whole_segment, [("removed_entry", 2, each) for each in (4, 5, 6, 7)]),
    (moves_to_the_end, [("removed_entry", 2, 5)]),
    (moves_below_all, [("inserted_entry", 1, 0), ("removed_entry", 2, 5)]),
    (inserts_a_copy, [("changed_entry", 2, 6)]),
    (exchanges, [("exchanged_entry", 1, 1), ("exchanged_entry", 2, 6)]),
    (
        exchanges_what_was_said_but_not_the_macs,
        [("changed_entry", 2, 5), ("changed_entry", 2, 6)],
    ),
    (changes_entry_and_mac, [("changed_entry", 2, 5)]),
    (spoils_the_mac, [("changed_entry", 2, 5)]),
    (changes_a_digest, [("changed_seal", 2, None), ("broken_chain", 3, None)]),
    (changes_a_listing, [("changed_seal", 2, None)]),
    (changes_a_listing_with_its_hash, [("changed_seal", 2, None)]),
    (
        widens_a_seal_over_the_next,
        [("changed_seal", 2, None), ("broken_chain", 3, None)],
    ),
    (changes_only_the_ids, [("changed_seal", 2, None)]),
    (changes_the_marks, [("changed_seal", 2, None)]),
    (changes_the_time_of_a_seal, [("changed_seal", 2, None)]),
    (changes_the_key_of_a_seal, [("unknown_key", 2, None)]),
    (removes_a_seal, [("missing_seals", 2, None)]),
    (
        removes_a_seal_and_changes_what_it_closed,
        [("missing_seals", 2, None), ("changed_entry", None, 5)],
    ),
    (removes_the_first_seal, [("missing_seals", 1, None)]),
    (
        exchanges_two_seals,
        [
            ("broken_chain", 2, None),
            ("changed_seal", 2, None),
            ("broken_chain", 3, None),
            ("changed_seal", 3, None),
        ],
    ),
    (pretends_a_seal_was_pruned, [("unknown_key", 2, None)]),
    (takes_the_tombstone_of_another, [("wrong_tombstone", 2, None)]),
    (puts_an_entry_into_a_pruned_segment, [("entry_in_pruned_seal", 1, 1)]),
    (changes_a_pruned_seal, [("changed_seal", 1, None)]),
    (changes_when_a_seal_was_pruned, [("wrong_tombstone", 1, None)]),
    (takes_back_that_a_seal_was_pruned, [("changed_seal", 1, None)]),
]


@pytest.mark.parametrize(
    ("tamper", "expected"), CASES, ids=[each.__name__ for each, _ in CASES]
)
def test_tampering_is_found(sealed, tamper, expected):
    tamper(sealed)
    places = {pk: place for place, pk in enumerate(sealed)} | {0: 0}
    assert [
        (kind, number, None if entry is None else places[entry])
        for kind, number, entry in found_by()
    ] == expected


def test_an_entry_with_a_good_mac_that_was_slipped_in_is_found(sealed):
    """As with a stolen key: the seals have not seen it."""
    (row,) = rows(sealed[5])
    rows(sealed[5]).delete()
    seal_ids = [each for each in sealed if each != sealed[5]]
    again = AuditSeal.objects.using(conf.AUDIT_DATABASE)
    again.filter(number__gte=2).delete()
    seal()
    row.save(using=conf.AUDIT_DATABASE, force_insert=True)
    assert found_by() == [("inserted_entry", 2, row.pk)]
    assert rows(*seal_ids).count() == len(seal_ids)


def test_a_seal_that_leaves_a_gap_is_found(sealed):
    """As with a stolen key: a place is left for what is to be slipped in."""
    rows(sealed[8]).delete()
    (forged,) = seals(3)
    forged.first_id += 1
    forged.ids, forged.count = f"{sealed[9]}-{sealed[11]}", 3
    forged.marks = marks_of(each.mac for each in rows(*sealed[9:12]))
    forged.content = content_of(forged)
    forged.digest = digest_of(forged, signing_key()[1])
    forged.save()
    assert found_by() == [("broken_chain", 3, None)]


def test_marks_that_agree_by_chance_do_not_hide_an_exchange(sealed, monkeypatch):
    exchange(sealed[1], sealed[6], CONTENT)
    monkeypatch.setattr(segments, "mark_of", lambda mac: AnyMark())
    assert found_by() == [("exchanged_entry", 1, None), ("exchanged_entry", 2, None)]


class AnyMark:
    def __eq__(self, other):
        return True

    def __ne__(self, other):
        return False

    __hash__ = None


# -- keys -------------------------------------------------------------


@pytest.fixture
def rotate(perfguard, settings, log_database):
    """Signs with that key from now on, and verifies with the old ones as well."""

    def signs_with(key, *old):
        keys = {"AUDIT_SIGNING_KEY": key, "AUDIT_OLD_SIGNING_KEYS": list(old)}
        perfguard(**keys, AUDIT_DATABASE=log_database, AUDIT_SEAL_ENTRIES=4)

    return signs_with


def test_after_a_rotation_the_old_key_still_verifies(
    sealed, rotate, settings, log_database
):
    rotate("the second", settings.SECRET_KEY)
    add_rows(3, using=log_database)
    seal()
    assert found_by() == []
    rotate("the third", "the second", settings.SECRET_KEY)
    prune(entries=8)
    assert seals().filter(pruned_at__isnull=False).exists()
    assert found_by() == []


def test_what_a_lost_key_has_signed_is_told_apart(
    sealed, rotate, settings, log_database
):
    rotate("the second", settings.SECRET_KEY)
    ids = add_rows(2, using=log_database)
    seal()
    ids += add_rows(2, using=log_database)
    rotate("the third", settings.SECRET_KEY)
    assert found_by() == [
        ("unknown_key", 4, None),
        ("unknown_key", 4, ids[0]),
        ("unknown_key", None, ids[2]),
    ]


# -- the anchor -------------------------------------------------------


@pytest.fixture
def anchored(transactional_db, tmp_path, perfguard):
    path = tmp_path / "anchor.jsonl"
    perfguard(AUDIT_ANCHOR_PATH=str(path), AUDIT_SEAL_ENTRIES=4)
    add_rows(SEALED)
    seal()
    return path


def test_a_log_that_agrees_with_its_anchor_is_fine(anchored):
    assert found_by(anchor=anchored) == []
    prune(entries=5)
    assert found_by(anchor=anchored) == []


def test_a_tail_that_was_cut_is_found_by_the_anchor_alone(anchored):
    rows().filter(id__gte=seals(3)[0].first_id).delete()
    seals(3).delete()
    assert found_by() == []
    assert found_by(anchor=anchored) == [("truncated", 3, None)]


def test_a_log_that_was_emptied_is_found_by_the_anchor(anchored):
    rows().delete()
    seals().delete()
    assert found_by() == []
    assert found_by(anchor=anchored) == [("truncated", 3, None)]


def test_a_chain_that_was_made_anew_differs_from_its_anchor(anchored, perfguard):
    """As with a stolen key."""
    perfguard(AUDIT_ANCHOR_PATH="")
    seals().delete()
    rows().filter(status=201)[0].delete()
    seal()
    assert found_by() == []
    different = [("differs_from_anchor", each, None) for each in (1, 2, 3)]
    assert found_by(anchor=anchored) == different


def test_a_torn_line_of_the_anchor_is_passed_over(anchored):
    with anchored.open("a") as file:
        file.write('{"number": 4, "dig')
    assert found_by(anchor=anchored) == []


@pytest.mark.parametrize("content", ["", "\n", "junk"], ids=["empty", "blank", "junk"])
def test_an_anchor_without_a_line_is_no_anchor(anchored, content):
    anchored.write_text(content)
    with pytest.raises(ValueError, match="holds no line of an anchor"):
        found_by(anchor=anchored)


# -- parts ------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "counts"),
    [
        ({"first": 2}, (2, 8, 2)),
        ({"last": 2}, (2, 8, 0)),
        ({"first": 2, "last": 2}, (1, 4, 0)),
        ({"first": 9}, (0, 0, 2)),
        ({"since": START + timedelta(minutes=8)}, (1, 4, 2)),
        ({"until": START + timedelta(minutes=3)}, (1, 4, 0)),
        ({"since": START + timedelta(days=9)}, (0, 0, 2)),
    ],
    ids=["from", "to", "one", "beyond", "since", "until", "later"],
)
def test_a_part_is_verified(sealed, options, counts):
    verification = Verification(**options)
    assert list(verification.findings()) == []
    found = (verification.seals, verification.entries, verification.unsealed)
    assert found == counts


def test_a_part_hangs_on_the_seal_before_it(sealed):
    seals(1).update(digest="0" * 64)
    assert found_by(first=2) == [("broken_chain", 2, None)]
    assert found_by(first=3) == []


# -- while it runs ----------------------------------------------------


def test_a_segment_that_is_pruned_while_it_is_read_is_no_finding(sealed, monkeypatch):
    read = segments.in_windows

    def prune_first(*args):
        monkeypatch.setattr(segments, "in_windows", read)
        prune(entries=1)
        return read(*args)

    monkeypatch.setattr(segments, "in_windows", prune_first)
    verification = Verification()
    assert list(verification.findings()) == []
    assert verification.pruned == 3


def test_findings_can_be_read(sealed):
    rows(sealed[5]).delete()
    (found,) = Verification().findings()
    assert found == Finding(Kind.REMOVED, f"Entry {sealed[5]} is gone.", 2, sealed[5])
    assert str(found) == f"removed_entry: Entry {sealed[5]} is gone."
    assert json.dumps({"kind": found.kind}) == '{"kind": "removed_entry"}'


def peak_of(count):
    """Bytes at most, while so many entries of 4 KB are verified."""
    AuditEntry.objects.all().delete()
    AuditSeal.objects.all().delete()
    add_rows(count, request_body="x" * 4000)
    seal()
    tracemalloc.start()
    try:
        verification = Verification()
        assert list(verification.findings()) == []
        assert verification.entries == count
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_log(db, perfguard, monkeypatch):
    perfguard(AUDIT_SEAL_ENTRIES=100)
    monkeypatch.setattr(segments, "BATCH", 50)
    peak_of(100)  # what is imported and cached by the first
    assert peak_of(2400) < 2 * peak_of(400)


def test_a_lost_key_is_one_finding_of_each_seal_and_one_of_the_rest(sealed, perfguard):
    rows(*sealed[4:7], *sealed[8:9], *sealed[SEALED:]).update(key_id="f" * 16)
    found = list(Verification().findings())
    assert [(each.seal, each.entry, each.count) for each in found] == [
        (2, sealed[4], 3),
        (3, sealed[8], 1),
        (None, sealed[SEALED], UNSEALED),
    ]
    assert {each.key_id for each in found} == {"f" * 16}
    assert str(found[0]) == (
        f"unknown_key: Of seal 2: 3 entries, the first of them {sealed[4]}, are signed "
        "with a key that is not configured, 'ffffffffffffffff'."
    )


def test_lost_keys_beyond_many_are_not_held(sealed, monkeypatch):
    monkeypatch.setattr(findings, "MOST_KEYS", 1)
    for place, key in enumerate("fefe"):
        rows(sealed[place]).update(key_id=key * 16)
    found = [(each.key_id[0], each.count) for each in Verification().findings()]
    assert found == [("e", 1), ("e", 1), ("f", 2)]
