"""One frozen, typed object over ``settings.PERFGUARD``: ``conf.NAME``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast, get_type_hints

from django.conf import settings
from django.core.signals import setting_changed

from perfguard.schema import SETTINGS, Settings

KINDS: Mapping[Any, tuple[str, Any]] = {
    bool: ("True or False", bool),
    str: ("a string", str),
    int: ("a whole number", int),
    float: ("a number", int | float),
    Sequence[str]: ("a list of strings", Sequence),
    Mapping[str, Any]: ("a dictionary", Mapping),
    Sequence[Mapping[str, Any]]: ("a list of dictionaries", Sequence),
}


def missed(name: str, value: Any) -> str:
    """What the setting of that name should be, or nothing when the value is that."""
    hint = get_type_hints(Settings)[name]
    words, kind = KINDS[hint]
    if not _fits(value, kind) or (
        hint == Sequence[str] and not all(isinstance(each, str) for each in value)
    ):
        return words
    return _broken(SETTINGS[name].metadata, value, words)


def _broken(rules: Mapping[str, Any], value: Any, words: str) -> str:
    if "above" in rules and not value > rules["above"]:
        return f"{words} above {rules['above']}"
    if "least" in rules and value < rules["least"]:
        return f"{words} of at least {rules['least']}"
    if value not in rules.get("one_of", (value,)):
        return f"one of {', '.join(rules['one_of'])}"
    if "among" in rules and not set(value) <= set(rules["among"]):
        return f"{words} among {', '.join(rules['among'])}"
    return ""


def _fits(value: object, kind: Any) -> bool:
    if isinstance(value, bool):  # which Python counts among the whole numbers
        return kind is bool
    if isinstance(value, str | bytes):  # which Python counts among the sequences
        return kind is str and isinstance(value, str)
    return isinstance(value, kind)


def given() -> dict[str, Any]:
    """The project's own dictionary, empty when it is missing or no mapping."""
    value = getattr(settings, "PERFGUARD", {})
    return dict(value) if isinstance(value, Mapping) else {}


def mistyped(prefix: str = "") -> dict[str, str]:
    """What each setting of that beginning should be that is something else."""
    wanted = {
        name: missed(name, value) for name, value in given().items() if name in SETTINGS
    }
    return {name: words for name, words in wanted.items() if words}


class LazySettings:
    """Read ``settings.PERFGUARD`` on first use, again after it changes."""

    def __getattr__(self, name: str) -> Any:
        # Python calls this only while __dict__ lacks the name, so a read
        # after the first costs no more than any other attribute.
        if name not in SETTINGS:
            raise AttributeError(f"PERFGUARD has no setting {name!r}.")
        known = {key: value for key, value in given().items() if key in SETTINGS}
        vars(self).update(vars(Settings(**known)))
        return getattr(self, name)

    def reload(self) -> None:
        vars(self).clear()


conf = cast(Settings, LazySettings())


def _reload(*, setting: str, **kwargs: Any) -> None:
    if setting == "PERFGUARD":
        cast(LazySettings, conf).reload()


# Connected here, before any room can connect: receivers run in this order, so
# a room that drops what it derived from conf finds the new values.
setting_changed.connect(_reload, dispatch_uid="perfguard.conf")
