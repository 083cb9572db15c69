"""A site for real servers: fast JSON and conditional requests inside compression."""

from __future__ import annotations

from django.conf import settings

settings.configure(
    SECRET_KEY="of-the-tests-" * 5,
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "perfguard"],
    MIDDLEWARE=[
        "perfguard.compression.middleware.CompressionMiddleware",
        "perfguard.http.conditional.ConditionalGetMiddleware",
        "django.middleware.common.CommonMiddleware",
    ],
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": [],
        "DEFAULT_RENDERER_CLASSES": ["perfguard.fast_json.renderers.FastJSONRenderer"],
        "DEFAULT_PARSER_CLASSES": ["perfguard.fast_json.parsers.FastJSONParser"],
        "UNAUTHENTICATED_USER": None,
    },
    PERFGUARD={"FAST_JSON_MAX_BYTES": 1000, "FAST_JSON_MAX_DEPTH": 10},
    ROOT_URLCONF=__name__,
)

import django  # noqa: E402

django.setup()

from django.core.asgi import get_asgi_application  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.urls import path  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402


class Echo(APIView):
    def get(self, request):
        return Response([{"row": number, "none": None} for number in range(200)])

    def post(self, request):
        return Response(request.data)


urlpatterns = [path("", Echo.as_view())]
asgi, wsgi = get_asgi_application(), get_wsgi_application()
