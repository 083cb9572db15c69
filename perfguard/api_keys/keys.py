"""The text of an API key, and what of it is stored.

The text is ``pgk_<id>_<secret><checksum>`` in base 62: 12 characters of a public id, 43
of a secret of 256 bits, and 6 of a CRC-32 over all before it. The checksum lets garbage
be refused without a look-up, and lets scanners of leaked secrets be sure of a find.

What is stored is ``v1$<SHA-256>``, or ``v2$<pepper id>$<HMAC-SHA-256>`` where
``API_KEYS_PEPPER`` is set. A slow hash would gain nothing: nobody guesses 256 bits.
"""

from __future__ import annotations

import hmac
import re
import secrets
import string
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from zlib import crc32

from perfguard.conf import conf
from perfguard.exceptions import InvalidCredential

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
ID_LENGTH = 12  # 71 bits
SECRET_LENGTH = 43
SECRET_BITS = 256
CHECKSUM_LENGTH = 6
BODY = re.compile(
    rf"([0-9A-Za-z]{{{ID_LENGTH}}})_([0-9A-Za-z]{{{SECRET_LENGTH}}})"
    rf"([0-9A-Za-z]{{{CHECKSUM_LENGTH}}})"
)
BODY_LENGTH = ID_LENGTH + 1 + SECRET_LENGTH + CHECKSUM_LENGTH


@dataclass(frozen=True, slots=True)
class Credential:
    """The two parts of an API key."""

    key_id: str
    secret: str = field(repr=False)


def generate() -> Credential:
    key_id = "".join(secrets.choice(ALPHABET) for _ in range(ID_LENGTH))
    return Credential(key_id, _base62(secrets.randbits(SECRET_BITS), SECRET_LENGTH))


def as_text(credential: Credential) -> str:
    """What the client sends. It is shown once."""
    start = f"{conf.API_KEYS_PREFIX}_{credential.key_id}_{credential.secret}"
    return start + _checksum(start)


def parse(text: str) -> Credential:
    """Raises InvalidCredential, with the code "malformed", for anything that
    ``as_text`` did not make. Asks nobody."""
    prefix = f"{conf.API_KEYS_PREFIX}_"
    # The length first: an attacker chooses how long the text is.
    if len(text) == len(prefix) + BODY_LENGTH and text.startswith(prefix):
        found = BODY.fullmatch(text, len(prefix))
        if found and _checksum(text[:-CHECKSUM_LENGTH]) == found[3]:
            return Credential(found[1], found[2])
    raise InvalidCredential("This is no API key.", "malformed")


def _checksum(text: str) -> str:
    return _base62(crc32(text.encode()), CHECKSUM_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


# -- what is stored --------------------------------------------------------------------


def hashed(credential: Credential) -> str:
    """In the newest form that the settings allow."""
    pepper = conf.API_KEYS_PEPPER
    if pepper:
        return f"v2${_pepper_id(pepper)}${_hmac(credential, pepper)}"
    return f"v1${sha256(_message(credential)).hexdigest()}"


def is_good(credential: Credential, stored: str) -> bool:
    """Whether the secret is the one that was stored, in whatever form.

    It takes as long for the right secret as for a wrong one.
    """
    version, _, _ = stored.partition("$")
    # What was stored before there was a pepper is good until it is upgraded.
    expected = (
        f"v1${sha256(_message(credential)).hexdigest()}"
        if version == "v1"
        else hashed(credential)
    )
    return hmac.compare_digest(expected.encode(), stored.encode())


def is_outdated(stored: str) -> bool:
    """Whether ``hashed`` would give another form."""
    return stored.startswith("v1$") == bool(conf.API_KEYS_PEPPER)


def dummy() -> str:
    """A stored form that no secret fits, to be compared with where there is none."""
    return _dummy(conf.API_KEYS_PEPPER)


@lru_cache(maxsize=4)
def _dummy(pepper: str) -> str:
    return hashed(generate())


@lru_cache(maxsize=4)
def _pepper_id(pepper: str) -> str:
    """Tells one pepper from another, and nothing else of it."""
    return hmac.new(pepper.encode(), b"pepper id", sha256).hexdigest()[:8]


def _hmac(credential: Credential, pepper: str) -> str:
    return hmac.new(pepper.encode(), _message(credential), sha256).hexdigest()


def _message(credential: Credential) -> bytes:
    # With the id: a hash that is copied to another row is worth nothing there.
    return f"{credential.key_id}_{credential.secret}".encode()
