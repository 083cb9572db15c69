"""Whatever is sent, the time to redact it grows no faster than it does."""

from __future__ import annotations

import time

import pytest

from perfguard.redaction.bodies import redact_body
from perfguard.redaction.names import _known
from perfguard.redaction.urls import redact_url

KILOBYTE = 1024
UNITS = {
    **{"lists": "[", "objects": '{"a":', "values": '{"value":', "jwt": "eyJ"},
    **{"jwt parts": "eyJ.", "pairs": "a=", "form": "a=a&", "quotes": '"', "a": "a"},
    **{"backslashes": "\\", "escaped quotes": '\\"', "blanks": " ", "lines": "\n"},
    **{
        "userinfo": "://a:",
        "pem": "-----BEGIN ",
        "bearer": "Bearer ",
        "basic": "Basic a",
    },
    **{"passwords": "password=", "quoted": '"password":"', "spaced": "password: x "},
    **{
        "percent": "%25",
        "tags": "<a ",
        "open tags": "<password>",
        "cdata": "<![CDATA[",
    },
    **{"declarations": "<!D[", "attributes": '<a b="', "entities": "&#112;"},
    **{"events": "data: {\n", "vendors": "sk-", "reset": "abc123-", "humps": "aA"},
    **{"parts": "--b\r\n\r\n", "parameters": ";name=", "unicode": "\\u0061", "ß": "ß"},
    **{
        "questions": "?a=",
        "codes": "?code=",
        "grants": "&grant_type=",
        "names": "&name=",
    },
    **{"locations": '{"loc":["', "block strings": 'pin:"""', "brackets": "?code[a"},
    **{"numbers": "1e", "api keys": "pgk_", "look-alikes": "\u0430", "keys": '"k":1,'},
}
STARTS = {
    "bare": "",
    "string": '{"a":"',
    "secret": '{"password":',
    "field": "password=",
}
TYPES = (
    *("application/json", "application/x-www-form-urlencoded", "text/plain"),
    *("text/html", "text/event-stream", "application/x-ndjson"),
    "multipart/form-data; boundary=b",
)


def seconds(raw, content_type):
    """The least of three, of this thread's own time."""
    took = []
    for _ in range(3):
        _known.cache_clear()
        started = time.thread_time()
        for complete in (True, False):
            redact_body(raw, content_type, complete=complete, limit=10**6)
        redact_url("/", raw.decode(errors="replace"))
        took.append(time.thread_time() - started)
        if took[-1] < 0.1:
            break
    return min(took)


@pytest.mark.parametrize("content_type", TYPES)
def test_twice_as_much_takes_twice_as_long(content_type):
    """Squares would take four times as long, and much more than a tenth of a second."""
    for start in STARTS.values():
        for unit in UNITS.values():
            full = (start + unit * (32 * KILOBYTE // len(unit.encode()))).encode()
            half, whole = full[: 16 * KILOBYTE], full
            took = seconds(whole, content_type)
            assert took < 0.1 or took < 3.2 * seconds(half, content_type), (start, unit)


def nested(depth):
    return b'{"a":' * depth + b'"x"' + b"}" * depth


@pytest.mark.parametrize("depth", [100, 990])
def test_deep_nesting_is_followed(depth):
    raw = nested(depth)
    kept = redact_body(raw, "application/json", complete=True, limit=10**6)
    assert kept == (raw.decode(), False)
    secret = raw.replace(b'"x"', b'{"b":[{"password":"hunter22"}]}')
    kept, _ = redact_body(secret, "application/json", complete=True, limit=10**6)
    assert kept == secret.decode().replace("hunter22", "********")


@pytest.mark.parametrize("unit", [b"[", b'{"a":', b'{"password":[', b'{"value":'])
def test_what_nests_deeper_than_any_parser_reads_is_not_kept(unit):
    raw = unit * 10_000
    kept, _ = redact_body(raw, "application/json", complete=False, limit=10**6)
    assert kept == f"[unreadable, {len(raw)} bytes]"


def test_a_megabyte_of_keys_is_read_to_its_end():
    keys = ",".join(f'"key{number}":{number}' for number in range(60_000))
    raw = f'{{{keys},"password":"hunter22"}}'.encode()
    kept, is_cut = redact_body(raw, "application/json", complete=True, limit=10**7)
    assert kept == raw.decode().replace("hunter22", "********")
    assert not is_cut


@pytest.mark.parametrize(
    ("kind", "unit"),
    [
        ("text/html", b'<a href="/a">word</a>'),
        ("application/x-ndjson", b'{"a":"word"}\n'),
        ("text/event-stream", b'data: {"a":"word"}\n\n'),
    ],
)
def test_no_more_of_other_bodies_is_read_than_is_kept(monkeypatch, kind, unit):
    read = []
    for module in ("markup", "json_text", "event_streams"):
        monkeypatch.setattr(
            f"perfguard.redaction.{module}.redact_text",
            lambda text, **kwargs: read.append(text) or text,
        )
    monkeypatch.setattr(
        "perfguard.redaction.plain_json.redact_text",
        lambda text: read.append(text) or text,
    )
    raw = unit * (64 * KILOBYTE // len(unit))
    kept, is_cut = redact_body(raw, kind, complete=True, limit=2048)
    assert kept == raw[:2048].decode()
    assert is_cut
    assert 0 < len(read) < 800


def test_no_more_json_is_read_than_is_kept(monkeypatch):
    """A body of 64 KiB costs what 2 KiB of it do."""
    read = []
    monkeypatch.setattr(
        "perfguard.redaction.json_text.redact_value",
        lambda text, **kwargs: read.append(text) or text,
    )
    raw = b"[" + b'"word",' * 9000 + b"1]"
    redact_body(raw, "application/json", complete=True, limit=2048)
    assert len(read) < 300
