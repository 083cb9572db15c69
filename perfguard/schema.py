"""Every key of ``settings.PERFGUARD``: its type, its default, its unit, its bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from types import MappingProxyType
from typing import Any

DEFAULT_RATES: Mapping[str, Any] = MappingProxyType(
    {
        "sign_in": "15/3 minutes",
        "sign_in_address": "100/3 minutes",
        "api_key": None,
        "socket_connect": "60/minute",
        "socket_connect_address": "300/minute",
    }
)


COMPRESSIBLE_TYPES = tuple(
    """
    text/* +json +xml +yaml application/csv application/ecmascript application/graphql
    application/javascript application/json application/json-seq application/jsonl
    application/ndjson application/rtf application/sql application/toml
    application/vnd.apple.mpegurl application/vnd.ms-fontobject application/wasm
    application/x-javascript application/x-ndjson application/x-protobuf
    application/x-yaml application/xml application/yaml font/otf font/ttf image/bmp
    image/vnd.microsoft.icon image/x-icon
    """.split()  # noqa: SIM905 - a list would take a line for each
)


# What is recorded besides requests.
EVENTS = (
    "sign_in",
    "sign_in_refused",
    "sign_out",
    "throttle_refused",
    "revoked_token_used",
    "token_refused",
    "token_revoked",
    "token_reused",
    "api_key_refused",
    "api_key_changed",
    "trusted_header_refused",
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

    # Names of headers; empty: not sent.
    REQUEST_ID_HEADER: str = "X-Request-ID"
    REQUEST_ID_FROM: str = one_of("anybody", "proxies", "nobody")
    PROCESS_TIME_HEADER: str = "X-Process-Time"

    REDIRECTS: Sequence[Mapping[str, Any]] = ()

    # Security headers: a preset, and what is laid over it by name; None: not sent.
    HEADERS_PRESET: str = one_of("strict", "api", "off")
    HEADERS: Mapping[str, Any] = field(default_factory=dict)
    HEADERS_PATHS: Sequence[Mapping[str, Any]] = ()
    HEADERS_FORCE: Sequence[str] = ()  # in place of what a view set
    HEADERS_CLEAR_SITE_DATA: Sequence[str] = field(
        default=(),
        metadata={"among": ("cache", "cookies", "storage", "executionContexts", "*")},
    )
    HEADERS_REPORT_URL: str = ""  # where browsers report violations of a CSP
    HEADERS_REPORTS_PER_MINUTE: int = positive(60)  # stored by each process

    COMPRESSION_ENABLED: bool = True
    COMPRESSION_CODINGS: Sequence[str] = field(  # the first wins among equals
        default=("zstd", "br", "gzip"), metadata={"among": ("zstd", "br", "gzip")}
    )
    COMPRESSION_LEVELS: Mapping[str, Any] = field(default_factory=dict)  # by coding
    COMPRESSION_TYPES: Sequence[str] = COMPRESSIBLE_TYPES
    COMPRESSION_MIN_BYTES: int = field(default=500, metadata={"least": 0})
    COMPRESSION_MAX_BYTES: int = positive(32 * 1024 * 1024)
    COMPRESSION_THREAD_BYTES: int = positive(64 * 1024)  # longer: not on the loop
    COMPRESSION_NOISE_BYTES: int = field(default=100, metadata={"least": 0})  # at most

    # Paths at which, and below which, there are sockets; empty: anywhere.
    SOCKET_PATHS: Sequence[str] = ("/ws",)
    SOCKET_ENABLED: bool = True
    SOCKET_AUTHENTICATION: Sequence[str] = field(
        default=("token", "api_key", "ticket"),
        metadata={"among": ("token", "api_key", "ticket", "session")},
    )
    SOCKET_REQUIRE_SIGN_IN: bool = True
    SOCKET_ORIGINS: Sequence[str] = ()  # empty: those that the project trusts already
    SOCKET_ALLOW_NO_ORIGIN: bool = True  # programs send none
    SOCKET_TICKET_SECONDS: float = positive(30.0)
    SOCKET_RECHECK_SECONDS: float = positive(5.0)
    SOCKET_UNKNOWN_SECONDS: float = field(default=60.0, metadata={"least": 0})
    SOCKET_MAX_PER_WORKER: int = positive(10_000)
    SOCKET_MAX_PER_IDENTITY: int = positive(50)  # in each worker
    SOCKET_MESSAGES_PER_SECOND: int = field(default=0, metadata={"least": 0})  # 0: any
    SOCKET_MAX_MESSAGE_BYTES: int = positive(1_048_576)

    # The bounds of a JSON body; of an answer that is given an ETag.
    FAST_JSON_MAX_BYTES: int = positive(2_621_440)
    FAST_JSON_MAX_DEPTH: int = positive(100)  # arrays and objects in one another
    CONDITIONAL_GET_ENABLED: bool = True
    CONDITIONAL_GET_MAX_BYTES: int = positive(2_097_152)

    STREAM_HEARTBEAT: float = positive(15.0)  # seconds of silence before a comment
    # Seconds a client waits for its headers, so that a source which fails at once is
    # an error response and no stream.
    STREAM_FIRST_EVENT_WAIT: float = field(default=1.0, metadata={"least": 0})
    STREAM_CHUNK_DELTAS: int = positive(1)  # strings that make one message
    STREAM_FLUSH_MS: int = field(default=100, metadata={"least": 0})  # 0: no hurry
    STREAM_EVENT_BYTES: int = field(default=0, metadata={"least": 0})  # 0: any size
    STREAM_RETRY_MS: int = positive(2000)  # before a client comes back
    STREAM_MAX_PER_WORKER: int = positive(100)  # streams of one process
    STREAM_MAX_PER_IDENTITY: int = positive(10)  # of one process, too
    STREAM_MAX_SECONDS: float = field(default=3600.0, metadata={"least": 0})  # 0: any
    STREAM_WORKER_THREADS: int = field(default=0, metadata={"least": 0})  # 0: unknown

    # What is blanked in all that is written down about requests.
    REDACTED_NAMES: Sequence[str] = ()  # besides those that are known
    REDACTED_PATTERNS: Sequence[str] = ()  # regular expressions, in any text

    AUDIT_LEVEL: str = one_of("NONE", "METADATA", "REQUEST", "REQUEST_RESPONSE")
    AUDIT_METHODS: Sequence[str] = ("POST", "PUT", "PATCH", "DELETE")
    # Paths, with all below them, also below each base. Included wins over excluded.
    AUDIT_INCLUDED_PATHS: Sequence[str] = ()
    AUDIT_EXCLUDED_PATHS: Sequence[str] = ()
    AUDIT_ALWAYS_PATHS: Sequence[str] = ()  # whatever else is set, and by anybody
    AUDIT_PATH_BASES: Sequence[str] = ("/api", "/api/v1")
    AUDIT_ANONYMOUS: bool = False  # also requests that present no credential
    AUDIT_EVENTS: Sequence[str] = field(default=EVENTS, metadata={"among": EVENTS})
    AUDIT_BODY_BYTES: int = field(default=2048, metadata={"least": 0})  # kept of each
    AUDIT_CAPTURE_BYTES: int = positive(65_536)  # looked at, to keep so many of them
    AUDIT_DURABILITY: str = one_of("async", "spool", "sync", "inline")
    AUDIT_SYNC_SECONDS: float = positive(2.0)  # an answer waits at most
    AUDIT_QUEUE_SIZE: int = positive(10_000)  # entries, for each sink of a process
    AUDIT_QUEUE_BYTES: int = positive(64 * 1024 * 1024)
    AUDIT_OVERFLOW: str = one_of("drop_new", "drop_old", "block", "spool")
    AUDIT_BLOCK_MS: int = positive(100)
    AUDIT_BATCH_SIZE: int = positive(500)  # entries
    AUDIT_FLUSH_SECONDS: float = positive(0.5)
    AUDIT_DRAIN_SECONDS: float = positive(5.0)  # at the end of a process
    AUDIT_SINKS: Sequence[str] = field(
        default=("database",),
        metadata={"among": ("database", "file", "stdout", "telemetry")},
    )
    AUDIT_DATABASE: str = "default"  # an alias of DATABASES
    AUDIT_FILE_PATH: str = ""
    AUDIT_FILE_BYTES: int = positive(10_000_000)  # then the file is rotated
    AUDIT_FILE_KEEP: int = field(default=10, metadata={"least": 0})  # 0: all
    AUDIT_SPOOL_DIR: str = ""
    AUDIT_SPOOL_BYTES: int = positive(1024 * 1024 * 1024)  # of each process
    AUDIT_SPOOL_FSYNC: str = one_of("batch", "always", "never")
    AUDIT_SIGNING_KEY: str = ""  # empty: derived from SECRET_KEY
    AUDIT_OLD_SIGNING_KEYS: Sequence[str] = ()
    AUDIT_SEAL_SECONDS: float = field(default=60.0, metadata={"least": 0})  # 0: never
    AUDIT_SEAL_ENTRIES: int = positive(1000)
    AUDIT_ANCHOR_PATH: str = ""
    AUDIT_RETENTION_DAYS: int = field(default=0, metadata={"least": 0})  # 0: for ever
    AUDIT_RETENTION_ENTRIES: int = field(default=0, metadata={"least": 0})  # 0: all

    HEALTH_TIMEOUT: float = positive(1.0)  # seconds a probe may take


SETTINGS: Mapping[str, Field[Any]] = {each.name: each for each in fields(Settings)}
