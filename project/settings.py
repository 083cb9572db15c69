"""The deployable project. With nothing set it runs on SQLite and process memory."""

from __future__ import annotations

from pathlib import Path

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

from perfguard.tokens.simplejwt import TOKEN_CLASSES
from project import env

BASE_DIR = Path(__file__).resolve().parent.parent

# -- Django ----------------------------------------------------------------------

SECRET_KEY = env.secret_key(BASE_DIR / ".cache" / "secret-key")
DEBUG = env.flag("DEBUG")
ALLOWED_HOSTS = env.items("ALLOWED_HOSTS") or ["localhost", "127.0.0.1", "[::1]"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "corsheaders",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "perfguard",
    "project.demo",
]

MIDDLEWARE = [
    # Answers probes before host validation, sessions and limits.
    "perfguard.health.middleware.HealthMiddleware",
    # All log lines from here on have the request's id.
    "perfguard.http.request_id.RequestIdMiddleware",
    "perfguard.http.process_time.ProcessTimeMiddleware",
    # Outside all that answers by itself: redirects, files, preflight answers, refusals.
    "perfguard.headers.middleware.SecurityHeadersMiddleware",
    "django.middleware.security.SecurityMiddleware",
    # WhiteNoise's, without a thread for what is no static file.
    "perfguard.http.static_files.StaticFilesMiddleware",
    # Outside all that may refuse, so that a browser may read the refusal.
    "corsheaders.middleware.CorsMiddleware",
    # Outside all that makes or looks at a body.
    "perfguard.compression.middleware.CompressionMiddleware",
    "perfguard.http.conditional.ConditionalGetMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    # Signs in users whom a trusted proxy names, with TRUSTED_PER_REQUEST.
    "perfguard.trusted_header.middleware.TrustedHeaderMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    # Outside what refuses, so that refusals are on record.
    "perfguard.audit.middleware.AuditMiddleware",
    # Outside what refuses and counts: a request that is sent elsewhere is neither.
    "perfguard.redirects.middleware.RedirectMiddleware",
    # Innermost: what is refused here costs no view.
    "perfguard.api_keys.middleware.ApiKeyRestrictionMiddleware",
    "perfguard.throttling.middleware.ThrottleMiddleware",
]

ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"
ASGI_APPLICATION = "project.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "perfguard.headers.csp.csp",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = {
    "default": dj_database_url.parse(
        env.text("DATABASE_URL", f"sqlite:///{BASE_DIR / 'db.sqlite3'}"),
        conn_max_age=60,  # seconds
        conn_health_checks=True,
    )
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # Many threads write: wait for the lock, and read while somebody writes.
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 10,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
elif DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
    # A server that is not reached must not hold a worker for minutes.
    DATABASES["default"].setdefault("OPTIONS", {}).setdefault("connect_timeout", 5)

AUTH_USER_MODEL = "demo.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
    )
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

USE_TZ = True
TIME_ZONE = env.text("TIME_ZONE", "UTC")
LANGUAGE_CODE = "en"

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
WHITENOISE_USE_FINDERS = True  # serves static files without a step before

# Pages and mails about a fault hold no secret: not of the settings, nor of a request.
DEFAULT_EXCEPTION_REPORTER_FILTER = "project.reports.ReporterFilter"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"request_id": {"()": "perfguard.http.request_id.RequestIdFilter"}},
    "formatters": {
        "line": {
            "format": "{asctime} {levelname} {name} [{request_id}] {message}",
            "style": "{",
        }
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "filters": ["request_id"],
            "formatter": "line",
        }
    },
    "root": {"handlers": ["console"], "level": env.text("LOG_LEVEL", "INFO").upper()},
}

# -- Behind TLS: HTTPS=true ---------------------------------------------------------

HTTPS = env.flag("HTTPS")
SECURE_SSL_REDIRECT = HTTPS
# An HSTS of one's own is below, with the other headers.
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS and not env.text("HSTS") else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
if env.flag("HTTPS_BEHIND_PROXY"):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
CSRF_COOKIE_SECURE = HTTPS
CSRF_TRUSTED_ORIGINS = env.items("CSRF_TRUSTED_ORIGINS")
SESSION_COOKIE_SECURE = env.flag("WEBUI_SESSION_COOKIE_SECURE", HTTPS)
SESSION_COOKIE_SAMESITE = env.text("WEBUI_SESSION_COOKIE_SAME_SITE", "lax").capitalize()

