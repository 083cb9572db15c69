"""What happened in perfguard, told to whoever listens.

``throttle_decided``
    Sent after each decision of the gate, also a refusal. ``sender`` is the gate's
    class, ``identities`` a tuple of strings, ``verdict`` a
    :class:`perfguard.throttling.windows.Verdict`.

``circuit_changed``
    Sent when a Redis server is found to be away or back. ``sender`` is the
    circuit's class, ``server`` its address, ``is_open`` a bool, ``error`` the
    exception that opened it (``None`` when it closes).
"""

from __future__ import annotations

from django.dispatch import Signal

throttle_decided = Signal()
circuit_changed = Signal()
