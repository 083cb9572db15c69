from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from django.views.generic import TemplateView
from drf_spectacular.renderers import OpenApiJsonRenderer2
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularSwaggerView
from rest_framework.permissions import AllowAny

from perfguard.headers.views import CspReportView
from perfguard.sockets.middleware import websocket_only
from perfguard.throttling.throttles import AnonRateThrottle

handler400 = "project.demo.errors.bad_request"
handler404 = "project.demo.errors.page_not_found"
handler500 = "project.demo.errors.server_error"

# Whoever reads the manual need not be signed in; a token that has ended bars nobody.
PUBLIC = {
    "authentication_classes": [],
    "permission_classes": [AllowAny],
    "throttle_classes": [AnonRateThrottle],
}
# The one that says JSON: refusals too are JSON then.
DOCUMENT = {**PUBLIC, "renderer_classes": [OpenApiJsonRenderer2]}

urlpatterns = [
    path("", TemplateView.as_view(template_name="demo/index.html")),
    path("admin/", admin.site.urls),
    path("api/v1/", include("project.demo.urls")),
    path("ws/echo", websocket_only, name="echo"),
    path("api/schema", SpectacularJSONAPIView.as_view(**DOCUMENT), name="schema"),
    path(
        "api/docs",
        SpectacularSwaggerView.as_view(
            **PUBLIC,
            url_name="schema",
            template_name="perfguard/headers/swagger_ui.html",
        ),
    ),
    path("csp-reports", CspReportView.as_view()),
]
