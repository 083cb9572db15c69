"""One frozen, typed object over ``settings.PERFGUARD``: ``conf.NAME``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from types import MappingProxyType
from typing import Any, cast, get_type_hints

from django.conf import settings
from django.core.signals import setting_changed

DEFAULT_RATES: Mapping[str, Any] = MappingProxyType(
    {"sign_in": "15/3 minutes", "sign_in_address": "100/3 minutes", "api_key": None}
)


def positive(default: float) -> Any:
    return field(default=default, metadata={"above": 0})


def one_of(default: str, *others: str) -> Any:
    return field(default=default, metadata={"one_of": (default, *others)})


@dataclass(frozen=True, repr=False)  # some are secrets, and a repr ends up in logs
class Settings:
    """Every key of ``PERFGUARD``, with its type, its default and its unit."""

    # Where Redis is: a URL, or the alias of a Redis cache in CACHES.
    REDIS_URL: str = ""
    REDIS_CACHE_ALIAS: str = ""
    REDIS_SENTINELS: Sequence[str] = ()  # "host:port"; the URL's host is the service
    REDIS_SENTINEL_USERNAME: str = ""
    REDIS_SENTINEL_PASSWORD: str = ""
    REDIS_CLUSTER: bool = False
    REDIS_KEY_PREFIX: str = "perfguard"
    REDIS_CONNECT_TIMEOUT: float = positive(0.1)  # seconds
    REDIS_READ_TIMEOUT: float = positive(0.1)  # seconds
    REDIS_PROBE_INTERVAL: float = positive(0.25)  # seconds between two probes

    # Addresses and networks whose forwarding header is believed; "unix" for a
    # peer on a Unix socket.
    TRUSTED_PROXIES: Sequence[str] = ()
    CLIENT_IP_HEADER: str = "X-Forwarded-For"

    THROTTLE_ENABLED: bool = True
    THROTTLE_RATES: Mapping[str, Any] = field(default_factory=dict)
    THROTTLE_PATHS: Sequence[Mapping[str, Any]] = ()
    THROTTLE_HEADERS: Sequence[str] = field(
        default=("ietf",), metadata={"among": ("ietf", "legacy")}
    )
    THROTTLE_EXACT_LIMIT: int = positive(1000)  # hits; larger limits use buckets
    THROTTLE_REFUSAL_CACHE_SECONDS: float = field(default=1.0, metadata={"least": 0})
    THROTTLE_REFUSAL_CACHE_SIZE: int = positive(10_000)  # identities
    THROTTLE_MEMORY_SIZE: int = positive(100_000)  # windows in each process
    THROTTLE_SIGN_IN_RESET: bool = False  # a good sign-in empties the account's window

    # Lifetimes: "30m", "1d12h", "4w"; "-1" is without end.
    TOKEN_ACCESS_LIFETIME: str = "4w"
    TOKEN_REFRESH_LIFETIME: str = "4w"
    TOKEN_SESSION_LIFETIME: str = "26w"  # refreshing leads no further
    TOKEN_ALLOW_NEVER_EXPIRES: bool = False
    TOKEN_REUSE_GRACE: float = field(default=10.0, metadata={"least": 0})  # seconds
    TOKEN_MAX_BYTES: int = positive(8192)
    TOKEN_KEY_ID: str = ""  # the kid of tokens that are signed now
    TOKEN_OLD_KEYS: Mapping[str, Any] = field(default_factory=dict)  # kid to key
    REVOCATION_ON_REDIS_FAILURE: str = one_of("database", "deny", "allow")

    # Names of headers that a trusted proxy sets; empty: not used.
    TRUSTED_EMAIL_HEADER: str = ""
    TRUSTED_NAME_HEADER: str = ""
    TRUSTED_GROUPS_HEADER: str = ""
    TRUSTED_ROLE_HEADER: str = ""
    TRUSTED_SECRET_HEADER: str = ""
    TRUSTED_SECRET: str = ""
    TRUSTED_EMAIL_NON_ASCII: bool = False
    TRUSTED_EMAIL_DOMAINS: Sequence[str] = ()  # empty: any
    TRUSTED_PER_REQUEST: bool = False  # and not at sign-in alone
    TRUSTED_CREATE_USERS: bool = False
    TRUSTED_DEFAULT_ROLE: str = ""
    TRUSTED_ROLES: Mapping[str, Any] = field(default_factory=dict)  # role to fields

    API_KEYS_ENABLED: bool = True
    API_KEYS_HEADER: str = ""  # besides Authorization: Api-Key
    API_KEYS_PREFIX: str = "pgk"
    API_KEYS_PEPPER: str = ""
    API_KEYS_MAX_LIFETIME: str = "-1"
    API_KEYS_ROTATION_OVERLAP: str = "1d"
    API_KEYS_CACHE_SECONDS: float = positive(300.0)
    API_KEYS_ENDPOINT_RESTRICTIONS: bool = False
    API_KEYS_ALLOWED_ENDPOINTS: Sequence[str] = ()

    HEALTH_TIMEOUT: float = positive(1.0)  # seconds a probe may take


SETTINGS: Mapping[str, Field[Any]] = {each.name: each for each in fields(Settings)}


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