# -- Headers, by the names that the operator knows ---------------------------------

# Django's own middleware speaks first: it says the same.
SECURE_REFERRER_POLICY = env.text("REFERRER_POLICY", "same-origin")
X_FRAME_OPTIONS = env.text("XFRAME_OPTIONS", "DENY")
SECURE_CROSS_ORIGIN_OPENER_POLICY = env.text(
    "CROSS_ORIGIN_OPENER_POLICY", "same-origin"
)
_headers = {
    "Strict-Transport-Security": env.text("HSTS"),
    "X-Frame-Options": env.text("XFRAME_OPTIONS"),
    "Permissions-Policy": env.text("PERMISSIONS_POLICY"),
    "Referrer-Policy": env.text("REFERRER_POLICY"),
    "Cache-Control": env.text("CACHE_CONTROL"),
    "X-Content-Type-Options": env.text("XCONTENT_TYPE"),
    "X-Download-Options": env.text("XDOWNLOAD_OPTIONS"),
    "X-Permitted-Cross-Domain-Policies": env.text("XPERMITTED_CROSS_DOMAIN_POLICIES"),
    "Content-Security-Policy": env.text("CONTENT_SECURITY_POLICY"),
    "Content-Security-Policy-Report-Only": env.text(
        "CONTENT_SECURITY_POLICY_REPORT_ONLY"
    ),
    "Cross-Origin-Embedder-Policy": env.text("CROSS_ORIGIN_EMBEDDER_POLICY"),
    "Cross-Origin-Opener-Policy": env.text("CROSS_ORIGIN_OPENER_POLICY"),
    "Cross-Origin-Resource-Policy": env.text("CROSS_ORIGIN_RESOURCE_POLICY"),
    "Reporting-Endpoints": env.text("REPORTING_ENDPOINTS"),
}

# -- CORS: origins between semicolons ------------------------------------------------

_origins = env.origins(
    "CORS_ALLOW_ORIGIN", env.items("CORS_ALLOW_CUSTOM_SCHEME", separator=";")
)
CORS_ALLOW_ALL_ORIGINS = _origins == ["*"]
CORS_ALLOWED_ORIGINS = [] if CORS_ALLOW_ALL_ORIGINS else _origins
CORS_ALLOWED_ORIGIN_REGEXES = env.items("CORS_ALLOW_ORIGIN_REGEX", separator=";")
# Never for "*": every site could read answers in the name of its visitor. Who asks for
# both is refused by a check.
CORS_ALLOW_CREDENTIALS = env.flag("CORS_ALLOW_CREDENTIALS", bool(CORS_ALLOWED_ORIGINS))
CORS_PREFLIGHT_MAX_AGE = env.whole("CORS_MAX_AGE", 86_400)  # seconds
CORS_EXPOSE_HEADERS = [
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Request-ID",
    "ETag",
    *env.items("CORS_EXPOSE_HEADERS"),
]

# -- Redis, sessions and caches --------------------------------------------------------

REDIS_URL = env.text("REDIS_URL")
_sentinels = [
    host if ":" in host else f"{host}:{env.whole('REDIS_SENTINEL_PORT', 26379)}"
    for host in env.items("REDIS_SENTINEL_HOSTS")
]
_cluster = env.flag("REDIS_CLUSTER")
SESSION_ENGINE = "django.contrib.sessions.backends.db"
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
if REDIS_URL and not _sentinels and not _cluster:
    _timeouts = {"SOCKET_CONNECT_TIMEOUT": 1, "SOCKET_TIMEOUT": 1}  # seconds
    _cache = {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": env.text("REDIS_KEY_PREFIX", "perfguard"),
    }
    CACHES = {
        "default": {**_cache, "OPTIONS": {**_timeouts, "IGNORE_EXCEPTIONS": True}},
        # A session that could not be deleted would be back with Redis: that is told.
        "sessions": {**_cache, "OPTIONS": _timeouts},
    }
