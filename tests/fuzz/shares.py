"""How many requests each part of the fuzz run makes, at the least.

Each test asserts its own share, and one that they add up to what is promised. With
``FUZZ_LONGER=10`` in the environment each is ten times as long.
"""

from __future__ import annotations

import os

LONGER = int(os.environ.get("FUZZ_LONGER", "1"))
PROMISED = 10_000  # requests in the short form
CALLERS = ("nobody", "token", "API key")

BOUNDARIES = (
    400  # of each caller: what schemathesis derives, which is no matter of luck
)
DOCUMENT = 700  # of each caller: what schemathesis draws
HEADERS = 2600
TOKENS = 2600
API_KEYS = 1600
SOCKETS = 500  # over a real socket, with odd headers
PLACES = 400  # with odd paths

SHARES = (
    BOUNDARIES * len(CALLERS),
    DOCUMENT * len(CALLERS),
    HEADERS,
    TOKENS,
    API_KEYS,
    SOCKETS,
    PLACES,
)
