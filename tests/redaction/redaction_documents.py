"""Random documents of each kind, in which a secret is planted, for Hypothesis.

What is innocent is written in small letters, and a secret begins with "Q" and holds a
"Z": so that six of its characters are found in a result only when it leaked.
"""

from __future__ import annotations

import json
from html import escape
from urllib.parse import quote, quote_plus

from hypothesis import strategies as st

NAMES = st.sampled_from(
    [
        *("password", "userPassword", "new_password", "password-confirm", "PASSWORD1"),
        *(
            "access_token",
            "refreshToken",
            "apiKey",
            "client_secret",
            "csrfmiddlewaretoken",
        ),
        *("sessionid", "otp", "pin", "cvv", "cardNumber", "private_key", "passphrase"),
        *("hashed_secret", "jwt", "x-signature", "p\u0430ssword", "pass\u200bword"),
    ]
)
PLAIN_NAMES = NAMES.filter(str.isascii)
WORDS = st.text("abcdefghij", min_size=1, max_size=6)
ALPHABETS = (
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")),
    st.sampled_from("\"'\\&%=+;<> ,:{}[]/#?@"),
    st.sampled_from("ABXYZ0123456789"),
    st.sampled_from("äßжЩ漢字🔑é"),
)
TOKEN_LETTERS = st.sampled_from("ABXYZ0123456789-._~")


def _secret(text):
    return f"Q{text[0]}Z{text[1:]}"


SECRETS = st.one_of([st.text(letters, min_size=6) for letters in ALPHABETS]).map(
    _secret
)
TOKENS = st.text(TOKEN_LETTERS, min_size=10).map(_secret)

SCALARS = st.one_of(WORDS, st.integers(), st.booleans(), st.none())
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3)
    ),
    max_leaves=8,
)


def _wrapped(secret):
    """As a value may hold it."""
    return st.sampled_from(
        [secret, [secret], {"a": secret}, [{"a": [1, secret]}, 2], {secret: 1}]
    )


@st.composite
def members(draw, secret):
    """An object with the secret in it, as a list of names and values."""
    name = draw(NAMES)
    planted = draw(
        st.sampled_from(
            [
                [(name, draw(_wrapped(secret)))],
                [("name", name), ("value", secret)],
                [("value", secret), ("key", name)],
                [("text", json.dumps({"a": [{name: secret}]}))],
                [("op", "replace"), ("value", [secret]), ("path", f"/a/0/{name}")],
            ]
        )
    )
    pairs = draw(st.lists(st.tuples(WORDS, VALUES), max_size=3))
    at = draw(st.integers(0, len(pairs)))
    return pairs[:at] + planted + pairs[at:]


@st.composite
def json_texts(draw, secret):
    escaped = draw(st.booleans())
    blank = draw(st.sampled_from(["", " ", "\n\t"]))
    text = _object(draw(members(secret)), escaped=escaped, blank=blank)
    for _ in range(draw(st.integers(0, 3))):
        text = draw(st.sampled_from([f"[1, {text}]", f'{{"a": {text}, "b": "c"}}']))
    return text


def _object(pairs, *, escaped, blank):
    """Also with names that come twice."""
    inner = ",".join(
        f"{blank}{_string(name, escaped)}{blank}:{_any(value, escaped)}"
        for name, value in pairs
    )
    return f"{{{inner}{blank}}}"


def _any(value, escaped):
    if isinstance(value, str):
        return _string(value, escaped)
    return json.dumps(value, ensure_ascii=escaped)


def _string(text, escaped):
    if not escaped:
        return json.dumps(text, ensure_ascii=False)
    units = text.encode("utf-16-be", "surrogatepass").hex()
    return (
        '"' + "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4)) + '"'
    )


def _all_percent(text):
    return "".join(f"%{byte:02x}" for byte in text.encode())


ENCODERS = st.sampled_from([quote_plus, quote, _all_percent])


@st.composite
def pairs_texts(draw, secret):
    """Of a form or of a query string."""
    encode = draw(ENCODERS)
    name = draw(NAMES)
    name = draw(st.sampled_from([name, f"user[{name}]", f"a.{name}", f"{name}[]"]))
    planted = draw(
        st.sampled_from(
            [
                f"{encode(name)}={encode(secret)}",
                f"{encode('payload')}={encode(json.dumps({name: secret}))}",
            ]
        )
    )
    pairs = [f"{a}={b}" for a, b in draw(st.lists(st.tuples(WORDS, WORDS), max_size=3))]
    at = draw(st.integers(0, len(pairs)))
    return "&".join([*pairs[:at], planted, *pairs[at:]])


