"""The OpenAPI document: valid, and true of who may ask and what is refused."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema

API_KEY = [{"apiKey": []}, {"apiKeyHeader": []}]
GUARDED = {
    "/api/v1/auths/me",
    "/api/v1/auths/password",
    "/api/v1/auths/sessions",
    "/api/v1/auths/sessions/{sid}",
    "/api/v1/auths/signout-everywhere",
    "/api/v1/auths/socket-ticket",
    "/api/v1/auths/api-keys",
    "/api/v1/auths/api-keys/{key_id}",
    "/api/v1/auths/api-keys/{key_id}/rotate",
    "/api/v1/notes",
    "/api/v1/notes/{id}",
    "/api/v1/stream",  # for whoever is signed in, and for others
}


@pytest.fixture
def document(perfguard):
    perfguard(API_KEYS_HEADER="X-API-Key")
    return SchemaGenerator(urlconf="project.urls").get_schema(public=True)


def operations(document):
    return [
        (path, operation)
        for path, methods in document["paths"].items()
        for operation in methods.values()
    ]


def test_the_document_is_valid(document):
    validate_schema(document)
    assert document["openapi"].startswith("3.")


def test_the_document_leaves_no_question(settings, tmp_path):
    """What drf-spectacular could only guess at is a warning, and fails."""
    settings.ROOT_URLCONF = "project.urls"
    file = str(tmp_path / "schema.yaml")
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", file)


def test_who_may_ask_is_told(document):
    schemes = document["components"]["securitySchemes"]
    token, key, header = (schemes[name] for name in ("token", "apiKey", "apiKeyHeader"))
    assert (token["type"], token["scheme"], token["bearerFormat"]) == (
        "http",
        "bearer",
        "JWT",
    )
    assert (key["type"], key["in"], key["name"]) == (
        "apiKey",
        "header",
        "Authorization",
    )
    assert (header["in"], header["name"]) == ("header", "X-API-Key")


def test_without_a_header_of_its_own_an_api_key_is_in_one_place(perfguard):
    perfguard(API_KEYS_HEADER="")
    document = SchemaGenerator(urlconf="project.urls").get_schema(public=True)
    assert sorted(document["components"]["securitySchemes"]) == ["apiKey", "token"]


def test_an_api_key_is_offered_where_it_may_be_used(document):
    notes = document["paths"]["/api/v1/notes"]["get"]["security"]
    assert notes == [{"token": []}, *API_KEY]
    keys = document["paths"]["/api/v1/auths/api-keys"]["get"]["security"]
    assert keys == [{"token": []}]


def test_every_guarded_view_tells_its_refusals(document):
    guarded = {
        path
        for path, operation in operations(document)
        if {"token": []} in operation["security"]
    }
    assert guarded == GUARDED
    for path, operation in operations(document):
        if path in GUARDED:
            assert {"401", "403", "429", "503"} <= operation["responses"].keys(), path


def test_refusals_are_json_and_name_their_headers(document):
    wanted = {
        "401": {"WWW-Authenticate"},
        "403": set(),
        "429": {"Retry-After", "RateLimit", "RateLimit-Policy"},
        "503": {"Retry-After"},
    }
    for _, operation in operations(document):
        for status, answer in operation["responses"].items():
            if status in wanted:
                assert answer["headers"].keys() == wanted[status]
                reason = answer["content"]["application/json"]["schema"]["$ref"]
                assert reason == "#/components/schemas/Reason"


def test_open_views_ask_for_nobody(document):
    open_ones = {
        path
        for path, operation in operations(document)
        if operation["security"] == [{}]
    }
    assert open_ones == {
        "/api/v1/public",
        "/api/v1/report",
        "/api/v1/auths/signin",
        "/api/v1/auths/refresh",
        "/api/v1/auths/signout",
    }


def test_wrong_credentials_are_told_where_they_are_given(document):
    for name in ("signin", "refresh"):
        answers = document["paths"][f"/api/v1/auths/{name}"]["post"]["responses"]
        assert {"400", "401", "429", "503"} <= answers.keys()
    public = document["paths"]["/api/v1/public"]["get"]["responses"]
    assert "401" not in public
