"""A visit to a site: over the network, or to the views of this very project."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

from django.conf import settings
from django.test import Client

MOST_REDIRECTS = 10
LONGEST_BODY = 1024 * 1024  # bytes
TIMEOUT = 10.0  # seconds
REDIRECTS = {301, 302, 303, 307, 308}
# Of no site that there is (RFC 2606).
STRANGER = "https://observatory.example"


class Unreachable(Exception):
    """Nobody answers there."""


@dataclass(frozen=True, slots=True)
class Page:
    url: str
    status: int = 0
    headers: Sequence[tuple[str, str]] = ()
    body: str = field(default="", repr=False)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]

    def first(self, name: str) -> str:
        return next(iter(self.all(name)), "").strip()


@dataclass(frozen=True, slots=True)
class Visit:
    page: Page  # what a visitor gets to see
    secure: Page | None  # the first answer over TLS
    plain_route: Sequence[str]  # from http://, one redirect after another
    asked_by_another: Page  # with an Origin that the site does not know
    cookies: Sequence[str]
    origin: str = STRANGER
    is_verified: bool = True  # the certificate


Fetch = Callable[[str, dict[str, str]], Page]


def visit_site(url: str, context: ssl.SSLContext | None = None) -> Visit:
    """Raises Unreachable. A port in the address is that of its scheme alone."""
    parts = _parts(url)
    if parts is None:
        raise Unreachable(
            f"{url!r} is no address that begins with http:// or https://."
        )
    fetch = _network(context or ssl.create_default_context())
    try:
        return _visit(fetch, *_addresses(parts))
    except ssl.SSLError as error:
        if not isinstance(error, ssl.SSLCertVerificationError):
            raise Unreachable(f"{url}: {error}") from error
    unverified = _network(ssl._create_unverified_context())  # noqa: S323
    return _visit(unverified, *_addresses(parts), is_verified=False)


def _parts(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        is_good = (
            parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        )
    except ValueError:
        return None
    return parts if is_good else None


def visit_project(path: str) -> Visit:
    """The project's own answers, without a server. Raises Unreachable."""
    if not path.startswith("/"):
        raise Unreachable(f"{path!r} is neither an address nor a path.")
    host = next(
        (it for it in settings.ALLOWED_HOSTS if it not in {"*", ""}), "localhost"
    )
    name = host.lstrip(".")
    client = Client(raise_request_exception=False)

    def fetch(url: str, headers: dict[str, str]) -> Page:
        parts = urlsplit(url)
        is_secure = parts.scheme == "https"
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        client.cookies.clear()
        response: Any = client.get(
            target, secure=is_secure, headers=headers, SERVER_NAME=name
        )
        return Page(url, response.status_code, _sent(response), _body(response))

    return _visit(fetch, f"https://{name}{path}", f"http://{name}{path}")


def _sent(response: Any) -> list[tuple[str, str]]:
    cookies = [("Set-Cookie", it.OutputString()) for it in response.cookies.values()]
    return [*response.items(), *cookies]


def _body(response: Any) -> str:
    if response.streaming:
        return ""
    return str(response.content[:LONGEST_BODY], "utf-8", "replace")


def _addresses(parts: SplitResult) -> tuple[str, str]:
    """Over TLS and without, empty where nobody knows the port."""
    if parts.port is None:
        both = (parts._replace(scheme=it).geturl() for it in ("https", "http"))
        return next(both), next(both)
    url = parts.geturl()
    return (url, "") if parts.scheme == "https" else ("", url)


def _visit(fetch: Fetch, secure: str, plain: str, *, is_verified: bool = True) -> Visit:
    secure_route = _route(fetch, secure)
    plain_route = _route(fetch, plain)
    route = secure_route or plain_route
    if not route:
        raise Unreachable(f"Nobody answers at {secure or plain}.")
    if not secure_route and route[-1].url.startswith("https:"):
        secure_route = [it for it in route if it.url.startswith("https:")]
    return Visit(
        page=route[-1],
        secure=secure_route[0] if secure_route else None,
        plain_route=[page.url for page in plain_route],
        asked_by_another=fetch(route[-1].url, {"Origin": STRANGER}),
        cookies=[it for page in route for it in page.all("set-cookie")],
        is_verified=is_verified,
    )


def _route(fetch: Fetch, url: str) -> list[Page]:
    """Each answer on the way; empty when nobody answers."""
    pages: list[Page] = []
    while url and len(pages) <= MOST_REDIRECTS:
        try:
            page = fetch(url, {})
        except ssl.SSLCertVerificationError:
            raise
        except (OSError, HTTPException, ValueError):  # an address that is none, too
            return pages
        pages.append(page)
        url = _next(url, page)
    return pages


def _next(url: str, page: Page) -> str:
    if page.status not in REDIRECTS or not page.first("location"):
        return ""
    try:
        return urljoin(url, page.first("location"))
    except ValueError:
        return ""


def _network(context: ssl.SSLContext) -> Fetch:
    def fetch(url: str, headers: dict[str, str]) -> Page:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        if parts.scheme == "https":
            connection: HTTPConnection = HTTPSConnection(
                host, port, timeout=TIMEOUT, context=context
            )
        elif parts.scheme == "http":
            connection = HTTPConnection(host, port, timeout=TIMEOUT)
        else:
            raise OSError(f"{parts.scheme!r} is no scheme to follow")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request("GET", target, headers={"Accept": "*/*", **headers})
            response = connection.getresponse()
            body = response.read(LONGEST_BODY).decode("utf-8", "replace")
            return Page(url, response.status, response.getheaders(), body)
        finally:
            connection.close()

    return fetch
