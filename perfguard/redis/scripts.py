"""A Lua script and the bytes that call it."""

from __future__ import annotations

from hashlib import sha1


def bulk(value: bytes) -> bytes:
    """``value`` as a RESP bulk string."""
    return b"$%d\r\n%b\r\n" % (len(value), value)


class Script:
    """A script that is called by its digest, and by its text where Redis lost it."""

    def __init__(self, text: str) -> None:
        source = text.encode()
        # Redis itself names scripts by SHA-1; nothing is secured by it.
        digest = sha1(source, usedforsecurity=False).hexdigest().encode()
        self._by_digest = bulk(b"EVALSHA") + bulk(digest)
        self._by_text = bulk(b"EVAL") + bulk(source)

    def head(self, arguments: int) -> bytes:
        """The start of a command; ``arguments`` counts all that follow the digest."""
        return b"*%d\r\n%b" % (arguments + 2, self._by_digest)

    def with_text(self, command: bytes) -> bytes:
        """The same command, with the whole text instead of the digest."""
        return command.replace(self._by_digest, self._by_text, 1)

    def command(self, keys: list[bytes], args: list[bytes]) -> bytes:
        rest = [b"%d" % len(keys), *keys, *args]
        return self.head(len(rest)) + b"".join(map(bulk, rest))


def packed(*parts: bytes) -> bytes:
    """A command that is no script."""
    return b"*%d\r\n%b" % (len(parts), b"".join(map(bulk, parts)))
