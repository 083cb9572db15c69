"""A decorator that throttles a plain Django view, sync or async."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from typing import Any, TypeVar, cast

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.http import HttpRequest

from perfguard.exceptions import InvalidSetting
from perfguard.http.routes import view_class
from perfguard.throttling.answers import refusal
from perfguard.throttling.identity import address_identity, user_identity
from perfguard.throttling.paths import with_head
from perfguard.throttling.plans import Scope, scope_named
from perfguard.throttling.rates import Rate
from perfguard.throttling.requests import Ask, ask, record_of
from perfguard.throttling.urls import SCOPES_ATTRIBUTE

Identify = Callable[[HttpRequest], str | None]
Cost = int | Callable[[HttpRequest], int]
View = TypeVar("View", bound=Callable[..., Any])


def by_user(request: HttpRequest) -> str | None:
    """Signed-in users; others are not counted."""
    user = getattr(request, "user", None)
    return user_identity(user.pk) if user is not None and user.pk is not None else None


def by_user_or_address(request: HttpRequest) -> str | None:
    return by_user(request) or address_identity(request)


IDENTITIES: dict[str, Identify] = {
    "address": address_identity,
    "user": by_user,
    "user_or_address": by_user_or_address,
}


def throttle(
    *rates: str | Scope,
    by: str | Identify = "user_or_address",
    cost: Cost = 1,
    methods: Sequence[str] = (),
) -> Callable[[View], View]:
    """Answer 429 instead of the view when a rate is used up.

    rates: scopes of ``THROTTLE_RATES``, or rates such as "15/3 minutes", which count
    for this view alone. by: "address", "user", "user_or_address", or a function
    from the request to an identity, None to let it pass. cost: hits, or a function
    from the request. methods: HTTP methods that count; all, when empty.

    Raises InvalidRate at import for a wrong rate, InvalidSetting for a wrong ``by``.
    """
    identify = IDENTITIES.get(by) if isinstance(by, str) else by
    if identify is None:
        raise InvalidSetting(
            f"throttle(by={by!r}): use one of {', '.join(IDENTITIES)}, or a function."
        )
    counted = with_head(methods)

    def decorate(view: View) -> View:
        scopes = [_scope(rate, view) for rate in rates]

        def asks(request: HttpRequest) -> list[Ask]:
            if counted and request.method not in counted:
                return []
            identity = identify(request)
            if not identity:
                return []
            price = cost(request) if callable(cost) else cost
            return [
                ask(identity, scope() if callable(scope) else scope, price)
                for scope in scopes
            ]

        wrap = _wrap_async if _is_async(view) else _wrap
        throttled = wrap(view, asks)
        inner = getattr(view, SCOPES_ATTRIBUTE, ())
        setattr(throttled, SCOPES_ATTRIBUTE, (*map(_name, rates), *inner))
        return cast("View", throttled)

    return decorate


def _name(rate: str | Scope) -> str:
    return rate.name if isinstance(rate, Scope) else rate


def _scope(rate: str | Scope, view: Callable[..., Any]) -> Scope | Callable[[], Scope]:
    if isinstance(rate, Scope):
        return rate
    if "/" not in rate:
        return lambda: scope_named(rate)  # read when used: settings may change
    name, policy = _own_name(view)
    # With the rate: two of them on one view are two windows.
    parsed = Rate.parse(rate)
    own = f"{name[-70:]}.{parsed.limit}-{parsed.period}"
    return _own_scope(own, rate, policy)


def _own_name(view: Callable[..., Any]) -> tuple[str, str]:
    """What no other view is called, and what clients may see of it. What as_view() and
    api_view return is called the same everywhere: its class says whose it is."""
    bound = getattr(getattr(view, "func", None), "__self__", None)
    kind = view_class(view) if bound is None else type(bound)
    if kind is not None:
        method = f".{view.__name__}" if bound is not None else ""
        return f"{kind.__module__}.{kind.__name__}{method}", kind.__name__
    name = getattr(view, "__qualname__", type(view).__name__)
    # "<locals>" and "<lambda>" would not do in a key.
    own = re.sub(r"[^\w.]", "", name.replace("<locals>.", ""))
    return f"{view.__module__}.{own}", own.rpartition(".")[2]


@lru_cache(maxsize=1024)
def _own_scope(name: str, rate: str, policy: str) -> Scope:
    """One object for each view and rate: method_decorator decorates at every call."""
    return Scope.read(name, rate, policy)


def _wrap(view: Callable[..., Any], asks: Callable[[HttpRequest], list[Ask]]) -> Any:
    @wraps(view)
    def throttled(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        verdict = record_of(request).decide(asks(request))
        if verdict is not None and not verdict.allowed:
            return refusal(request, verdict)
        return view(request, *args, **kwargs)

    return throttled


def _wrap_async(
    view: Callable[..., Any], asks: Callable[[HttpRequest], list[Ask]]
) -> Any:
    # In a thread: whom the request is from may be read from the database.
    aasks = sync_to_async(asks)

    @wraps(view)
    async def throttled(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        verdict = await record_of(request).adecide(await aasks(request))
        if verdict is not None and not verdict.allowed:
            return refusal(request, verdict)
        return await view(request, *args, **kwargs)

    return throttled


def _is_async(view: Callable[..., Any]) -> bool:
    # method_decorator hands over a bound method; dispatch() of a class of async views
    # is a plain function that returns what must be awaited.
    owner = getattr(getattr(view, "func", None), "__self__", None)
    return iscoroutinefunction(view) or getattr(owner, "view_is_async", False)