@st.composite
def multipart_texts(draw, secret):
    name = draw(NAMES)
    parts = [
        _part(a, b) for a, b in draw(st.lists(st.tuples(WORDS, WORDS), max_size=3))
    ]
    parts.append(
        _part("photo", "bytes", '; filename="a.png"\r\nContent-Type: image/png')
    )
    planted = [
        _part(name, secret),
        _part("json", json.dumps({name: secret}), "\r\nContent-Type: application/json"),
        _part("key_file", secret, '; filename="a.pem"'),
    ]
    at = draw(st.integers(0, len(parts)))
    parts.insert(at, draw(st.sampled_from(planted)))
    return "".join(parts) + "--limit--\r\n"


def _part(name, value, more=""):
    head = f'--limit\r\nContent-Disposition: form-data; name="{name}"{more}'
    return f"{head}\r\n\r\n{value}\r\n"


@st.composite
def xml_texts(draw, secret):
    name = draw(PLAIN_NAMES)
    text, value = escape(secret), escape(secret)
    planted = draw(
        st.sampled_from(
            [
                f"<{name}>{text}</{name}>",
                f"<ns:{name} a='b'><c>{text}</c></ns:{name}>",
                f"<{name}><{name}>x</{name}>{text}</{name}>",
                f'<c d="e" {name}="{value}"/>',
                f'<add key="{name}" value="{value}"/>',
                f'<input value="{value}" type="text" name="{name}">',
                f'<field name="{name}">{text}</field>',
                f"<{name}><![CDATA[{secret.replace(']]>', '')}]]></{name}>",
            ]
        )
    )
    before, after = draw(WORDS), draw(WORDS)
    return f'<?xml version="1.0"?><a><!-- {before} -->{before}{planted}{after}</a>'


@st.composite
def event_texts(draw, secret):
    text = draw(json_texts(secret))
    data = "\n".join(f"data: {line}" for line in text.split("\n"))
    return f"id: 1\nevent: a\n{data}\n\n: idle\n\ndata: b\n\n"


@st.composite
def line_texts(draw, secret):
    text = " ".join(draw(json_texts(secret)).split("\n"))
    return f'{{"a": 1}}\n{text}\n{{"b": "c"}}\n'


@st.composite
def plain_texts(draw, secret):
    """The secret has no blanks and no quotes."""
    name = draw(PLAIN_NAMES)
    planted = draw(
        st.sampled_from(
            [
                f"{name}={secret}",
                f"{name}: {secret}",
                f"'{name}' => '{secret}'",
                f'{{"{name}": "{secret}", "a": 1',
                f'\\"{name}\\":\\"{secret}\\"',
                f"Bearer {secret}",
                f"Authorization: Bearer {secret}",
                f"Api-Key {secret}",
                f"postgres://user:{secret}@host/a",
                f"https://host/a?b=c&{name}={secret}&d=e",
                f"-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----",
                f"ghp_{secret.translate(LETTERS)}0123456789ab",
                f"sk-{secret.translate(LETTERS)}0123456789ab",
                f"eyJhbGciOiJIUzI1NiJ9.{secret.translate(LETTERS)}",
            ]
        )
    )
    return f"{draw(WORDS)} {planted} {draw(WORDS)}"


LETTERS = str.maketrans("-._~", "abcd")

DOCUMENTS = {
    "application/json": (SECRETS, json_texts),
    "application/problem+json; charset=zlib": (SECRETS, json_texts),
    "application/x-ndjson": (SECRETS, line_texts),
    "application/x-www-form-urlencoded": (SECRETS, pairs_texts),
    "multipart/form-data; boundary=limit": (SECRETS, multipart_texts),
    "text/xml": (SECRETS, xml_texts),
    "text/event-stream": (SECRETS, event_texts),
    "text/plain": (TOKENS, plain_texts),
    "application/octet-stream": (SECRETS, json_texts),
}


def forms_of(secret):
    """Six characters of it, however they were written."""
    begun = secret[:6]
    return {
        begun,
        begun.translate(LETTERS),
        json.dumps(begun)[1:-1],
        json.dumps(begun, ensure_ascii=False)[1:-1],
        quote(begun),
        quote_plus(begun),
        escape(begun),
        _all_percent(begun),
        _string(begun, escaped=True)[1:-1],
    }
