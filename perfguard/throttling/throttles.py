"""Throttles for DRF, with DRF's own names: change the import, keep the settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, ClassVar, cast

from django.http import HttpRequest
from django.utils.translation import gettext_lazy
from rest_framework.exceptions import APIException, ParseError
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from perfguard.conf import conf
from perfguard.exceptions import InvalidCredential, InvalidSetting
from perfguard.http.trusted_header import trusted_email
from perfguard.throttling.answers import header_fields
from perfguard.throttling.gate import gate
from perfguard.throttling.identity import (
    account_identity,
    address_identity,
    user_identity,
)
from perfguard.throttling.plans import Scope, scope_named
from perfguard.throttling.requests import Ask, Record, ask, record_of
from perfguard.throttling.windows import Window


class ThrottleUnavailable(APIException):
    """503: a scope with ``on_redis_failure="refuse"``, and Redis is away."""

    status_code = 503
    default_code = "throttle_unavailable"
    default_detail = gettext_lazy(
        "Limits cannot be checked just now. Try again in a moment."
    )

    def __init__(self, wait: int) -> None:
        super().__init__()
        self.wait = wait  # DRF's exception handler makes it Retry-After


class SimpleRateThrottle(BaseThrottle):
    """Override ``get_identity``, or DRF's ``get_cache_key``; None lets a request pass.

    scope: a name of ``THROTTLE_RATES``, or of DRF's ``DEFAULT_THROTTLE_RATES``.
    rate: used instead of the scope's, in any form that ``THROTTLE_RATES`` allows.
    cost: hits that a request counts for; override ``get_cost`` where it varies.

    The first throttle of a view asks for all of them, in one call: a request that
    one of them refuses is counted by none.
    """

    scope: str | None = None
    rate: Any = None
    THROTTLE_RATES: Mapping[str, Any] | None = None
    cost = 1
    cache_format = "throttle_%(scope)s_%(ident)s"
    _by_cache_key: ClassVar[bool] = False
    _unreadable: APIException | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # The nearest of the two that a subclass writes is the one it means.
        if "get_identity" in vars(cls):
            cls._by_cache_key = False
        elif "get_cache_key" in vars(cls):
            cls._by_cache_key = True

    def allow_request(self, request: Request, view: Any) -> bool:
        self._refusing: list[Window] = []
        asks = self.asks(request, view)
        if not asks:
            return True
        record = record_of(_http(request))
        if not record.answers(asks):
            record.decide(_asks_of_view(request, view, self, asks))
            _put_fields(view, record)
        if record.refused is None:
            return self._read()
        self._refusing = record.refusing(asks)
        if self._refusing and (away := record.unavailable):
            raise ThrottleUnavailable(away.retry_after)
        return not self._refusing and self._read()

    def _read(self) -> bool:
        """True, once a body that could not be read has been counted all the same."""
        if self._unreadable is not None:
            raise self._unreadable
        return True

    def wait(self) -> float | None:
        """Seconds until this throttle would allow the request."""
        return max((each.reset_after for each in self._refusing), default=None)

    def asks(self, request: Request, view: Any) -> list[Ask]:
        """What the gate is asked for this request."""
        scope = self.get_scope(view)
        if scope is None:
            return []
        by_key = self._by_cache_key
        identify = self.get_cache_key if by_key else self.get_identity
        identity = identify(request, view)
        return [] if not identity else [ask(identity, scope, self.get_cost(request))]

    def get_scope(self, view: Any) -> Scope | None:
        """The scope and its rates; None lets the request pass."""
        if type(self).get_rate is not SimpleRateThrottle.get_rate:
            rate = self.get_rate()
        elif self.rate is None and self.THROTTLE_RATES is None and self.scope:
            return scope_named(self.scope)
        else:
            rate = self.get_rate()
        return _own_scope(self.scope or type(self).__name__, _frozen(rate))

    def get_rate(self) -> Any:
        """As DRF's: the class's own rate, else that of its scope."""
        if self.rate is not None:
            return self.rate
        rates = self.THROTTLE_RATES
        if self.scope is None or rates is None or self.scope not in rates:
            raise InvalidSetting(
                f"{type(self).__name__} has neither a rate nor a scope with one."
            )
        return rates[self.scope]

    def get_identity(self, request: Request, view: Any) -> str | None:
        raise NotImplementedError(".get_identity() must be overridden")

    def get_cache_key(self, request: Request, view: Any) -> str | None:
        """DRF's key, for subclasses that extend or replace it."""
        identity = self.get_identity(request, view)
        if identity is None:
            return None
        return self.cache_format % {"scope": self.scope, "ident": identity}

    def get_cost(self, request: Request) -> int:
        return self.cost

    def get_ident(self, request: Request) -> str:
        """The address, behind ``TRUSTED_PROXIES``; ``NUM_PROXIES`` is not used."""
        return address_identity(_http(request))


class AnonRateThrottle(SimpleRateThrottle):
    """Requests without a user, by address."""

    scope = "anon"

    def get_identity(self, request: Request, view: Any) -> str | None:
        # DRF's UNAUTHENTICATED_USER may be None.
        user: Any = request.user
        if user and user.is_authenticated:
            return None
        return self.get_ident(request)