if env.flag("ENABLE_STAR_SESSIONS_MIDDLEWARE"):
    if "sessions" not in CACHES:
        raise ImproperlyConfigured(
            "ENABLE_STAR_SESSIONS_MIDDLEWARE keeps sessions in Redis: set REDIS_URL, "
            "without Sentinel and without Cluster."
        )
    SESSION_ENGINE = "django.contrib.sessions.backends.cache"
    SESSION_CACHE_ALIAS = "sessions"

# -- perfguard -------------------------------------------------------------------------

# With a trusted header, the proxy signs users in, and nobody else does.
_email_header = env.text("WEBUI_AUTH_TRUSTED_EMAIL_HEADER")
PASSWORD_SIGN_IN = env.flag("ENABLE_PASSWORD_AUTH", not _email_header)
_trusted_header = {
    "TRUSTED_EMAIL_HEADER": _email_header,
    "TRUSTED_NAME_HEADER": env.text("WEBUI_AUTH_TRUSTED_NAME_HEADER"),
    "TRUSTED_GROUPS_HEADER": env.text("WEBUI_AUTH_TRUSTED_GROUPS_HEADER"),
    "TRUSTED_ROLE_HEADER": env.text("WEBUI_AUTH_TRUSTED_ROLE_HEADER"),
    "TRUSTED_SECRET_HEADER": env.text("TRUSTED_SECRET_HEADER"),
    "TRUSTED_SECRET": env.text("TRUSTED_SECRET"),
    "TRUSTED_EMAIL_DOMAINS": env.items("TRUSTED_EMAIL_DOMAINS"),
    "TRUSTED_PER_REQUEST": env.flag("TRUSTED_PER_REQUEST"),
    "TRUSTED_CREATE_USERS": env.flag("TRUSTED_CREATE_USERS"),
    "TRUSTED_DEFAULT_ROLE": env.text("DEFAULT_USER_ROLE"),
    "TRUSTED_ROLES": {
        "admin": {"is_staff": True, "is_active": True},
        "user": {"is_staff": False, "is_active": True},
        "pending": {"is_staff": False, "is_active": False},
    },
}
if not _email_header:
    _trusted_header = {}

