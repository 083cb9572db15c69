from __future__ import annotations

import shutil
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.servers import Gunicorn

ADMIN = "admin@example.com"


@pytest.fixture(scope="session")
def site(tmp_path_factory: Any) -> Iterator[Gunicorn]:
    """The demo, under gunicorn, for all pages."""
    database = tmp_path_factory.mktemp("browser") / "db.sqlite3"
    with Gunicorn(database) as server:
        yield server


# Not for the whole session: Playwright has an event loop in this thread while it runs,
# and other tests run their own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("google-chrome")
    assert path, "No chromium: install it, as 'make test' does."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox"]
        )
        yield browser
        browser.close()


class Visitor:
    """An administrator's browser, signed in; what goes wrong in a page is kept."""

    def __init__(self, site: Gunicorn, page: Page, folder: Path) -> None:
        self.site, self.page, self.folder = site, page, folder
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._note)

    def _note(self, message: Any) -> None:
        if message.type == "error" and "favicon" not in message.location["url"]:
            self.errors.append(message.text)

    def sign_in(self) -> Visitor:
        self.open("/admin/login/?next=/admin/")
        self.page.fill("[name=username]", ADMIN)
        self.page.fill("[name=password]", "admin-password")
        self.press("[type=submit]")
        assert self.page.title().startswith("Site administration")
        return self

    def press(self, selector: str) -> Any:
        """Click what leads to another page, and wait for that."""
        with self.page.expect_navigation() as found:
            self.page.click(selector)
        return found.value

    def open(self, path: str) -> Any:
        return self.page.goto(f"{self.site.url}{path}")

    def picture(self, name: str) -> Path:
        path = self.folder / f"{name}.png"
        self.page.screenshot(path=path, full_page=True)
        return path


@pytest.fixture(params=["light", "dark"])
def visitor(
    request: Any, site: Gunicorn, browser: Browser, tmp_path: Path
) -> Iterator[Visitor]:
    context = browser.new_context(
        color_scheme=request.param, viewport={"width": 1200, "height": 800}
    )
    yield Visitor(site, context.new_page(), tmp_path).sign_in()
    context.close()


def api(
    site: Gunicorn,
    method: str,
    path: str,
    body: str = "",
    *,
    token: str = "",
    key: str = "",
) -> Any:
    """Status and body of a call to the demo API."""
    connection = HTTPConnection("127.0.0.1", site.port, timeout=10)
    headers = {"Content-Type": "application/json", "User-Agent": "a-phone/1.0"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    if key:
        headers["Authorization"] = f"Api-Key {key}"
    connection.request(method, f"/api/v1/{path}", body, headers)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text
