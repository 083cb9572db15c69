"""The deployable project. With nothing set it runs on SQLite and process memory."""

from __future__ import annotations

from pathlib import Path

import dj_database_url

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
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    # Outside all that may refuse, so that a browser may read the refusal.
    "corsheaders.middleware.CorsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    # Signs in users whom a trusted proxy names, with TRUSTED_PER_REQUEST.
    "perfguard.trusted_header.middleware.TrustedHeaderMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
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
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": env.text("LOG_LEVEL", "INFO").upper()},
}

# -- Behind TLS: HTTPS=true ---------------------------------------------------------

HTTPS = env.flag("HTTPS")
SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
if env.flag("HTTPS_BEHIND_PROXY"):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
CSRF_COOKIE_SECURE = HTTPS
CSRF_TRUSTED_ORIGINS = env.items("CSRF_TRUSTED_ORIGINS")
SESSION_COOKIE_SECURE = env.flag("WEBUI_SESSION_COOKIE_SECURE", HTTPS)
SESSION_COOKIE_SAMESITE = env.text("WEBUI_SESSION_COOKIE_SAME_SITE", "lax").capitalize()

# -- CORS: origins between semicolons ------------------------------------------------

_origins = env.items("CORS_ALLOW_ORIGIN", separator=";")
CORS_ALLOW_ALL_ORIGINS = _origins == ["*"]
CORS_ALLOWED_ORIGINS = [] if CORS_ALLOW_ALL_ORIGINS else _origins
# Never for "*": every site could read answers in the name of its visitor.
CORS_ALLOW_CREDENTIALS = bool(CORS_ALLOWED_ORIGINS)
CORS_EXPOSE_HEADERS = ["RateLimit", "RateLimit-Policy", "Retry-After"]

# -- Redis, sessions and caches --------------------------------------------------------

REDIS_URL = env.text("REDIS_URL")
_sentinels = [
    host if ":" in host else f"{host}:{env.whole('REDIS_SENTINEL_PORT', 26379)}"
    for host in env.items("REDIS_SENTINEL_HOSTS")
]
_cluster = env.flag("REDIS_CLUSTER")
SESSION_ENGINE = "django.contrib.sessions.backends.db"
if REDIS_URL and not _sentinels and not _cluster:
    CACHES = {
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": REDIS_URL,
            "KEY_PREFIX": env.text("REDIS_KEY_PREFIX", "perfguard"),
            "OPTIONS": {
                "SOCKET_CONNECT_TIMEOUT": 1,
                "SOCKET_TIMEOUT": 1,
                "IGNORE_EXCEPTIONS": True,
            },
        }
    }

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

PERFGUARD = {
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
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["project.demo.parsers.BoundedJSONParser"],
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
