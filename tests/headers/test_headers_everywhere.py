"""Answers that no view gives carry the headers too."""

from __future__ import annotations

import json
from http.client import HTTPConnection

import pytest
from asgiref.sync import async_to_sync
from django.contrib.staticfiles import finders

from tests.servers import Gunicorn

SENT = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": None,
    "Permissions-Policy": None,
}
PREFLIGHT = {
    "HTTP_ORIGIN": "https://front.example",
    "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "GET",
}
ANSWERS = {
    "a bad Host": (400, "get", "/plain", {"HTTP_HOST": "evil.example"}),
    "not found": (404, "get", "/nowhere", {}),
    "a wrong method": (405, "get", "/post", {}),
    "no CSRF token": (403, "post", "/admin/login/", {}),
    "a fault": (500, "get", "/boom", {}),
    "a page": (200, "get", "/plain", {}),
    "a stream": (200, "get", "/stream", {}),
    "not modified": (304, "get", "/etag", {"HTTP_IF_NONE_MATCH": '"1"'}),
    "a redirect": (302, "get", "/admin/", {}),
    "a preflight answer": (200, "options", "/plain", PREFLIGHT),
    "not signed in": (401, "get", "/api/v1/notes", {}),
}


def carries(response):
    for name, value in SENT.items():
        found = [it for key, it in response.items() if key == name]
        assert len(found) == 1, name
        assert value in {None, found[0]}, name


@pytest.fixture
def project(stack, client):
    stack.CORS_ALLOWED_ORIGINS = ["https://front.example"]
    # Its nonce would keep the policy off a 304: see test_headers_csp.
    stack.SECURE_CSP = {"default-src": ["'self'"]}
    client.raise_request_exception = False
    return client


@pytest.mark.django_db
@pytest.mark.parametrize("name", ANSWERS)
def test_every_answer_carries_them(project, name):
    status, method, path, headers = ANSWERS[name]
    if name == "no CSRF token":
        project.handler.enforce_csrf_checks = True
    response = getattr(project, method)(path, **headers)
    assert response.status_code == status
    carries(response)


@pytest.mark.django_db
def test_a_refusal_of_the_throttle_carries_them(project, perfguard):
    paths = [{"path": "^/plain", "scope": "few"}]
    perfguard(THROTTLE_RATES={"few": "1/hour"}, THROTTLE_PATHS=paths)
    assert project.get("/plain").status_code == 200
    response = project.get("/plain")
    assert response.status_code == 429
    carries(response)


def test_the_redirect_to_tls_carries_them(project, settings):
    settings.SECURE_SSL_REDIRECT = True
    response = project.get("/plain")
    assert response.status_code == 301
    carries(response)
    assert not response.has_header("Strict-Transport-Security")


@pytest.mark.django_db
def test_they_are_the_same_under_asgi(project, async_client):
    async_client.raise_request_exception = False
    for path in ("/plain", "/nowhere", "/boom", "/stream"):
        carries(async_to_sync(async_client.get)(path))


@pytest.fixture(scope="module", params=["gthread", "uvicorn"])
def server(request, tmp_path_factory):
    database = tmp_path_factory.mktemp("headers") / "db.sqlite3"
    own = {
        "DJANGO_SETTINGS_MODULE": "tests.headers.headers_settings",
        # Not this machine, which both servers believe by default.
        "TRUSTED_PROXIES": "10.0.0.0/8",
        "HTTPS_BEHIND_PROXY": "true",
    }
    with Gunicorn(database, request.param, **own) as running:
        yield running


def fetch(server, path, **headers):
    connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    response.content = response.read()
    connection.close()
    return response


@pytest.mark.parametrize(
    ("path", "status"),
    [("/static/admin/css/base.css", 200), ("/nowhere", 404), ("/stream", 200)],
)
def test_real_servers_send_each_of_them_once(server, path, status):
    response = fetch(server, path)
    assert response.status == status
    sent = [name for name, _ in response.getheaders()]
    for name in SENT:
        assert sent.count(name) == 1, name
    # Files say for themselves how long they are good.
    assert sent.count("Cache-Control") == 1


def test_files_are_sent_as_they_are(server):
    response = fetch(server, "/static/admin/css/base.css")
    with open(finders.find("admin/css/base.css"), "rb") as file:
        assert response.content == file.read()
    assert "no-store" not in response.getheader("Cache-Control")


def test_a_server_that_is_no_proxys_peer_sends_no_hsts_for_a_forged_header(server):
    response = fetch(server, "/plain", **{"X-Forwarded-Proto": "https"})
    assert response.getheader("Strict-Transport-Security") is None


def test_api_answers_carry_them(server):
    response = fetch(server, "/api/v1/public")
    assert json.loads(response.content)
    assert response.getheader("X-Frame-Options") == "DENY"
