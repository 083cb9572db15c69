from __future__ import annotations

import pytest

from perfguard.fast_json import checks, codec
from perfguard.fast_json.renderers import FastJSONRenderer

RENDERER = "perfguard.fast_json.renderers.FastJSONRenderer"
PARSER = "perfguard.fast_json.parsers.FastJSONParser"


def found():
    return [message.id for check in checks.ALL for message in check()]


@pytest.mark.parametrize(
    "rest",
    [
        {"DEFAULT_RENDERER_CLASSES": [RENDERER]},
        {"DEFAULT_RENDERER_CLASSES": [FastJSONRenderer]},
        {"DEFAULT_PARSER_CLASSES": [PARSER]},
    ],
    ids=["renderer", "class", "parser"],
)
def test_orjson_is_missed_where_it_is_used(settings, monkeypatch, rest):
    settings.REST_FRAMEWORK = rest
    assert found() == []
    monkeypatch.setattr(codec, "orjson", None)
    assert found() == ["perfguard.W651"]


def test_orjson_is_not_missed_elsewhere(settings, monkeypatch):
    monkeypatch.setattr(codec, "orjson", None)
    settings.REST_FRAMEWORK = {}
    assert found() == []
    del settings.REST_FRAMEWORK
    assert found() == []


@pytest.mark.parametrize("name", ["COMPACT_JSON", "UNICODE_JSON"])
def test_a_style_that_orjson_has_not_is_told(settings, name):
    settings.REST_FRAMEWORK = {"DEFAULT_RENDERER_CLASSES": [RENDERER], name: True}
    assert found() == []
    settings.REST_FRAMEWORK = {"DEFAULT_RENDERER_CLASSES": [RENDERER], name: False}
    assert found() == ["perfguard.W652"]
    settings.REST_FRAMEWORK = {name: False}
    assert found() == []


def test_what_is_no_mapping_is_left_to_drf(settings):
    settings.REST_FRAMEWORK = "nonsense"
    assert found() == []
