"""Every error that perfguard raises, in one tree.

::

    PerfguardError
    +-- InvalidSetting    (also ImproperlyConfigured) a value of PERFGUARD is wrong
    |   +-- InvalidRate   (also ValueError)           text that is no rate
    |   +-- UnknownScope  (also LookupError)          no rate is set for a scope
    |   +-- InvalidLifetime (also ValueError)         text that is no lifetime
    +-- InvalidCredential                             what a request presents is no good
    +-- TruthUnavailable                              neither Redis nor the database
    +-- InvalidEvent      (also ValueError)           what no event stream can carry
    +-- InvalidParameter  (also ValueError, BadRequest)  of a request: an answer of 400
    +-- RedisUnavailable  (also ConnectionError)      Redis cannot answer just now
        +-- SlotsDiffer                               one call, keys of several slots
"""

from __future__ import annotations

from django.core.exceptions import BadRequest, ImproperlyConfigured


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


class InvalidLifetime(InvalidSetting, ValueError):
    """The text is not a lifetime; the message lists what is allowed."""


class InvalidCredential(PerfguardError):
    """A token, an API key or a trusted header that is malformed, unknown, expired or
    revoked. ``code`` is a word for machines; the message holds no secret."""

    def __init__(self, message: str, code: str = "invalid") -> None:
        super().__init__(message)
        self.code = code


class TruthUnavailable(PerfguardError):
    """Whether a credential is revoked cannot be known just now: answer 503."""


class InvalidEvent(PerfguardError, ValueError):
    """What a source gave is no event; the message does not quote its data."""


class InvalidParameter(PerfguardError, BadRequest, ValueError):
    """A request's parameter is wrong. Where nobody catches it Django answers 400."""
