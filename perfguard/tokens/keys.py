"""Which keys nobody should sign tokens with."""

from __future__ import annotations

# The output of the hash: RFC 7518, section 3.2.
KEY_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
FEWEST = 5  # different characters, as Django's security.W009 has it
# Those of jwt.io that are long enough: they are in the settings of many a project.
SAMPLES = {
    "a-string-secret-at-least-256-bits-long",
    "a-valid-string-secret-that-is-at-least-384-bits-long",
    "a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",
}
PUBLIC = ("-----BEGIN ", "ssh-", "ecdsa-", "{")  # PEM, SSH, JWK


def is_weak(key: object, algorithm: str) -> bool:
    """Whether a secret is shorter than the hash, a sample, or hardly a secret."""
    if algorithm not in KEY_BYTES:
        return False  # not a secret, but a pair of keys
    raw = key if isinstance(key, bytes) else str(key or "").encode(errors="replace")
    return (
        len(raw) < KEY_BYTES[algorithm]
        or len(set(raw)) < FEWEST
        or raw.decode(errors="replace").lower() in SAMPLES
    )


def is_usable(key: object, algorithm: str) -> bool:
    """Whether the text can verify: a public key is no secret (CVE-2022-29217)."""
    if not isinstance(key, str) or not key:
        return False
    return algorithm not in KEY_BYTES or not key.lstrip().startswith(PUBLIC)
