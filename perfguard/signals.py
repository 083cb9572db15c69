"""What happened in perfguard, told to whoever listens.

``throttle_decided``
    Sent after each decision of the gate, also a refusal. ``sender`` is the gate's
    class, ``identities`` a tuple of strings, ``verdict`` a
    :class:`perfguard.throttling.windows.Verdict`.

``circuit_changed``
    Sent when a Redis server is found to be away or back. ``sender`` is the
    circuit's class, ``server`` its address, ``is_open`` a bool, ``error`` the
    exception that opened it (``None`` when it closes).

``credential_refused``
    Sent when a credential was presented and refused. ``sender`` is the class that
    refused it, ``request`` the HttpRequest or None, ``kind`` "token", "api_key",
    "trusted_header", "password" or "ticket", ``code`` a word that says why,
    ``user_key`` the user's id as text, empty when it is not known.

``token_revoked``
    Sent after a revocation was committed to the journal. ``kind`` is "token",
    "session" or "user" (all that the user has), ``user_key`` the user's id as text,
    ``marker`` the ``jti``, the ``sid`` or the new generation, ``reason`` a word, ``by``
    the id, as text, of whoever did it, or empty.

``token_reused``
    Sent when a refresh token came back after it had been rotated, so that its session
    was ended: ``user_key`` and ``sid``.

``api_key_changed``
    Sent after a change was committed. ``key_id`` is the public part of the API key,
    ``change`` "created", "rotated", "revoked" or "restricted", ``user_key`` its
    owner's id as text, ``by`` as above.

``user_signed_in``
    Sent after a pair of tokens was issued: ``user``, ``request`` (or None), ``method``
    "password" or "trusted_header", ``sid``.

``stream_started``
    Sent when a request is given an event stream. ``request``, and ``identity``, whom
    the stream is counted for.

``stream_ended``
    Sent once for each of these, when the response is done with: ``request``,
    ``outcome`` ("finished" by its source, "failed", "left" by the client, "drain",
    "lifetime", "revoked", "unverifiable"), ``events``, how many messages were sent, and
    ``seconds``. Receivers of both must be quick: under ASGI they may be on the loop.
"""

from __future__ import annotations

from django.dispatch import Signal

throttle_decided = Signal()
circuit_changed = Signal()

credential_refused = Signal()
token_revoked = Signal()
token_reused = Signal()
api_key_changed = Signal()
user_signed_in = Signal()

stream_started = Signal()
stream_ended = Signal()

audit_recorded = Signal()
audit_entries_dropped = Signal()
