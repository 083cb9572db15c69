"""System checks of compression.

perfguard.E601  compressed twice          perfguard.W601  ETags that never match
perfguard.E602  a level out of range      perfguard.W602  nothing is ever compressed
perfguard.E603  a wrong content type      perfguard.I601  a coding without its library
perfguard.E604  sizes that contradict
perfguard.E605  too much noise
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Info, Warning
from django.utils.module_loading import import_string

from perfguard.compression.codecs import CODECS, LEVELS, MOST_NOISE, PACKAGES
from perfguard.compression.middleware import CompressionMiddleware
from perfguard.conf import conf, mistyped

Check = Callable[..., list[CheckMessage]]

OURS = f"{CompressionMiddleware.__module__}.{CompressionMiddleware.__qualname__}"
OTHERS = frozenset(
    {
        "django.middleware.gzip.GZipMiddleware",
        "compression_middleware.middleware.CompressionMiddleware",
        "django_http_compression.middleware.HttpCompressionMiddleware",
    }
)
CONDITIONAL = frozenset(
    {
        "django.middleware.http.ConditionalGetMiddleware",
        "perfguard.http.conditional.ConditionalGetMiddleware",
    }
)
TOKEN = r"[a-z0-9!#$&^_.+-]+"  # noqa: S105
TYPE = re.compile(rf"{TOKEN}/(?:{TOKEN}|\*)|\+{TOKEN}", re.IGNORECASE)


def has_types() -> bool:
    """Whether the settings of this room are of the right types; else E002 tells."""
    return not mistyped("COMPRESSION_")


def compressing() -> list[str]:
    """What in MIDDLEWARE compresses: ours, others and their children, each once."""
    return [
        path
        for path in dict.fromkeys(settings.MIDDLEWARE)
        if _ancestors(path) & {OURS, *OTHERS}
    ]


def _ancestors(path: str) -> set[str]:
    try:
        kinds = getattr(import_string(path), "__mro__", ())
    except ImportError:  # Django tells, when it loads them
        kinds = ()
    return {path, *(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds)}


def is_not_ours(path: str) -> bool:
    return OURS not in _ancestors(path)


def is_used() -> bool:
    return not all(map(is_not_ours, settings.MIDDLEWARE))


def check_twice(**kwargs: Any) -> list[CheckMessage]:
    found = compressing() if is_used() else []
    if len(found) < 2:
        return []
    return [
        Error(
            f"MIDDLEWARE compresses more than once: {', '.join(found)}.",
            hint=f"Keep {OURS!r}, and remove the others.",
            id="perfguard.E601",
        )
    ]


def check_levels(**kwargs: Any) -> list[CheckMessage]:
    levels = conf.COMPRESSION_LEVELS if has_types() else {}
    return [
        Error(
            f"PERFGUARD['COMPRESSION_LEVELS'] has {coding!r}: {level!r}.",
            hint="Write whole numbers: "
            + ", ".join(f"{name} {r[0]} to {r[-1]}" for name, r in LEVELS.items())
            + ".",
            id="perfguard.E602",
        )
        for coding, level in levels.items()
        if type(level) is not int or level not in LEVELS.get(coding, ())
    ]


def check_content_types(**kwargs: Any) -> list[CheckMessage]:
    names = conf.COMPRESSION_TYPES if has_types() else ()
    return [
        Error(
            f"PERFGUARD['COMPRESSION_TYPES'] has {name!r}.",
            hint="Write 'application/json', 'text/*' or '+json', without parameters.",
            id="perfguard.E603",
        )
        for name in names
        if not TYPE.fullmatch(name)
    ]


def check_sizes(**kwargs: Any) -> list[CheckMessage]:
    if not has_types() or conf.COMPRESSION_MIN_BYTES <= conf.COMPRESSION_MAX_BYTES:
        return []
    return [
        Error(
            "PERFGUARD['COMPRESSION_MIN_BYTES'] is above COMPRESSION_MAX_BYTES: "
            "no body would be compressed.",
            hint="Lower the first. To switch compression off, set "
            "COMPRESSION_ENABLED to False.",
            id="perfguard.E604",
        )
    ]


def check_noise(**kwargs: Any) -> list[CheckMessage]:
    if not has_types() or conf.COMPRESSION_NOISE_BYTES <= MOST_NOISE:
        return []
    return [
        Error(
            f"PERFGUARD['COMPRESSION_NOISE_BYTES'] is {conf.COMPRESSION_NOISE_BYTES}.",
            hint=f"Write at most {MOST_NOISE}.",
            id="perfguard.E605",
        )
    ]


def check_etags(**kwargs: Any) -> list[CheckMessage]:
    """A page of the same content has another length and another hash each time."""
    if not is_used() or not has_types() or not conf.COMPRESSION_NOISE_BYTES:
        return []
    return [
        Warning(
            f"{path} is outside CompressionMiddleware: the ETags that it makes are of "
            "compressed bodies with noise, and never match.",
            hint=f"Put it after {OURS!r} in MIDDLEWARE.",
            id="perfguard.W601",
        )
        for path in takewhile(is_not_ours, settings.MIDDLEWARE)
        if _ancestors(path) & CONDITIONAL
    ]


def check_offered(**kwargs: Any) -> list[CheckMessage]:
    if (
        not is_used()
        or not has_types()
        or CODECS.keys() & set(conf.COMPRESSION_CODINGS)
    ):
        return []
    return [
        Warning(
            "CompressionMiddleware has no coding to offer, and compresses nothing.",
            hint="Add 'gzip', which needs no library, to "
            "PERFGUARD['COMPRESSION_CODINGS'].",
            id="perfguard.W602",
        )
    ]


def check_libraries(**kwargs: Any) -> list[CheckMessage]:
    return [
        Info(
            f"{coding!r} is in PERFGUARD['COMPRESSION_CODINGS'] and never offered: "
            "its library is missing.",
            hint=f"pip install {PACKAGES[coding]}, or perfguard[compression].",
            id="perfguard.I601",
        )
        for coding in _missing()
    ]


def _missing() -> Iterator[str]:
    if is_used() and has_types():
        for coding in conf.COMPRESSION_CODINGS:
            if coding not in CODECS:
                yield coding


ALL: tuple[Check, ...] = (
    check_twice,
    check_levels,
    check_content_types,
    check_sizes,
    check_noise,
    check_etags,
    check_offered,
)
DEPLOY: tuple[Check, ...] = (check_libraries,)
