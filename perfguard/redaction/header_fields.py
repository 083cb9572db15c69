"""Headers without the secrets in them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

from django.core.signals import setting_changed

from perfguard.conf import conf
from perfguard.redaction.names import LONGEST_CACHED, is_secret
from perfguard.redaction.patterns import BLANK, redact_text
from perfguard.redaction.urls import redact_urls

SCHEMES = {
    *("basic", "bearer", "digest", "api-key", "apikey", "token", "negotiate", "ntlm"),
    *("hawk", "aws4-hmac-sha256", "jwt", "dpop", "hoba", "mutual", "oauth", "gnap"),
    *("scram-sha-1", "scram-sha-256", "privatetoken", "vapid", "concealed"),
}
ATTRIBUTES = {
    *("path", "domain", "expires", "max-age", "samesite", "priority", "secure"),
    *("httponly", "partitioned", "version", "comment"),
}
# Lists of names and flags, whatever their own names say.
NO_SECRETS = {
    *("access-control-request-headers", "access-control-expose-headers", "vary"),
    *("access-control-allow-headers", "access-control-allow-credentials", "trailer"),
}
PUBLIC_KEYS = {"idempotency-key", "sec-websocket-key", "surrogate-key", "cache-key"}
# A challenge has no secret, but for these two, whose blob is a part of a handshake.
HANDSHAKE = re.compile(r"(?i)\b((?:negotiate|ntlm)[ \t]++)[^\s,]++")
# A subprotocol: "graphql-transport-ws", "v1.kernel.websocket.jupyter.org", "mqttv3.1".
NAME = r"[a-zA-Z]{0,16}+\d{0,2}+[a-z]?+"
PROTOCOL = re.compile(rf"{NAME}(?:[._+/-]{NAME}){{0,7}}")


def redact_headers(pairs: Iterable[tuple[str, str]]) -> str:
    """A JSON object; the value of a header that came twice is a list."""
    headers: dict[str, list[str]] = {}
    for name, value in pairs:
        # A client chooses how long a name is, and how many there are.
        shown, redact = (_field if len(name) <= LONGEST_CACHED else _read)(name)
        headers.setdefault(shown, []).append(redact(value))
    single = {
        name: values[0] if len(values) == 1 else values
        for name, values in headers.items()
    }
    return json.dumps(single, ensure_ascii=False)


@lru_cache(maxsize=1024)
def redact_agent(text: str) -> str:
    """A User-Agent, of which there are few."""
    return redact_text(text)


def _read(name: str) -> tuple[str, Callable[[str], str]]:
    """The name as it is shown, and what redacts its values."""
    name = name.lower()
    return redact_text(name), _redactor(name)


_field = lru_cache(maxsize=1024)(_read)


def _redactor(name: str) -> Callable[[str], str]:
    known = BY_NAME.get(name)
    if known:
        return known
    if name in NO_SECRETS:
        return str
    return _credentials if _is_secret(name) or name in _own_names() else _text


def _is_secret(name: str) -> bool:
    bare = name.removeprefix("x-")
    is_key = bare.endswith("-key") and bare not in PUBLIC_KEYS
    return is_key or is_secret(name) or is_secret(bare)


def _own_names() -> set[str]:
    given = (conf.API_KEYS_HEADER, conf.TRUSTED_SECRET_HEADER)
    names = (name.lower().replace("_", "-") for name in given if name)
    return {name.removeprefix("http-") for name in names}


def _text(value: str) -> str:
    return redact_urls(value) if "?" in value else redact_text(value)


def _challenge(value: str) -> str:
    return HANDSHAKE.sub(rf"\1{BLANK}", value)


def _credentials(value: str) -> str:
    scheme, blank, _ = value.strip().partition(" ")
    is_scheme = blank and scheme.lower() in SCHEMES
    return f"{scheme} {BLANK}" if is_scheme else BLANK


def _cookies(value: str) -> str:
    return "; ".join(map(_cookie, value.split(";")))


def _cookie(piece: str) -> str:
    name, equals, _ = piece.strip().partition("=")
    return f"{redact_text(name)}={BLANK}" if equals else BLANK


def _set_cookie(value: str) -> str:
    cookie, *attributes = value.split(";")
    return "; ".join([_cookie(cookie), *map(_attribute, attributes)])


def _attribute(piece: str) -> str:
    piece = piece.strip()
    name, _, value = piece.partition("=")
    # Two cookies that were joined by a comma have an equals sign in between.
    if name.strip().lower() in ATTRIBUTES and "=" not in value:
        return redact_text(piece)
    return _cookie(piece) if piece else ""


def _subprotocols(value: str) -> str:
    """What follows "perfguard.bearer" or the like is a token, and so is what does not
    look like the name of a protocol."""
    words = [word.strip() for word in value.split(",")]
    return ", ".join(map(_subprotocol, ["", *words], words))


def _subprotocol(before: str, word: str) -> str:
    is_name = not is_secret(before) and PROTOCOL.fullmatch(word)
    return redact_text(word) if is_name else BLANK


BY_NAME: Mapping[str, Callable[[str], str]] = {
    "cookie": _cookies,
    "set-cookie": _set_cookie,
    "sec-websocket-protocol": _subprotocols,
    **dict.fromkeys(
        ("www-authenticate", "proxy-authenticate", "authentication-info"), _challenge
    ),
    **dict.fromkeys(
        (
            *("location", "content-location", "referer", "origin", "link", "refresh"),
            *("destination", "sourcemap", "x-original-url", "x-rewrite-url"),
            *("x-forwarded-uri", "x-original-uri", "x-forwarded-path"),
        ),
        redact_urls,
    ),
}


def _reload(*, setting: str, **kwargs: Any) -> None:
    if setting == "PERFGUARD":
        _field.cache_clear()
        redact_agent.cache_clear()


setting_changed.connect(_reload, dispatch_uid="perfguard.redaction.header_fields")
