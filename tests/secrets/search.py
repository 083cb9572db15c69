"""Where a planted secret turns up, in whatever form."""

from __future__ import annotations

import base64
import contextlib
import re
import zlib
from urllib.parse import quote


class Secrets:
    """What was planted, by name; and what was issued on the way."""

    def __init__(self, **planted):
        self.known = dict(planted)

    def add_token(self, name, text):
        """A JWT: its claims are nobody's secret, its signature opens the door."""
        self.known[name] = text.rpartition(".")[2]

    def add_key(self, name, text):
        """An API key: all behind the public id."""
        self.known[name] = text.rpartition("_")[2]

    def found_in(self, text, *, but=()):
        """(name, surroundings) of every secret that the text holds."""
        raw = text.encode(errors="surrogateescape") if isinstance(text, str) else text
        return [
            (name, raw[max(0, at - 80) : at + 80])
            for name, secret in self.known.items()
            if name not in but
            for form in forms(secret)
            if (at := raw.find(form)) >= 0
        ]


def forms(secret):
    """As it is, in a URL, in hexadecimal, and in base64 wherever it begins there."""
    raw = secret.encode()
    encoded = [base64.b64encode(b"-" * shift + raw) for shift in range(3)]
    # Without the ends, which depend on what stands beside it.
    inner = [each[4:-4] for each in encoded]
    return {raw, quote(secret, safe="").encode(), raw.hex().encode(), *inner}


def keys_in(page):
    """API keys that a page shows."""
    return re.findall(r"pgk_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}", page)


def readable(text):
    """The text, and what is packed within it: signed cookies and sessions of Django's
    are JSON in base64, compressed where that is shorter."""
    return "\n".join([text, *filter(None, map(_unpacked, PACKED.findall(text)))])


PACKED = re.compile(r"\.?[\w-]{8,}(?=:)")


def _unpacked(part):
    raw = part.lstrip(".").encode()
    with contextlib.suppress(ValueError, zlib.error):
        packed = base64.urlsafe_b64decode(raw + b"=" * (-len(raw) % 4))
        return (zlib.decompress(packed) if part[0] == "." else packed).decode("latin-1")
    return ""
