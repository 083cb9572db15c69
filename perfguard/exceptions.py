"""Every error that perfguard raises, in one tree.

::

    PerfguardError
    +-- InvalidSetting    (also ImproperlyConfigured) a value of PERFGUARD is wrong
    |   +-- InvalidRate   (also ValueError)           text that is no rate
    |   +-- UnknownScope  (also LookupError)          no rate is set for a scope
    +-- RedisUnavailable  (also ConnectionError)      Redis cannot answer just now
        +-- SlotsDiffer                               one call, keys of several slots
"""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured


class PerfguardError(Exception):
    """The base of all of them."""


class InvalidSetting(PerfguardError, ImproperlyConfigured):
    """A value of ``PERFGUARD`` is wrong; the message names the setting."""


class InvalidRate(InvalidSetting, ValueError):
    """The text is not a rate; the message lists what is allowed."""


class UnknownScope(InvalidSetting, LookupError):
    """``THROTTLE_RATES`` has no rate for the scope."""


class RedisUnavailable(PerfguardError, ConnectionError):
    """Redis refused, timed out or answered with an error; the cause is chained."""


class SlotsDiffer(RedisUnavailable):
    """One call named keys of several Redis Cluster slots."""
