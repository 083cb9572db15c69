"""System checks of fast JSON.

perfguard.W651  orjson is not installed   perfguard.W652  a style that orjson has not
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning

from perfguard.fast_json import codec

Check = Callable[..., list[CheckMessage]]

ROOM = "perfguard.fast_json."
# Of DRF: what its JSON looks like, and the only value that orjson knows.
STYLES = {"COMPACT_JSON": True, "UNICODE_JSON": True}


def check_orjson(**kwargs: Any) -> list[CheckMessage]:
    if codec.is_installed() or not (_uses("RENDERER") or _uses("PARSER")):
        return []
    return [
        Warning(
            "REST_FRAMEWORK names classes of perfguard.fast_json, and orjson is not "
            "installed: the standard library does it all, as slowly as DRF's own.",
            hint="Install perfguard[json].",
            id="perfguard.W651",
        )
    ]


def check_style(**kwargs: Any) -> list[CheckMessage]:
    if not _uses("RENDERER"):
        return []
    return [
        Warning(
            f"REST_FRAMEWORK[{name!r}] is {_rest()[name]!r}, which orjson cannot do: "
            "every answer is rendered by DRF's own encoder.",
            hint=f"Remove it, or name DRF's JSONRenderer instead of {ROOM}renderers.",
            id="perfguard.W652",
        )
        for name, wanted in STYLES.items()
        if bool(_rest().get(name, wanted)) is not wanted
    ]


def _uses(kind: str) -> bool:
    classes = _rest().get(f"DEFAULT_{kind}_CLASSES") or ()
    if not isinstance(classes, list | tuple):
        return False
    return any(_path(each).startswith(ROOM) for each in classes)


def _path(given: object) -> str:
    return given if isinstance(given, str) else getattr(given, "__module__", "")


def _rest() -> Mapping[str, Any]:
    value = getattr(settings, "REST_FRAMEWORK", {})
    return value if isinstance(value, Mapping) else {}


ALL: tuple[Check, ...] = (check_orjson, check_style)
DEPLOY: tuple[Check, ...] = ()
