"""Which names say that their value is a secret."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Any

from django.core.signals import setting_changed

from perfguard.conf import conf
from perfguard.redaction.look_alikes import fold

LONGEST_CACHED = 128  # characters; a client chooses how long a name is

# Words are joined by "_" here, and one that was written in two parts is the same.
# Everywhere in a name: no other word holds them.
STEMS = (
    *("pass_?w[o0]?r?d", "pass_?phrase", "pass_?code", "passwort", "kennwort"),
    *("wachtwoord", "contrasena", "mot_?de_?passe", "senha(?![^\\W\\d_])"),
    *("credential", "secret(?!ar|ion|ive|e)", "api_?key", "private_?key"),
    *("authori[sz]ation", "csrf", "xsrf", "jwt", "signature", "sess(?:ion)?_?id$"),
)
# At the end of a word.
ENDS = (
    *("tokens?", "pwd", "pass_?wds?", "ass?ertion"),
    "(?:secret|signing|encryption|decryption|access|auth|session|shared|master|licen[cs]e"
    "|ssh|gpg|hmac|service|account|storage|deploy|webhook|client|consumer|app|wpa"
    "|recovery|security|subscription|application)_?keys?",
    "(?:security|verification|one_?time|auth|recovery|backup|reset|mfa|tfa|2fa|sms|otp"
    "|pin|login|factor|activation|confirmation|device)_?codes?",
    "(?:card|cc|social_?security|bank_?account|iban)_?(?:number|num|no)",
    *("credit_?cards?", "debit_?cards?", "security_?(?:answer|number)s?", "cvv", "cvc"),
    *("code_?verifier", "seed_?phrase", "recovery_?phrase", "connection_?string"),
    *(
        "saml_?(?:response|request|art)",
        "(?:user|db|smtp|mail|root|admin|ftp|new|old)_?pass",
    ),
)
# As words of their own alone.
WORDS = (
    *("pin", "pins", "otp", "totp", "hotp", "csc", "cvn", "ssn", "pw", "psw", "psk"),
    *("bearer", "hmac", "mnemonic", "cookies?", "dsn"),
)
# As the whole name alone. The first two are simplejwt's.
WHOLE = (
    *("access", "refresh", "auth", "pass_?\\d*", "iban", "sig", "sid", "session"),
    *("mfa", "2fa"),
)
# Names that are secret in URLs alone: elsewhere an error has a code, and an item a key.
IN_URLS = frozenset({"code", "key", "ticket"})

LETTER = r"[^\W\d_]"
SECRET = re.compile(
    f"(?:{'|'.join(STEMS)})"
    f"|(?:{'|'.join(ENDS)})(?!{LETTER})"
    f"|(?<!{LETTER})(?:{'|'.join(WORDS)})(?!{LETTER})"
    f"|^(?:{'|'.join(WHOLE)})$"
)
STEM = re.compile("|".join(STEMS))

# "token_type" is about a token, and so is all that ends in one of these.
ABOUT = {
    *("type", "types", "count", "limit", "length", "lifetime", "ttl", "expiry"),
    *(
        "expires",
        "expired",
        "expiration",
        "in",
        "at",
        "enabled",
        "disabled",
        "required",
    ),
    *("policy", "algorithm", "alg", "strength", "changed", "updated", "created"),
    *("date", "status", "endpoint", "days", "minutes", "seconds", "usage"),
    *("validators", "supported", "method", "methods"),
}
# "max_tokens" counts the tokens of a language model.
COUNTING = {
    *("max", "min", "used", "total", "prompt", "completion", "input", "output", "num"),
    *("number", "count", "cached", "reasoning", "remaining", "per", "budget", "usage"),
    *("generated", "new", "details", "estimated", "thinking", "audio", "n"),
}

SEPARATORS = re.compile(r"[\W_]+")
HUMPS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def is_secret(name: str) -> bool:
    """Whether a value of that name is never to be stored."""
    if len(name) > LONGEST_CACHED:
        return _verdict(name)
    return _known(name)


def _verdict(name: str) -> bool:
    plain = SEPARATORS.sub("_", fold(name)).strip("_")
    spelled = _lower(HUMPS.sub("_", plain))
    plain = _lower(plain)
    own = _own_names()
    if own and (own.search(spelled) or own.search(plain)):
        return True
    words = spelled.split("_")
    if words[-1] in ABOUT:
        return False
    if "tokens" in words and not COUNTING.isdisjoint(words):
        spelled = spelled.replace("tokens", "")
    # Humps may be put anywhere: "passWord", "PaSsWoRd".
    return bool(SECRET.search(spelled) or STEM.search(plain))


_known = lru_cache(maxsize=4096)(_verdict)


def _lower(text: str) -> str:
    # The lower case of some letters comes with an accent.
    return fold(text.lower())


@cache
def _own_names() -> re.Pattern[str] | None:
    """Of REDACTED_NAMES: "national_id" is userNationalId-2 as well."""
    spelled = (SEPARATORS.sub("_", fold(name)) for name in conf.REDACTED_NAMES)
    words = (_lower(HUMPS.sub("_", name.strip("_"))) for name in spelled)
    names = ["_?".join(map(re.escape, name.split("_"))) for name in words if name]
    if not names:
        return None
    return re.compile(f"(?<!{LETTER})(?:{'|'.join(names)})(?!{LETTER})")


def _reload(*, setting: str, **kwargs: Any) -> None:
    if setting == "PERFGUARD":
        _own_names.cache_clear()
        _known.cache_clear()


setting_changed.connect(_reload, dispatch_uid="perfguard.redaction.names")
