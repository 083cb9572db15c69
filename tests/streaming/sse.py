"""A client of event streams, as the HTML standard has it: section 9.2.6."""

from __future__ import annotations

import codecs
import re
from collections import deque
from dataclasses import dataclass

import httpx


@dataclass
class Message:
    data: str
    event: str = "message"
    id: str = ""


class Parser:
    def __init__(self):
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self._rest = ""
        self._data, self._event, self.last_id = [], "", ""
        self.comments = 0
        self.retry = None

    def feed(self, chunk):
        self._rest += self._decoder.decode(chunk)
        found = []
        # A CR at the end may be half of a CRLF.
        while match := re.search("\r\n|\n|\r(?=.)", self._rest, flags=re.DOTALL):
            line, self._rest = self._rest[: match.start()], self._rest[match.end() :]
            found += self._line(line)
        return found

    def _line(self, line):
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not name:
            self.comments += 1
        elif name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self.last_id = value
        elif name == "retry" and value.isdecimal():
            self.retry = int(value)
        return []

    def _dispatch(self):
        data, event, self._data, self._event = self._data, self._event, [], ""
        if not data:
            return []
        return [Message("\n".join(data), event or "message", self.last_id)]


def parsed(raw):
    return Parser().feed(raw)


class Listener:
    """One open stream. ``next()`` waits for a message, ``beat()`` for a comment."""

    def __init__(self, url, headers=None, limit=20):
        self._client = httpx.Client(timeout=limit)
        request = self._client.build_request("GET", url, headers=headers)
        self.response = self._client.send(request, stream=True)
        self._chunks = self.response.iter_bytes()
        self.parser = Parser()
        self._found = deque()

    def next(self):
        """None at the end."""
        while not self._found:
            chunk = next(self._chunks, None)
            if chunk is None:
                return None
            self._found.extend(self.parser.feed(chunk))
        return self._found.popleft()

    def rest(self):
        return list(iter(self.next, None))

    def beat(self):
        """Wait for a comment."""
        seen = self.parser.comments
        while self.parser.comments == seen:
            self._found.extend(self.parser.feed(next(self._chunks)))

    def close(self):
        self.response.close()
        self._client.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