class UserRateThrottle(SimpleRateThrottle):
    """Users by their key, requests without one by address."""

    scope: str | None = "user"

    def get_identity(self, request: Request, view: Any) -> str | None:
        user: Any = request.user
        if user and user.is_authenticated:
            return user_identity(user.pk)
        return self.get_ident(request)


class ScopedRateThrottle(UserRateThrottle):
    """As UserRateThrottle, under the scope that the view names in
    ``throttle_scope``; a view without one is not throttled."""

    scope: str | None = None
    scope_attr = "throttle_scope"

    def get_scope(self, view: Any) -> Scope | None:
        self.scope = getattr(view, self.scope_attr, None)
        return super().get_scope(view) if self.scope else None


class ApiKeyThrottle(SimpleRateThrottle):
    """Requests that an API key signed in, by key: at the key's own rate, else at that
    of the scope. Beside the throttles of users, which count the key's owner."""

    scope = "api_key"

    def asks(self, request: Request, view: Any) -> list[Ask]:
        key_id = getattr(request.auth, "key_id", None)
        if key_id is None:
            return []
        rate = getattr(request.auth, "rate", "")
        scope = _own_scope("api_key", rate) if rate else self.get_scope(view)
        cost = self.get_cost(request)
        return [] if scope is None else [ask(f"key:{key_id}", scope, cost)]


class SignInThrottle(SimpleRateThrottle):
    """Sign-in attempts by account, and by address, before any credential work.

    The body names the account in one of ``account_fields``; one that has several
    counts for each, as the view alone knows which it reads. A body without any, or
    one that cannot be read, counts for the address alone.
    """

    scope = "sign_in"
    address_scope = "sign_in_address"
    account_fields: Sequence[str] = ("email", "username")

    def asks(self, request: Request, view: Any) -> list[Ask]:
        asks = [ask(self.get_ident(request), scope_named(self.address_scope))]
        scope = self.get_scope(view)
        if scope is not None:
            asks += [ask(account, scope) for account in self.get_accounts(request)]
        return asks

    def get_accounts(self, request: Request) -> list[str]:
        """Identities of the accounts that a trusted header names, else the body."""
        with suppress(InvalidCredential):
            if email := trusted_email(_http(request)):
                return [account_identity(email)]
        try:
            body: Any = request.data
        except APIException as error:
            self._unreadable = error
            return []
        except RecursionError:
            self._unreadable = ParseError("The body is nested too deeply.")
            return []
        fields = self.account_fields if isinstance(body, Mapping) else ()
        names = [body[each] for each in fields if each in body]
        # DRF's CharField takes numbers as their text.
        texts = [
            str(name)
            for name in names
            if isinstance(name, str | int | float) and not isinstance(name, bool)
        ]
        return list(dict.fromkeys(map(account_identity, texts)))

    def signed_in(self, request: Request) -> None:
        """To be called after a good sign-in: empties the account's window where
        ``THROTTLE_SIGN_IN_RESET`` wants it. The address's window stays."""
        if conf.THROTTLE_SIGN_IN_RESET and self.scope:
            for account in self.get_accounts(request):
                gate.reset(account, self.scope)


def _http(request: Any) -> HttpRequest:
    return cast("HttpRequest", getattr(request, "_request", request))


def _asks_of_view(
    request: Request, view: Any, first: SimpleRateThrottle, asks: list[Ask]
) -> list[Ask]:
    """What the view's other throttles will ask, after what the first one asks.

    Not those with an ``allow_request`` of their own, which may let a request pass
    without asking.
    """
    listed = getattr(type(view), "get_throttles", None)
    # DRF's own lists throttle_classes; one of them has no others to ask for.
    if listed is None or (
        listed.__qualname__ == "APIView.get_throttles"
        and len(view.throttle_classes) == 1
    ):
        return asks
    usual = SimpleRateThrottle.allow_request
    others = [
        each
        for throttle in view.get_throttles()
        if isinstance(throttle, SimpleRateThrottle)
        and type(throttle) is not type(first)
        and type(throttle).allow_request is usual
        for each in throttle.asks(request, view)
    ]
    return asks + others


def _put_fields(view: Any, record: Record) -> None:
    # DRF sends what is in view.headers with every answer, also with a 429.
    headers = getattr(view, "headers", None)
    if isinstance(headers, dict):
        headers.update(header_fields(record.verdicts))


def _frozen(rate: Any) -> Any:
    if isinstance(rate, Mapping):
        return tuple((name, _frozen(value)) for name, value in rate.items())
    return tuple(rate) if isinstance(rate, list) else rate


@lru_cache(maxsize=256)
def _own_scope(name: str, rate: Any) -> Scope:
    """A scope that only a throttle class knows; one object for each rate."""
    pairs = isinstance(rate, tuple) and any(isinstance(each, tuple) for each in rate)
    return Scope.read(name, dict(rate) if pairs else rate)
