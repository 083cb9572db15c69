"""Requests on record: who did what, and how it ended."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.core.signals import got_request_exception
from django.http import HttpRequest, StreamingHttpResponse

from perfguard.audit.actors import UNKNOWN, aactor_of, actor_of, known_actor
from perfguard.audit.capture import Capture, capture_stream
from perfguard.audit.entries import ABORTED, COMPLETED, FAILED, Entry
from perfguard.audit.events import current
from perfguard.audit.log import arecord, lost, record, record_later, record_opened
from perfguard.audit.quiet import quiet
from perfguard.audit.receivers import connect_throttles
from perfguard.audit.wanted import level_for
from perfguard.audit.watch import ERROR, Watch
from perfguard.conf import conf
from perfguard.http.actor import Actor
from perfguard.http.middleware import GetResponse, Middleware

logger = logging.getLogger("perfguard.audit")


class AuditMiddleware(Middleware):
    """Outside of what refuses, so that refusals are on record; inside compression and
    Django's authentication. Nothing that goes wrong here changes an answer.
    """

    def __init__(self, get_response: GetResponse) -> None:
        super().__init__(get_response)
        got_request_exception.connect(_note_error, dispatch_uid="perfguard.audit")
        connect_throttles()

    def __call__(self, request: HttpRequest) -> Any:
        if self.is_async:
            return self.__acall__(request)
        if conf.AUDIT_LEVEL == "NONE":
            return self.get_response(request)
        before = current.set(request)
        try:
            return self._audited(request)
        finally:
            current.reset(before)

    def _audited(self, request: HttpRequest) -> Any:
        watch = _watch(request)
        if watch is None:
            return self.get_response(request)
        try:
            response = self.get_response(request)
        except BaseException as error:
            _record_raised(watch, error)
            raise
        try:
            actor = _actor(watch)
            if response.streaming:
                _follow(watch, response, actor)
            else:
                record(watch.entry(actor, response, watch.received(response)))
        except Exception as error:  # noqa: BLE001 - the answer is good
            _say_failed(error)
        return response

    async def __acall__(self, request: HttpRequest) -> Any:
        if conf.AUDIT_LEVEL == "NONE":
            return await self.get_response(request)
        before = current.set(request)
        try:
            return await self._aaudited(request)
        finally:
            current.reset(before)

    async def _aaudited(self, request: HttpRequest) -> Any:
        watch = _watch(request)
        if watch is None:
            return await self.get_response(request)
        try:
            response = await self.get_response(request)
        except BaseException as error:
            _record_raised(watch, error)
            raise
        try:
            actor = await _aactor(watch)
            if response.streaming:
                _follow(watch, response, actor)
            else:
                await arecord(watch.entry(actor, response, watch.received(response)))
        except Exception as error:  # noqa: BLE001 - the answer is good
            _say_failed(error)
        return response


def _watch(request: HttpRequest) -> Watch | None:
    level = level_for(request)
    try:
        return Watch(request, level) if level else None
    except Exception as error:  # noqa: BLE001 - of a request that is no usual one
        _say_failed(error)
        return None


def _actor(watch: Watch) -> Actor:
    try:
        return actor_of(watch.request)
    except Exception:  # noqa: BLE001 - of any session store, user model or database
        return UNKNOWN


async def _aactor(watch: Watch) -> Actor:
    try:
        return await aactor_of(watch.request)
    except Exception:  # noqa: BLE001 - as above
        return UNKNOWN


def _follow(watch: Watch, response: StreamingHttpResponse, actor: Actor) -> None:
    """The entry of a stream is made when it ends; one that is on record before says
    what is true if the process is killed until then."""
    received = Capture(keeps=watch.keeps_response)
    if conf.AUDIT_DURABILITY == "spool":
        opened = watch.entry(actor, response, None, ABORTED, "ProcessEnded")
        record_opened(opened._replace(duration_us=None))
    # To HEAD no server reads a stream.
    is_head = watch.request.method == "HEAD"

    def ended(outcome: str, error: str) -> None:
        if outcome == COMPLETED or (is_head and outcome == ABORTED):
            outcome = ""  # as the status says
        _safely(lambda: watch.entry(actor, response, received, outcome, error))

    capture_stream(response, received, ended)


def _record_raised(watch: Watch, error: BaseException) -> None:
    """Of a client that left, or of what a middleware raised."""
    outcome = FAILED if isinstance(error, Exception) else ABORTED
    # On the loop nobody can be asked, and the task is being cancelled.
    actor = known_actor(watch.request) or UNKNOWN
    name = type(error).__name__
    _safely(lambda: watch.entry(actor, None, None, outcome, name))


def _safely(make: Callable[[], Entry]) -> None:
    try:
        record_later(make())
    except Exception as error:  # noqa: BLE001 - see the middleware
        _say_failed(error)


def _say_failed(error: Exception) -> None:
    kind = type(error).__name__
    # Once a minute. The error's text may quote the request.
    if quiet.begins(kind):
        logger.error("An audit entry could not be made: %s.", kind)
    with suppress(Exception):  # nobody is left to tell
        lost("not made")


def _note_error(sender: Any, request: Any = None, **kwargs: Any) -> None:
    kind = sys.exc_info()[0]
    if request is not None and kind is not None:
        setattr(request, ERROR, f"{kind.__module__}.{kind.__qualname__}")
