"""What ``SIMPLE_JWT`` needs for perfguard's tokens.

::

    from perfguard.tokens.simplejwt import TOKEN_CLASSES

    SIMPLE_JWT = {**TOKEN_CLASSES, "SIGNING_KEY": ...}
"""

from __future__ import annotations

HERE = "perfguard.tokens"

TOKEN_CLASSES: dict[str, object] = {
    "AUTH_TOKEN_CLASSES": (f"{HERE}.tokens.AccessToken",),
    "TOKEN_OBTAIN_SERIALIZER": f"{HERE}.serializers.TokenObtainPairSerializer",
    "TOKEN_REFRESH_SERIALIZER": f"{HERE}.serializers.TokenRefreshSerializer",
    "TOKEN_VERIFY_SERIALIZER": f"{HERE}.serializers.TokenVerifySerializer",
    "TOKEN_BLACKLIST_SERIALIZER": f"{HERE}.serializers.TokenBlacklistSerializer",
}
