from __future__ import annotations

import asyncio

import pytest
from django.http import HttpResponse

from perfguard.http.static_files import StaticFilesMiddleware

# Closing a response is the end of a request, at which Django looks at its databases.
pytestmark = pytest.mark.django_db
CSS = "/static/admin/css/base.css"


@pytest.fixture(params=["listed", "looked for"])
def door(request, settings, tmp_path):
    settings.STATIC_ROOT = str(tmp_path)
    settings.STATIC_URL = "/static/"
    settings.WHITENOISE_AUTOREFRESH = request.param == "looked for"
    settings.WHITENOISE_USE_FINDERS = True
    return StaticFilesMiddleware


def other(request):
    return HttpResponse("the view")


def body(response):
    if not response.streaming:
        return response.content
    if not response.is_async:
        return b"".join(response)

    async def read():
        return b"".join([block async for block in response])

    return asyncio.run(read())


def test_a_file_is_sent_and_anything_else_goes_on(serve, door, rf):
    response = serve(door, other, rf.get(CSS))
    assert response.headers["Content-Type"].startswith("text/css")
    sent = body(response)
    response.close()
    assert b"--primary" in sent
    assert int(response.headers["Content-Length"]) == len(sent)
    assert serve(door, other, rf.get("/api")).content == b"the view"
    assert serve(door, other, rf.get("/static/none.css")).content == b"the view"


def test_a_file_that_is_known_is_not_sent_again(serve, door, rf):
    response = serve(door, other, rf.get(CSS))
    modified = response.headers["Last-Modified"]
    response.close()
    again = serve(door, other, rf.get(CSS, HTTP_IF_MODIFIED_SINCE=modified))
    assert again.status_code == 304
    assert body(again) == b""
    again.close()


def test_a_range_of_a_file(serve, door, rf):
    response = serve(door, other, rf.get(CSS, HTTP_RANGE="bytes=0-9"))
    assert response.status_code == 206
    assert len(body(response)) == 10
    response.close()
