"""A site of one view, for real servers: what it believes of a request, as JSON."""

from __future__ import annotations

from django.conf import settings

settings.configure(
    SECRET_KEY="of-the-tests-" * 5,
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "perfguard"],
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],  # for Content-Length
    ROOT_URLCONF=__name__,
    PERFGUARD={
        "TRUSTED_PROXIES": ["127.0.0.1", "unix"],
        "TRUSTED_EMAIL_HEADER": "X-Email",
        "TRUSTED_GROUPS_HEADER": "X-Groups",
    },
)

import django  # noqa: E402

django.setup()

from django.core.asgi import get_asgi_application  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402

from perfguard.exceptions import InvalidCredential  # noqa: E402
from perfguard.http.trusted_header import trusted_email, trusted_groups  # noqa: E402


def view(request):
    request.read()
    try:
        body = {"email": trusted_email(request), "groups": trusted_groups(request)}
    except InvalidCredential as error:
        body = {"code": error.code}
    return JsonResponse(body)


urlpatterns = [path("", view)]
wsgi = get_wsgi_application()
asgi = get_asgi_application()
