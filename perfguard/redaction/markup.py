"""XML and HTML without the secrets in them."""

from __future__ import annotations

import html
import re
import sys

from perfguard.redaction.json_text import redact_value
from perfguard.redaction.names import is_secret
from perfguard.redaction.patterns import BLANK, redact_text

# A tag ends at the first ">" outside of quotes. What begins like one is one.
TOKEN = re.compile(
    r"(?P<comment><!--(?:-?>|.*?(?:-->|\Z)))"
    r"|(?P<script><script\b[^>]*+>.*?(?=</script|\Z))"
    r"|(?P<raw><!\[CDATA\[.*?(?:\]\]>|\Z))"
    r"|(?P<declaration><[!?](?:[^>\"'\[]++|\"[^\"]*+(?:\"|\Z)|'[^']*+(?:'|\Z)"
    r"|\[.*?(?:\](?=\s*+>)|\Z))*+>?)"
    r"|(?P<tag></?[^\s<>\"'=/]++(?:[^>\"']++|\"[^\"]*+(?:\"|\Z)|'[^']*+(?:'|\Z))*+>?)"
    r"|(?P<text>[^<]++|<)",
    re.DOTALL | re.IGNORECASE,
)
TAG_NAME = re.compile(r"</?([^\s<>\"'=/]++)")
ATTRIBUTE = re.compile(
    r"(?<=[\s\"'/])([^\s<>\"'=/]++)(\s*+=\s*+)"
    r"(\"[^\"]*+(?:\"|\Z)|'[^']*+(?:'|\Z)|[^\s\"'>]++)"
)
# Attributes that say what the others, or the content, are the value of.
NAMING = {"name", "id", "key", "type", "property", "field", "friendlyname"}
# Elements of HTML that have no content, whatever their attributes say.
EMPTY = {"input", "meta", "link", "img", "br", "hr", "area", "col", "param", "source"}
# Of these the content is not what their "name" or "id" is the name of.
CONTAINERS = {
    "form",
    "div",
    "section",
    "fieldset",
    "label",
    "p",
    "ul",
    "li",
    "table",
} | {*("html", "body", "head", "a", "button", "script", "style", "main", "tr", "td")}


def redact_markup(text: str, *, is_cut: bool = False, limit: int = sys.maxsize) -> str:
    """No more than about ``limit`` characters are looked for."""
    pieces: list[str] = []
    size = 0
    within, depth = "", 0  # the secret element, and how many of its name are open
    last = None
    for match in TOKEN.finditer(text):
        last = match
        token, kind = match[0], match.lastgroup
        name = _name(token) if kind == "tag" else ""
        if within:
            depth += _change(token, name, within)
            if depth:
                continue
            within = ""
        pieces.append(_token(token, kind))
        size += len(pieces[-1])
        if size > limit:
            return "".join(pieces)
        if name and _opens_secret(token, name):
            within, depth = name, 1
            pieces.append(BLANK)
    if is_cut and last and not within:
        pieces[-1] = _token(last[0], last.lastgroup, is_cut=True)
    return "".join(pieces)


def _name(token: str) -> str:
    match = TAG_NAME.match(token)
    return match[1].lower() if match else ""


def _change(token: str, name: str, within: str) -> int:
    """Of the depth."""
    if name != within or token.endswith("/>"):
        return 0
    return -1 if token.startswith("</") else 1


def _opens_secret(token: str, name: str) -> bool:
    if token.startswith("</") or token.endswith("/>") or name in EMPTY:
        return False
    return is_secret(name) or (name not in CONTAINERS and _names_secret(token))


def _names_secret(tag: str) -> bool:
    return any(
        name.lower() in NAMING and is_secret(html.unescape(value.strip("\"'")))
        for name, _, value in ATTRIBUTE.findall(tag)
    )


def _token(token: str, kind: str | None, *, is_cut: bool = False) -> str:
    if kind == "tag":
        # The attribute that names the others may come after the cut.
        is_whole = token.endswith(">") or not is_cut
        return _tag(token) if is_whole else f"<{_name(token)} {BLANK}"
    if kind == "declaration" and "[" in token:
        # Entities are values whose names are anybody's guess.
        return f"<!{BLANK}>"
    if kind == "script":
        tag, _, program = token.partition(">")
        return f"{_tag(tag)}>{redact_value(program, is_cut=is_cut)}"
    return _text(token, is_cut=is_cut)


def _tag(token: str) -> str:
    is_named = _names_secret(token)

    def clean(match: re.Match[str]) -> str:
        name, equals, value = match.groups()
        local = name.lower()
        quote = value[0] if value[0] in "\"'" else ""
        end = quote if len(value) > 1 and value.endswith(quote) else ""
        is_value = is_named and local in {"value", "content", "data-value"}
        if is_value or (local not in NAMING and is_secret(name)):
            return f"{name}{equals}{quote}{BLANK}{end}"
        inner = value[len(quote) : len(value) - len(end) or None]
        return f"{name}{equals}{quote}{_text(inner)}{end}"

    # What looks like a tag may be a part of a program.
    return redact_text(ATTRIBUTE.sub(clean, token))


def _text(text: str, *, is_cut: bool = False) -> str:
    if "&" not in text:
        return redact_text(text, is_cut=is_cut)
    plain = html.unescape(text)
    redacted = redact_text(plain, is_cut=is_cut)
    return text if redacted == plain else html.escape(redacted)
