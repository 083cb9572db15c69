"""Forms in parts (RFC 7578), as one JSON object of their fields."""

from __future__ import annotations

import json
import re
from typing import NamedTuple
from urllib.parse import unquote

from perfguard.redaction.json_text import redact_value
from perfguard.redaction.names import is_secret
from perfguard.redaction.patterns import BLANK, redact_text

LONGEST_BOUNDARY = 200  # characters; RFC 2046 has 70
LONGEST_HEAD = 4096
# Also "name*", "name*0" and "name*0*" (RFC 2231), whose parts are one value.
PARAMETER = re.compile(
    r"(?<![\w*-])(boundary|name|filename)(?:\*\d{0,2})?(\*)?[ \t]*+=[ \t]*+"
    r"(?:\"((?:[^\"\\]++|\\.)*+)\"?|([^;\s\"]*+))",
    re.IGNORECASE | re.DOTALL,
)
FIELD = re.compile(
    r"(?im)^([\w-]++)[ \t]*+:[ \t]*+([^\r\n]*+(?:\r?\n[ \t][^\r\n]*+)*+)"
)
TYPE = re.compile(r"[\w.+-]{1,60}/[\w.+-]{1,60}")
PLAIN_ENCODINGS = {"", "7bit", "8bit", "binary"}


class _Part(NamedTuple):
    name: str
    filename: str | None
    content_type: str
    encoding: str


def redact_multipart(raw: bytes, content_type: str, *, is_cut: bool) -> str | None:
    """None where the boundary is not that of the body."""
    boundary = parameters(content_type).get("boundary", "")
    if not 0 < len(boundary) <= LONGEST_BOUNDARY or not boundary.isascii():
        return None
    # Wherever it stands, as Django finds it: "a--boundary" ends a part too.
    _, *chunks = raw.split(b"--" + boundary.encode())
    if not chunks:
        return None
    fields = []
    for number, chunk in enumerate(chunks, 1):
        is_last = is_cut and number == len(chunks)
        if chunk.startswith(b"--") and not is_last:
            break
        fields += _field(chunk, is_cut=is_last)
    return "{" + ", ".join(fields) + "}"


def parameters(header: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, encoded, quoted, bare in PARAMETER.findall(header):
        value = re.sub(r"\\(.)", r"\1", quoted) if quoted else bare
        if encoded:
            value = unquote(value.split("'", 2)[-1])
        key = name.lower()
        found[key] = found.get(key, "") + value
    return found


def _field(chunk: bytes, *, is_cut: bool) -> list[str]:
    head, blank_line, content = _split(chunk)
    if not blank_line or len(head) > LONGEST_HEAD:
        return []
    part = _read(head.decode(errors="replace"))
    if part is None:
        return []
    name = json.dumps(redact_text(part.name), ensure_ascii=False)
    value = json.dumps(_value(part, content, is_cut=is_cut), ensure_ascii=False)
    return [f"{name}: {value}"]


def _split(chunk: bytes) -> tuple[bytes, bytes, bytes]:
    for blank_line in (b"\r\n\r\n", b"\n\n"):
        if blank_line in chunk:
            return chunk.partition(blank_line)
    return chunk, b"", b""


def _read(head: str) -> _Part | None:
    fields = {name.lower(): value for name, value in FIELD.findall(head)}
    given = parameters(fields.get("content-disposition", ""))
    if "name" not in given:
        return None
    content_type = TYPE.match(fields.get("content-type", ""))
    return _Part(
        given["name"],
        given.get("filename"),
        content_type[0].lower() if content_type else "unknown",
        fields.get("content-transfer-encoding", "").strip().lower(),
    )


def _value(part: _Part, content: bytes, *, is_cut: bool) -> str:
    if not is_cut:
        content = content.removesuffix(b"\n").removesuffix(b"\r")
    size = f"{'over ' if is_cut else ''}{len(content)} bytes"
    if part.filename is not None:
        return f"[file {redact_text(part.filename)!r}, {part.content_type}, {size}]"
    if is_secret(part.name):
        return BLANK
    if part.encoding not in PLAIN_ENCODINGS or b"\0" in content:
        return f"[{size}]"
    return redact_value(content.decode(errors="replace"), is_cut=is_cut)
