from __future__ import annotations

from django.http import HttpResponse, StreamingHttpResponse
from django.template import engines
from django.urls import path
from django.views.decorators.cache import cache_page
from django.views.decorators.clickjacking import xframe_options_exempt
from django.views.decorators.http import condition, require_POST
from rest_framework.response import Response
from rest_framework.views import APIView

from perfguard.headers.decorators import csp_override, signs_out
from project.urls import urlpatterns as of_the_project

handler400 = "project.demo.errors.bad_request"
handler404 = "project.demo.errors.page_not_found"
handler500 = "project.demo.errors.server_error"

PAGE = """<!doctype html><title>before</title>
<script nonce="{{ csp_nonce }}">document.title = "{{ csp_nonce|length }}"</script>"""


def page(request):
    return HttpResponse(engines["django"].from_string(PAGE).render({}, request))


def boom(request):
    raise RuntimeError("boom")


def stream(request):
    return StreamingHttpResponse(iter([b"one,", b"two"]))


# Without "report-to", whose reports browsers hold back for a minute.
@csp_override({"script-src": ["'self'"], "report-uri": ["/csp-reports"]})
def wrong(request):
    return HttpResponse("<title>before</title><script>document.title = 'run'</script>")


class SignedOut(APIView):
    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()

    def post(self, request):
        status = int(request.query_params.get("status", 200))
        return Response({"detail": "Signed out."}, status=status)


urlpatterns = [
    path("page", page),
    path("cached", cache_page(60)(page)),
    path("etag", condition(etag_func=lambda request: '"1"')(page)),
    path("plain", lambda request: HttpResponse("plain")),
    path("post", require_POST(lambda request: HttpResponse("posted"))),
    path("framed", xframe_options_exempt(lambda request: HttpResponse("framed"))),
    path("boom", boom),
    path("stream", stream),
    path("wrong", wrong),
    path("token-sign-out", signs_out(SignedOut.as_view())),
    path("reset/<str:token>/", lambda request, token: HttpResponse("reset")),
    *of_the_project,
]
