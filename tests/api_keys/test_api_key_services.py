"""Making, rotating, revoking and restricting keys; and what owners do to them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.apps import apps
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from perfguard.api_keys import services, validators
from perfguard.api_keys.delivery import delivery
from perfguard.api_keys.keyring import keyring
from perfguard.api_keys.keys import parse
from perfguard.api_keys.models import ApiKey
from perfguard.throttling.rates import Rate
from tests.api_keys.counting import at_once

pytestmark = [
    pytest.mark.urls("tests.api_keys.urls_api_keys"),
    pytest.mark.django_db(transaction=True),
]


def code_of(text):
    """Why the key is refused; empty when it is good."""
    return keyring.find(parse(text)).code


def soon(**kwargs):
    return timezone.now() + timedelta(**kwargs)


# -- making ----------------------------------------------------------------------------


def test_a_new_key_is_good_and_only_its_hash_is_stored(owner, changed):
    issued = services.create(owner, "nightly", by="7")
    row = ApiKey.objects.values().get()
    secret = parse(issued.text).secret
    assert code_of(issued.text) == ""
    assert not [value for value in row.values() if secret in str(value)]
    assert row["created_by"] == "7"
    (told,) = changed
    assert (told["key_id"], told["change"]) == (issued.api_key.key_id, "created")
    assert (told["user_key"], told["by"]) == (str(owner.pk), "7")


def test_nobody_chooses_an_id_a_secret_or_a_row(owner, issued):
    mine = ApiKey(
        pk=issued.api_key.pk,
        key_id="A" * 12,
        hashed_secret="v1$chosen",
        owner=owner,
        label="chosen",
    )
    second = services.issue(mine)
    assert ApiKey.objects.count() == 2
    assert second.api_key.key_id != "A" * 12
    assert second.api_key.hashed_secret != "v1$chosen"
    assert code_of(issued.text) == code_of(second.text) == ""


@pytest.mark.parametrize("label", ["", "  ", "two\nlines", "nul\x00", "x" * 101])
def test_a_label_is_one_printable_line(owner, label):
    with pytest.raises(ValidationError):
        services.create(owner, label)


@pytest.mark.parametrize(
    "endpoints", [[""], ["GET chats", " "], ["x"], ["GET nowhere"]]
)
def test_wrong_rules_make_no_key(owner, endpoints):
    with pytest.raises(ValidationError):
        services.create(owner, "limited", endpoints=endpoints)
    assert not ApiKey.objects.exists()


def test_a_time_that_is_over_makes_no_key(owner):
    with pytest.raises(ValidationError, match="over"):
        services.create(owner, "late", expires_at=soon(seconds=-1))


def test_the_site_bounds_how_long_keys_live(owner, perfguard):
    perfguard(API_KEYS_MAX_LIFETIME="30d")
    unbounded = services.create(owner, "as long as may be").api_key
    assert unbounded.expires_at - unbounded.created == timedelta(days=30)
    shorter = services.create(owner, "short", expires_at=soon(days=1)).api_key
    assert shorter.expires_at < soon(days=2)
    with pytest.raises(ValidationError, match="30d"):
        services.create(owner, "long", expires_at=soon(days=31))


def test_a_rate_is_read_by_whatever_the_app_reads_rates_with(owner, monkeypatch):
    monkeypatch.setattr(validators, "read_rate", None)
    services.create(owner, "unread", rate="often")
    validators.use_rate_reader(Rate.parse)
    with pytest.raises(ValidationError, match="often"):
        services.create(owner, "read", rate="often")
    assert services.create(owner, "read", rate="5/minute").api_key.rate == "5/minute"


def test_nothing_is_told_of_a_key_that_is_rolled_back(owner, changed):
    with transaction.atomic():
        services.create(owner, "never was")
        transaction.set_rollback(True)
    assert changed == []


# -- expiry, by every public function --------------------------------------------------


def test_expiry_and_revocation_show_in_every_function(owner, ringing):
    keys = {
        name: services.create(owner, name) for name in ("active", "expired", "revoked")
    }
    over = timezone.now() - timedelta(seconds=1)
    ApiKey.objects.filter(label="expired").update(expires_at=over)
    services.revoke(keys["revoked"].api_key)
    rows = {each.label: each for each in ApiKey.objects.all()}
    assert {name for name, row in rows.items() if row.is_in_use} == {"active"}
    assert {name: row.state for name, row in rows.items()} == {
        name: name for name in rows
    }
    assert [each.label for each in ApiKey.objects.in_use()] == ["active"]
    codes = {name: code_of(issued.text) for name, issued in keys.items()}
    assert codes == {"active": "", "expired": "expired", "revoked": "revoked"}


@pytest.mark.parametrize("with_redis", [False, True])
def test_a_key_ends_with_its_time_and_not_before(owner, ringing, request, with_redis):
    if with_redis:
        request.getfixturevalue("redis")
    issued = services.create(owner, "short", expires_at=soon(hours=1))
    end = issued.api_key.expires_at.timestamp()
    ringing.now = end - 0.01
    assert [code_of(issued.text) for _ in range(2)] == ["", ""]
    ringing.now = end
    assert [code_of(issued.text) for _ in range(2)] == ["expired", "expired"]


# -- rotating --------------------------------------------------------------------------


def test_both_keys_work_until_the_overlap_is_over(owner, redis, ringing, changed):
    old = services.create(owner, "nightly", endpoints=["GET chats"], rate="5/minute")
    new = services.rotate(old.api_key, timedelta(hours=1), by="7")
    ringing.now = timezone.now().timestamp()
    assert (code_of(old.text), code_of(new.text)) == ("", "")
    assert old.api_key.state == "being replaced"
    ringing.advance(3590)
    assert code_of(old.text) == ""
    ringing.advance(20)
    assert code_of(old.text) == "replaced"
    # Whoever comes late with the old one does the new one no harm.
    assert code_of(new.text) == ""
    new_row = new.api_key
    assert (new_row.owner, new_row.label, new_row.rate) == (
        owner,
        "nightly",
        "5/minute",
    )
    assert (new_row.endpoints, new_row.created_by) == (["GET chats"], "7")
    assert [each["change"] for each in changed] == ["created", "created", "rotated"]


def test_the_overlap_is_a_setting(issued, perfguard):
    perfguard(API_KEYS_ROTATION_OVERLAP="2h")
    services.rotate(issued.api_key)
    assert soon(minutes=119) < issued.api_key.expires_at < soon(minutes=121)


def test_an_overlap_never_prolongs_a_key(owner):
    old = services.create(owner, "short", expires_at=soon(minutes=5))
    end = old.api_key.expires_at
    services.rotate(old.api_key, timedelta(days=1))
    assert old.api_key.expires_at == end


def test_the_new_key_lives_as_long_as_the_old_one_did(owner, perfguard):
    old = services.create(owner, "month", expires_at=soon(days=30))
    ago = timezone.now() - timedelta(days=10)
    ApiKey.objects.update(created=ago, expires_at=ago + timedelta(days=30))
    old.api_key.refresh_from_db()
    new = services.rotate(old.api_key).api_key
    assert timedelta(days=29) < new.expires_at - timezone.now() <= timedelta(days=30)
    perfguard(API_KEYS_MAX_LIFETIME="1d")
    assert services.rotate(new).api_key.expires_at <= soon(days=1)


@pytest.mark.parametrize("how", ["revoked", "expired", "rotated"])
def test_only_a_key_in_use_is_rotated(issued, how):
    if how == "revoked":
        services.revoke(issued.api_key)
    if how == "expired":
        over = timezone.now() - timedelta(seconds=1)
        ApiKey.objects.update(expires_at=over)
    if how == "rotated":
        services.rotate(issued.api_key)
    before = ApiKey.objects.count()
    with pytest.raises(ValidationError):
        services.rotate(issued.api_key)
    assert ApiKey.objects.count() == before


def test_of_four_rotations_at_once_one_wins(issued):
    results = []

    def rotate():
        try:
            services.rotate(ApiKey.objects.get(pk=issued.api_key.pk))
            results.append("rotated")
        except ValidationError:
            results.append("refused")

    at_once(4, rotate)
    assert sorted(results) == ["refused"] * 3 + ["rotated"]
    assert ApiKey.objects.count() == 2


def test_a_rule_that_no_longer_leads_anywhere_does_not_stop_a_rotation(issued):
    ApiKey.objects.update(is_restricted=True, allowed_endpoints="GET long-gone")
    issued.api_key.refresh_from_db()
    assert services.rotate(issued.api_key).api_key.endpoints == ["GET long-gone"]


# -- revoking and changing -------------------------------------------------------------


def test_a_revoked_key_is_refused_at_once_and_told_once(issued, redis, changed):
    changed.clear()
    assert code_of(issued.text) == ""
    assert services.revoke(issued.api_key, by="7")
    assert code_of(issued.text) == "revoked"
    first = issued.api_key.revoked_at
    assert services.revoke(issued.api_key, by="8")
    assert (issued.api_key.revoked_at, issued.api_key.revoked_by) == (first, "7")
    assert [(each["change"], each["by"]) for each in changed] == [("revoked", "7")]


def test_restrictions_are_in_force_at_once(issued, redis, changed):
    changed.clear()
    assert keyring.find(parse(issued.text)).record.rules is None
    services.restrict(issued.api_key, ["GET chats"])
    assert keyring.find(parse(issued.text)).record.rules == "GET chats"
    services.restrict(issued.api_key, None)
    assert keyring.find(parse(issued.text)).record.rules is None
    assert [each["change"] for each in changed] == ["restricted"] * 2


def test_a_new_label_is_no_new_restriction(issued, changed):
    changed.clear()
    issued.api_key.label = "another"
    services.amend(issued.api_key, ["label"])
    assert ApiKey.objects.get().label == "another"
    assert changed == []


def test_nothing_but_what_may_change_is_written(issued, other):
    row = ApiKey.objects.get()
    row.owner, row.hashed_secret, row.label = other, "v1$x", "another"
    services.amend(row, ["label", "owner", "hashed_secret"])
    row = ApiKey.objects.get()
    assert row.label == "another"
    assert row.owner != other
    assert row.hashed_secret != "v1$x"


def test_a_change_that_comes_too_late_undoes_no_revocation(issued):
    stale = ApiKey.objects.get()
    services.revoke(issued.api_key)
    stale.label = "late"
    with pytest.raises(ValidationError, match="in use"):
        services.amend(stale, ["label"])
    row = ApiKey.objects.get()
    assert row.revoked_at is not None
    assert row.label == "nightly report"


def test_wrong_values_are_not_written(issued):
    with pytest.raises(ValidationError):
        services.restrict(issued.api_key, ["GET nowhere"])
    issued.api_key.expires_at = soon(seconds=-1)
    with pytest.raises(ValidationError):
        services.amend(issued.api_key, ["expires_at"])
    assert not ApiKey.objects.get().is_restricted
    assert ApiKey.objects.get().expires_at is None


def test_whoever_saves_a_row_or_deletes_it_changes_the_key(issued, redis, changed):
    changed.clear()
    assert code_of(issued.text) == ""
    row = ApiKey.objects.get()
    row.expires_at = timezone.now()
    row.save()
    assert code_of(issued.text) == "expired"
    row.delete()
    assert code_of(issued.text) == "unknown"
    assert [each["change"] for each in changed] == ["revoked"]


# -- owners ----------------------------------------------------------------------------


def test_a_deactivated_owner_has_no_good_key_and_an_active_one_has(
    issued, owner, redis
):
    assert code_of(issued.text) == ""
    for is_active, code in ((False, "owner_inactive"), (True, "")):
        owner.is_active = is_active
        owner.save()
        assert [code_of(issued.text) for _ in range(2)] == [code, code]


def test_a_key_gives_what_its_owner_has_now(api, issued, owner, redis):
    assert api.status(issued.text) == 200
    owner.is_staff = True
    owner.save(update_fields=["is_staff"])
    record = keyring.find(parse(issued.text)).record
    assert record.flags == {"is_active": True, "is_staff": True, "is_superuser": False}


def test_a_deleted_owner_takes_their_keys_along(issued, owner, redis):
    assert code_of(issued.text) == ""
    owner.delete()
    assert code_of(issued.text) == "unknown"


def test_an_owner_who_is_deleted_with_others_takes_their_keys_along(
    issued, owner, redis
):
    assert code_of(issued.text) == ""
    type(owner).objects.all().delete()
    assert code_of(issued.text) == "unknown"


def test_a_change_of_the_owner_that_is_rolled_back_changes_nothing(
    issued, owner, redis
):
    code_of(issued.text)
    with transaction.atomic():
        owner.is_active = False
        owner.save()
        transaction.set_rollback(True)
    assert code_of(issued.text) == ""


def test_signing_in_asks_nothing_about_keys(issued, owner):
    with CaptureQueriesContext(connection) as seen:
        owner.save(update_fields=["last_login"])
    assert not [each for each in seen if "apikey" in each["sql"]]


def test_saving_an_owner_costs_one_query_and_making_one_none(owner, django_user_model):
    with CaptureQueriesContext(connection) as seen:
        owner.save()
    assert len([each for each in seen if "apikey" in each["sql"]]) == 1
    with CaptureQueriesContext(connection) as seen:
        django_user_model.objects.create_user("new@example.com", "x")
    assert not [each for each in seen if "apikey" in each["sql"]]


def test_what_bypasses_save_is_bounded_by_the_life_of_a_record(issued, owner, redis):
    code_of(issued.text)
    type(owner).objects.filter(pk=owner.pk).update(is_active=False)
    assert code_of(issued.text) == ""  # the manual says so, and what to call
    delivery.tell(issued.api_key.key_id)
    assert code_of(issued.text) == "owner_inactive"


def test_an_owner_who_is_deactivated_by_a_proxy_is_refused(
    issued, owner, redis, proxy_model
):
    assert code_of(issued.text) == ""
    proxy = proxy_model.objects.get(pk=owner.pk)
    proxy.is_active = False
    proxy.save()
    assert code_of(issued.text) == "owner_inactive"


def test_connecting_twice_tells_once(issued, changed):
    changed.clear()
    apps.get_app_config("perfguard").connect()
    issued.api_key.delete()
    assert len(changed) == 1


# -- the table -------------------------------------------------------------------------


def test_ids_are_unique_in_the_database(issued, owner):
    twin = ApiKey(key_id=issued.api_key.key_id, owner=owner, created=timezone.now())
    with pytest.raises(Exception, match="UNIQUE"):
        twin.save()


def test_the_migration_is_complete():
    call_command("makemigrations", "perfguard", "--check", "--dry-run", verbosity=0)


def test_a_key_is_called_by_its_label_and_public_id(issued):
    assert str(issued.api_key) == f"nightly report ({issued.api_key.key_id})"
