"""One answer of a site, looked at as the HTTP Observatory looks at it.

Each function gives one name of :data:`perfguard.headers.observatory.MODIFIERS`. Whether
a host is in the browsers' preload list is not asked: nothing leaves this machine but
the visit itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from html.parser import HTMLParser
from urllib.parse import urlsplit

from perfguard.headers.observatory import Score
from perfguard.headers.policy_analysis import frame_ancestors, policy_result
from perfguard.headers.visits import Page, Visit

SIX_MONTHS = 15_552_000  # seconds; 180 days, as the Observatory counts them
PRIVATE = {
    *("no-referrer", "same-origin", "strict-origin"),
    "strict-origin-when-cross-origin",
}
UNSAFE = {
    *("origin", "origin-when-cross-origin", "unsafe-url"),
    "no-referrer-when-downgrade",
}


def score(visit: Visit) -> Score:
    return Score([analyse(visit) for analyse in ANALYSES])


def csp(visit: Visit) -> str:
    is_secure = visit.page.url.startswith("https:")
    return policy_result(visit.page.all("content-security-policy"), is_secure=is_secure)


def hsts(visit: Visit) -> str:
    if not visit.is_verified:
        return "hsts-invalid-cert"
    if visit.secure is None:
        return "hsts-not-implemented-no-https"
    values = visit.secure.all("strict-transport-security")
    if not values:
        return "hsts-not-implemented"
    parts = [part.strip().lower() for part in values[0].split(";")]
    ages = [part[8:] for part in parts if part.startswith("max-age=")]
    if not ages or not ages[-1].isdecimal() or "," in values[0]:
        return "hsts-header-invalid"
    # As many digits as anybody needs: Python refuses to read thousands.
    length = "at-least" if int(ages[-1][:12]) >= SIX_MONTHS else "less-than"
    return f"hsts-implemented-max-age-{length}-six-months"


def frames(visit: Visit) -> str:
    if frame_ancestors(visit.page.all("content-security-policy")):
        return "x-frame-options-implemented-via-csp"
    value = visit.page.first("x-frame-options").lower()
    if not value:
        return "x-frame-options-not-implemented"
    if value in {"deny", "sameorigin"}:
        return "x-frame-options-sameorigin-or-deny"
    is_origin = value.startswith("allow-from")
    return f"x-frame-options-{'allow-from-origin' if is_origin else 'header-invalid'}"


def sniffing(visit: Visit) -> str:
    value = visit.page.first("x-content-type-options").lower()
    if not value:
        return "x-content-type-options-not-implemented"
    is_known = value == "nosniff"
    return f"x-content-type-options-{'nosniff' if is_known else 'header-invalid'}"


def referrer(visit: Visit) -> str:
    values = visit.page.all("referrer-policy")
    tokens = [it.strip().lower() for value in values for it in value.split(",")]
    known = [token for token in tokens if token in PRIVATE | UNSAFE]
    if not values:
        return "referrer-policy-not-implemented"
    if not known:
        return "referrer-policy-header-invalid"
    return f"referrer-policy-{'private' if known[-1] in PRIVATE else 'unsafe'}"


def resources(visit: Visit) -> str:
    value = visit.page.first("cross-origin-resource-policy").lower()
    name = "cross-origin-resource-policy"
    if not value:
        return f"{name}-not-implemented"
    if value not in {"same-origin", "same-site", "cross-origin"}:
        return f"{name}-header-invalid"
    return f"{name}-implemented-with-{value}"


def sharing(visit: Visit) -> str:
    name = "cross-origin-resource-sharing"
    allowed = visit.asked_by_another.first("access-control-allow-origin").lower()
    credentials = visit.asked_by_another.first("access-control-allow-credentials")
    if not allowed:
        return f"{name}-not-implemented"
    if allowed == "*":
        return f"{name}-implemented-with-public-access"
    is_universal = allowed == visit.origin and credentials.lower() == "true"
    access = "universal" if is_universal else "restricted"
    return f"{name}-implemented-with-{access}-access"


def redirection(visit: Visit) -> str:
    route = [urlsplit(url) for url in visit.plain_route]
    following = route[1] if len(route) > 1 else None
    found = (
        (not visit.is_verified, "redirection-invalid-cert"),
        (not route, "redirection-not-needed-no-http"),
        (following is None, "redirection-missing"),
        (not route or route[-1].scheme != "https", "redirection-not-to-https"),
        (
            following is not None and following.scheme == "http",
            "redirection-not-to-https-on-initial-redirection",
        ),
        (
            following is not None and following.hostname != route[0].hostname,
            "redirection-off-host-from-http",
        ),
    )
    return next((name for applies, name in found if applies), "redirection-to-https")


def cookies(visit: Visit) -> str:
    """The worst that is said of any."""
    found = [_cookie(text) for text in visit.cookies]
    if not found:
        return "cookies-not-found"
    is_protected = hsts(visit).startswith("hsts-implemented-max-age-at-least")
    wrong = [it for each in found for it in _faults(*each, is_protected=is_protected)]
    if wrong:
        return f"cookies-{max(wrong, key=WORSE.index)}"
    has_all = all("samesite" in attributes for _, attributes in found)
    return "cookies-secure-with-httponly-sessions" + "-and-samesite" * has_all


WORSE = (
    "without-secure-flag-but-protected-by-hsts",
    "without-secure-flag",
    "session-without-secure-flag-but-protected-by-hsts",
    "samesite-flag-invalid",
    "anticsrf-without-samesite-flag",
    "session-without-httponly-flag",
    "session-without-secure-flag",
)


def _cookie(text: str) -> tuple[str, dict[str, str]]:
    first, *rest = text.split(";")
    pairs = (part.strip().partition("=") for part in rest)
    return first.partition("=")[0].strip().lower(), {
        name.strip().lower(): value.strip().lower() for name, _, value in pairs
    }


def _faults(
    name: str, attributes: dict[str, str], *, is_protected: bool
) -> Iterable[str]:
    is_session = "sess" in name or "login" in name
    is_secure = "secure" in attributes
    same_site = attributes.get("samesite")
    if same_site is not None and same_site not in {"lax", "strict", "none"}:
        yield "samesite-flag-invalid"
    if same_site == "none" and not is_secure:
        yield "samesite-flag-invalid"
    if not is_secure:
        kind = "session-" if is_session else ""
        yield f"{kind}without-secure-flag" + "-but-protected-by-hsts" * is_protected
    if "csrf" in name and same_site is None:
        yield "anticsrf-without-samesite-flag"
    if is_session and "httponly" not in attributes:
        yield "session-without-httponly-flag"


def scripts(visit: Visit) -> str:
    page = visit.page
    if not page.first("content-type").startswith(("text/html", "application/xhtml")):
        return "sri-not-implemented-response-not-html"
    parser = _Scripts()
    parser.feed(page.body)
    if not parser.count:
        return "sri-not-implemented-but-no-scripts-loaded"
    return _script_result(page, parser.sources)


def _script_result(page: Page, sources: list[tuple[str, bool]]) -> str:
    here = urlsplit(page.url)
    foreign: set[tuple[bool, bool]] = set()  # has integrity, comes by TLS
    is_protected = False
    for address, has_integrity in sources:
        parts = urlsplit(address)
        is_secure = (parts.scheme or here.scheme) == "https"
        if address.startswith("//") or not _is_near(parts.hostname, here.hostname):
            foreign.add((has_integrity, parts.scheme == "https"))
        else:
            is_protected |= has_integrity and is_secure
    for kind, name in FOREIGN:
        if kind in foreign:
            return name
    if is_protected:
        return "sri-implemented-and-all-scripts-loaded-securely"
    return "sri-not-implemented-but-all-scripts-loaded-from-secure-origin"


# The worst first: has integrity, comes by TLS.
FOREIGN = (
    ((False, False), "sri-not-implemented-and-external-scripts-not-loaded-securely"),
    ((True, False), "sri-implemented-but-external-scripts-not-loaded-securely"),
    ((False, True), "sri-not-implemented-but-external-scripts-loaded-securely"),
    ((True, True), "sri-implemented-and-external-scripts-loaded-securely"),
)


def _is_near(host: str | None, here: str | None) -> bool:
    """Of one registered domain, as far as two labels tell; a path has no host."""
    return host is None or host.split(".")[-2:] == (here or "").split(".")[-2:]


class _Scripts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.sources: list[tuple[str, bool]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "script":
            self.count += 1
            found = dict(attrs)
            if source := (found.get("src") or "").strip():
                self.sources.append((source, bool(found.get("integrity"))))


ANALYSES: tuple[Callable[[Visit], str], ...] = (
    *(csp, cookies, sharing, redirection, referrer),
    *(hsts, scripts, sniffing, frames, resources),
)
