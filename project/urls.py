from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView
from rest_framework.permissions import AllowAny

from perfguard.throttling.throttles import AnonRateThrottle

PUBLIC = {"permission_classes": [AllowAny], "throttle_classes": [AnonRateThrottle]}

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/v1/", include("project.demo.urls")),
    path("api/schema", SpectacularAPIView.as_view(**PUBLIC), name="schema"),
    path("api/docs", SpectacularSwaggerView.as_view(**PUBLIC, url_name="schema")),
]
