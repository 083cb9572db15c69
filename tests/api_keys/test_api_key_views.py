"""The API by which owners manage their keys."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator
from rest_framework.test import APIClient

from perfguard.api_keys import services
from perfguard.api_keys.models import ApiKey
from perfguard.tokens.tokens import AccessToken

pytestmark = [
    pytest.mark.urls("tests.api_keys.urls_api_keys"),
    pytest.mark.django_db(transaction=True),
]

KEYS = "/api/v1/keys"


@pytest.fixture
def ada(owner, perfguard):
    """A person, signed in by a token."""
    perfguard()
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {AccessToken.for_user(owner)}")
    return client


def post(client, path=KEYS, **body):
    return client.post(path, body, format="json")


def test_a_new_key_is_shown_once_and_kept_by_nobody(ada, api):
    answer = post(ada, label="nightly")
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    made = answer.json()
    assert api.status(made["key"]) == 200
    assert made["key"].startswith(f"pgk_{made['key_id']}_")
    listed = ada.get(KEYS)
    shown = ada.get(f"{KEYS}/{made['key_id']}")
    for later in (listed, shown):
        assert made["key"] not in later.content.decode()
        assert "hashed" not in later.content.decode()
        assert later.headers["Cache-Control"] == "no-store"
    assert "key" not in shown.json()


def test_a_client_chooses_neither_id_nor_secret_nor_rate_nor_owner(ada, owner, other):
    answer = post(
        ada,
        label="mine",
        key_id="A" * 12,
        key="pgk_mine",
        secret="mine",
        hashed_secret="v1$mine",
        rate="1000000/second",
        owner=other.pk,
        revoked_at=None,
        created="2000-01-01T00:00:00Z",
        last_used_at="2000-01-01T00:00:00Z",
    )
    assert answer.status_code == 201
    row = ApiKey.objects.get()
    assert row.key_id != "A" * 12
    assert "mine" not in row.hashed_secret
    assert (row.owner, row.rate, row.last_used_at) == (owner, "", None)
    assert row.created > timezone.now() - timedelta(minutes=1)


def test_a_key_may_be_limited_when_it_is_made(ada, api):
    made = post(ada, label="limited", endpoints=["GET chats"]).json()
    assert made["endpoints"] == ["GET chats"]
    assert api.status(made["key"], "/api/v1/chats") == 200
    assert api.status(made["key"]) == 403
    nothing = post(ada, label="nothing", endpoints=[]).json()
    assert nothing["endpoints"] == []
    assert api.status(nothing["key"], "/api/v1/chats") == 403


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("label", ""),
        ("label", "x" * 101),
        ("label", "two\nlines"),
        ("label", "nul\x00"),
        ("label", {"a": 1}),
        ("endpoints", [""]),
        ("endpoints", ["GET chats", " "]),
        ("endpoints", ["GET nowhere"]),
        ("endpoints", "GET chats"),
        ("endpoints", [["GET chats"]]),
        ("endpoints", ["GET chats"] * 101),
        ("expires_at", "2001-01-01T00:00:00Z"),
        ("expires_at", "tomorrow"),
        ("expires_at", "9999-12-31T23:59:59.999999-23:59"),
    ],
)
def test_what_cannot_be_is_400_and_names_the_field(ada, field, value):
    answer = post(ada, **{"label": "x", field: value})
    assert answer.status_code == 400
    assert set(answer.json()) & {field, "allowed_endpoints"}
    assert not ApiKey.objects.exists()


def test_a_life_beyond_the_maximum_is_400(ada, perfguard):
    perfguard(API_KEYS_MAX_LIFETIME="1d")
    end = (timezone.now() + timedelta(days=2)).isoformat()
    assert set(post(ada, label="x", expires_at=end).json()) == {"expires_at"}


def test_keys_of_others_are_not_there(ada, other):
    theirs = services.create(other, "theirs").api_key
    path = f"{KEYS}/{theirs.key_id}"
    assert ada.get(KEYS).json()["results"] == []
    assert ada.get(path).status_code == 404
    assert ada.delete(path).status_code == 404
    assert post(ada, f"{path}/rotate").status_code == 404
    theirs.refresh_from_db()
    assert theirs.is_in_use


def test_revoking_is_for_good_and_twice_is_as_good_as_once(ada, issued, api):
    path = f"{KEYS}/{issued.api_key.key_id}"
    assert [ada.delete(path).status_code for _ in range(2)] == [204, 204]
    assert api.status(issued.text) == 401
    assert ada.get(path).json()["state"] == "revoked"
    assert ApiKey.objects.get().revoked_by == str(issued.api_key.owner_id)


def test_a_revocation_that_redis_was_not_told_is_503_and_recorded(
    ada, issued, perfguard, api
):
    perfguard(REDIS_URL="redis://127.0.0.1:1/0")
    answer = ada.delete(f"{KEYS}/{issued.api_key.key_id}")
    assert answer.status_code == 503
    assert answer.json()["code"] == "revocation_pending"
    assert answer.headers["Retry-After"] == "1"
    assert ApiKey.objects.get().state == "revoked"
    assert api.status(issued.text) == 401


def test_the_answer_knows_whether_redis_was_told_also_with_atomic_requests(
    ada, issued, perfguard, monkeypatch
):
    perfguard(REDIS_URL="redis://127.0.0.1:1/0")
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    assert ada.delete(f"{KEYS}/{issued.api_key.key_id}").status_code == 503


def test_rotating_shows_the_new_key_once(ada, issued, api):
    path = f"{KEYS}/{issued.api_key.key_id}/rotate"
    answer = post(ada, path, overlap="1h", label="other", key_id="A" * 12)
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    made = answer.json()
    assert "overlap" not in made
    assert (made["label"], made["replaced_by"]) == ("nightly report", None)
    assert api.status(issued.text) == api.status(made["key"]) == 200
    old = ada.get(f"{KEYS}/{issued.api_key.key_id}").json()
    assert (old["replaced_by"], old["state"]) == (made["key_id"], "being replaced")
    assert post(ada, path).status_code == 400


@pytest.mark.parametrize("overlap", ["-1", "0", "soon", "1month", ["1h"], "", None])
def test_an_overlap_is_a_lifetime_with_an_end(ada, issued, overlap):
    path = f"{KEYS}/{issued.api_key.key_id}/rotate"
    answer = post(ada, path, overlap=overlap)
    assert answer.status_code == 400
    assert set(answer.json()) == {"overlap"}


def test_the_rules_of_a_key_go_on_to_its_successor(ada, owner, api):
    old = services.create(owner, "limited", endpoints=["GET chats"])
    path = f"{KEYS}/{old.api_key.key_id}/rotate"
    made = post(ada, path, endpoints=None).json()
    assert made["endpoints"] == ["GET chats"]
    assert api.status(made["key"]) == 403


def test_keys_do_not_manage_keys(api, issued):
    path = f"{KEYS}/{issued.api_key.key_id}"
    for method, where in (
        ("get", KEYS),
        ("post", KEYS),
        ("get", path),
        ("delete", path),
        ("post", f"{path}/rotate"),
    ):
        answer = api.call(method, where, issued.text)
        assert answer.status_code == 403
        assert answer.json()["code"] == "insufficient_scope"
    assert ApiKey.objects.get().is_in_use


def test_nobody_manages_keys_without_signing_in(api, issued):
    for method in ("get", "post"):
        assert api.call(method, KEYS).status_code == 401
    assert api.call("delete", f"{KEYS}/{issued.api_key.key_id}").status_code == 401


def test_switched_off_makes_none_but_shows_and_revokes(ada, issued, perfguard):
    perfguard(API_KEYS_ENABLED=False)
    path = f"{KEYS}/{issued.api_key.key_id}"
    for answer in (post(ada, label="x"), post(ada, f"{path}/rotate")):
        assert answer.status_code == 403
        assert answer.json()["code"] == "api_keys_disabled"
    assert ada.get(KEYS).status_code == 200
    assert ada.delete(path).status_code == 204


def test_a_list_is_the_same_number_of_queries_whatever_its_length(ada, owner):
    counts = []
    for number in range(3):
        services.rotate(services.create(owner, str(number)).api_key)
        with CaptureQueriesContext(connection) as seen:
            assert len(ada.get(KEYS).json()["results"]) == 2 * number + 2
        counts.append(len(seen))
    assert len(set(counts)) == 1


def test_the_schema_tells_of_them():
    schema = SchemaGenerator(urlconf="tests.api_keys.urls_api_keys").get_schema(
        request=None, public=True
    )
    made = schema["paths"][KEYS]["post"]["responses"]["201"]["content"]
    name = made["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert "key" in schema["components"]["schemas"][name]["properties"]
    listed = schema["components"]["schemas"]["ApiKey"]["properties"]
    assert "key" not in listed
    assert "hashed_secret" not in listed