# Under WSGI a stream holds its thread: half of them stay for other requests.
_threads = 0 if env.text("WORKER_CLASS") == "asgi" else env.whole("THREAD_POOL_SIZE", 8)
_streams = max(1, _threads // 2) if _threads else 100

# The file of JSON lines is written when it is given a path, or asked for.
_audit_file = env.text("AUDIT_LOGS_FILE_PATH")
_audit_sinks = {
    "database": env.flag("ENABLE_AUDIT_DATABASE", True),
    "file": env.flag("ENABLE_AUDIT_LOGS_FILE", bool(_audit_file)),
    "stdout": env.flag("ENABLE_AUDIT_STDOUT"),
}
_audit_methods = ["POST", "PUT", "PATCH", "DELETE"]
if env.flag("ENABLE_AUDIT_GET_REQUESTS"):
    _audit_methods += ["GET", "HEAD"]

PERFGUARD = {
    "AUDIT_LEVEL": env.text("AUDIT_LOG_LEVEL", "METADATA").upper(),
    "AUDIT_METHODS": _audit_methods,
    "AUDIT_INCLUDED_PATHS": env.items("AUDIT_INCLUDED_PATHS"),
    "AUDIT_EXCLUDED_PATHS": env.items("AUDIT_EXCLUDED_PATHS"),
    "AUDIT_ALWAYS_PATHS": [
        "/auths/signin",
        "/auths/signout",
        "/auths/signup",
        "/admin/login",
        "/admin/logout",
    ],
    "AUDIT_ANONYMOUS": env.flag("AUDIT_ANONYMOUS"),
    "AUDIT_BODY_BYTES": env.whole("MAX_BODY_LOG_SIZE", 2048, above=-1),
    "AUDIT_DURABILITY": env.text("AUDIT_DURABILITY", "spool"),
    "AUDIT_OVERFLOW": env.text("AUDIT_OVERFLOW", "drop_new"),
    "AUDIT_SPOOL_DIR": env.text("AUDIT_SPOOL_DIR", str(BASE_DIR / ".cache" / "audit")),
    "AUDIT_SINKS": [name for name, is_on in _audit_sinks.items() if is_on],
    "AUDIT_FILE_PATH": _audit_file or str(BASE_DIR / ".cache" / "audit.log"),
    "AUDIT_FILE_BYTES": env.size("AUDIT_LOG_FILE_ROTATION_SIZE", 10_000_000),
    "AUDIT_SIGNING_KEY": env.text("AUDIT_SIGNING_KEY"),
    "AUDIT_OLD_SIGNING_KEYS": env.items("AUDIT_OLD_SIGNING_KEYS"),
    "AUDIT_ANCHOR_PATH": env.text("AUDIT_ANCHOR_PATH"),
    "AUDIT_RETENTION_DAYS": env.whole("AUDIT_RETENTION_DAYS", 0, above=-1),
    "REDIS_URL": REDIS_URL,
    "REDIS_SENTINELS": _sentinels,
    "REDIS_SENTINEL_USERNAME": env.text("REDIS_SENTINEL_USERNAME"),
    "REDIS_SENTINEL_PASSWORD": env.text("REDIS_SENTINEL_PASSWORD"),
    "REDIS_CLUSTER": _cluster,
    "REDIS_KEY_PREFIX": env.text("REDIS_KEY_PREFIX", "perfguard"),
    "REDIS_CONNECT_TIMEOUT": env.number("REDIS_SOCKET_CONNECT_TIMEOUT", 0.1),
    "REDIS_READ_TIMEOUT": env.number("REDIS_SOCKET_TIMEOUT", 0.1),
    "TRUSTED_PROXIES": env.items("TRUSTED_PROXIES"),
    "CLIENT_IP_HEADER": env.text("CLIENT_IP_HEADER", "X-Forwarded-For"),
    "HEADERS_PRESET": env.text("HEADERS_PRESET", "strict"),
    "HEADERS": {name: value for name, value in _headers.items() if value},
    "HEADERS_FORCE": env.items("HEADERS_FORCE"),
    "HEADERS_CLEAR_SITE_DATA": env.items("CLEAR_SITE_DATA"),
    "HEADERS_REPORT_URL": "/csp-reports",
    "COMPRESSION_ENABLED": env.flag("ENABLE_COMPRESSION_MIDDLEWARE", True),
    "COMPRESSION_MIN_BYTES": env.whole("COMPRESSION_MIN_BYTES", 500),
    "COMPRESSION_CODINGS": env.items("COMPRESSION_CODINGS") or ["zstd", "br", "gzip"],
    "STREAM_CHUNK_DELTAS": env.whole("CHAT_RESPONSE_STREAM_DELTA_CHUNK_SIZE", 1),
    "STREAM_EVENT_BYTES": env.whole(
        "CHAT_STREAM_RESPONSE_CHUNK_MAX_BUFFER_SIZE", 0, above=-1
    ),
    "STREAM_HEARTBEAT": env.number("STREAM_HEARTBEAT", 15),
    "STREAM_MAX_PER_WORKER": env.whole("STREAM_MAX_PER_WORKER", _streams),
    "STREAM_WORKER_THREADS": _threads,
    "STREAM_MAX_PER_IDENTITY": env.whole("STREAM_MAX_PER_IDENTITY", min(10, _streams)),
    "STREAM_MAX_SECONDS": env.number("STREAM_MAX_SECONDS", 3600),
    "SOCKET_ENABLED": env.flag("ENABLE_WEBSOCKET_SUPPORT", True),
    "SOCKET_PATHS": env.items("SOCKET_PATHS") or ["/ws"],
    "SOCKET_AUTHENTICATION": env.items("SOCKET_AUTHENTICATION")
    or ["token", "api_key", "ticket"],
    "SOCKET_ORIGINS": env.items("SOCKET_ORIGINS"),
    "SOCKET_REQUIRE_SIGN_IN": env.flag("SOCKET_REQUIRE_SIGN_IN", True),
    "SOCKET_RECHECK_SECONDS": env.number("SOCKET_RECHECK_SECONDS", 5),
    "SOCKET_MAX_PER_WORKER": env.whole("SOCKET_MAX_PER_WORKER", 10_000),
    "SOCKET_MAX_PER_IDENTITY": env.whole("SOCKET_MAX_PER_IDENTITY", 50),
    "REQUEST_ID_FROM": env.text("REQUEST_ID_FROM", "anybody"),
    "REDIRECTS": [
        # A link as another product writes it; the rest of its query is carried.
        {
            "path": r"/watch$",
            "query": {"v": r"(?P<video>[\w-]{1,64})"},
            "to": "/?youtube={video}",
        },
    ],
    "TOKEN_ACCESS_LIFETIME": env.text("JWT_EXPIRES_IN", "4w"),
    "TOKEN_REFRESH_LIFETIME": env.text("JWT_REFRESH_EXPIRES_IN", "4w"),
    "TOKEN_SESSION_LIFETIME": env.text("JWT_SESSION_EXPIRES_IN", "26w"),
    "TOKEN_ALLOW_NEVER_EXPIRES": env.flag("JWT_ALLOW_NEVER_EXPIRES"),
    "TOKEN_KEY_ID": env.text("JWT_KEY_ID"),
    "TOKEN_OLD_KEYS": env.pairs("JWT_OLD_KEYS"),
    "REVOCATION_ON_REDIS_FAILURE": env.text("REVOCATION_ON_REDIS_FAILURE", "database"),
    **_trusted_header,
    "API_KEYS_ENABLED": env.flag("ENABLE_API_KEYS", env.flag("ENABLE_API_KEY", True)),
    "API_KEYS_HEADER": env.text("CUSTOM_API_KEY_HEADER", "X-API-Key"),
    "API_KEYS_PEPPER": env.text("API_KEYS_PEPPER"),
    "API_KEYS_MAX_LIFETIME": env.text("API_KEYS_MAX_LIFETIME", "-1"),
    # The second name is the one before it was a plural.
    "API_KEYS_ENDPOINT_RESTRICTIONS": env.flag(
        "ENABLE_API_KEYS_ENDPOINT_RESTRICTIONS",
        env.flag("ENABLE_API_KEY_ENDPOINT_RESTRICTIONS"),
    ),
    "API_KEYS_ALLOWED_ENDPOINTS": env.items("API_KEYS_ALLOWED_ENDPOINTS")
    or env.items("API_KEY_ALLOWED_ENDPOINTS"),
    "THROTTLE_HEADERS": env.items("THROTTLE_HEADERS") or ["ietf"],
    "THROTTLE_RATES": {
        "sign_in": "15/3 minutes",
        "sign_in_address": "100/3 minutes",
        "refresh": "60/minute",
        "password": "10/hour",
        "anon": "60/minute",
        "user": ["100/minute", "1000/hour"],
    },
    "THROTTLE_PATHS": [
        # The admin's own form: its view is Django's, and knows no throttle.
        {"path": "^/admin/login/", "scope": "sign_in_address", "methods": ["POST"]},
    ],
}

# -- Django REST framework -------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "perfguard.tokens.authentication.JWTAuthentication",
        "perfguard.api_keys.authentication.ApiKeyAuthentication",
        # Steps aside unless TRUSTED_PER_REQUEST.
        "perfguard.trusted_header.authentication.TrustedHeaderAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_THROTTLE_CLASSES": [
        "perfguard.throttling.throttles.UserRateThrottle",
        "perfguard.throttling.throttles.ApiKeyThrottle",
    ],
    "DEFAULT_RENDERER_CLASSES": ["perfguard.fast_json.renderers.FastJSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["perfguard.fast_json.parsers.FastJSONParser"],
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.PageNumberPagination",
    "PAGE_SIZE": 50,
    "DEFAULT_SCHEMA_CLASS": "project.demo.schema.AutoSchema",
}
SIMPLE_JWT = {
    **TOKEN_CLASSES,
    "SIGNING_KEY": env.text("JWT_SIGNING_KEY") or env.derived_key(SECRET_KEY, "jwt"),
    "USER_ID_CLAIM": "sub",
    "ISSUER": env.text("JWT_ISSUER") or None,
    "AUDIENCE": env.text("JWT_AUDIENCE") or None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "perfguard demo API",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}
