from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from drf_spectacular.renderers import OpenApiJsonRenderer2
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularSwaggerView
from rest_framework.permissions import AllowAny

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
    path("admin/", admin.site.urls),
    path("api/v1/", include("project.demo.urls")),
    path("api/schema", SpectacularJSONAPIView.as_view(**DOCUMENT), name="schema"),
    path("api/docs", SpectacularSwaggerView.as_view(**PUBLIC, url_name="schema")),
]
