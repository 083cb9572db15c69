"""A content security policy as the HTTP Observatory judges it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

ALL = {"*"}
BROAD = {
    *("ftp:", "http:", "https:", "*"),
    *("http://*", "http://*.*", "https://*", "https://*.*"),
}
INLINE = {"'unsafe-inline'", "data:"}
PASSIVE = {"img-src", "media-src"}
TRUSTING = ("'sha256-", "'sha384-", "'sha512-", "'nonce-")

Directives = dict[str, set[str]]


def policy_result(headers: Sequence[str], *, is_secure: bool) -> str:
    if not headers:
        return "csp-not-implemented"
    try:
        policy = merged(headers)
    except ValueError:
        return "csp-header-invalid"
    scripts = _effective(policy, "script-src")
    styles = _without_inline(_of(policy, "style-src"))
    if "'strict-dynamic'" in scripts and not _trusts(scripts):
        return "csp-header-invalid"
    return "csp-implemented-" + _judged(policy, scripts, styles, is_secure=is_secure)


def frame_ancestors(headers: Sequence[str]) -> set[str]:
    try:
        return merged(headers).get("frame-ancestors", set())
    except ValueError:
        return set()


def merged(headers: Iterable[str]) -> Directives:
    """Of several policies, what all of them allow; raises ValueError."""
    policies = [_parsed(part) for header in headers for part in header.split(",")]
    result: Directives = {}
    for policy in policies:
        for name, sources in policy.items():
            known = result.get(name)
            result[name] = sources if known is None else known & sources or {"'none'"}
    return result


def _parsed(text: str) -> Directives:
    directives: Directives = {}
    for part in filter(None, map(str.strip, text.split(";"))):
        name, *sources = part.lower().split()
        if name in directives:
            raise ValueError(f"{name} is there twice")
        empty = {"'none'"} if name.endswith("-src") else set()
        directives[name] = set(sources) or empty
    if not directives:
        raise ValueError("an empty policy")
    return directives


def _judged(
    policy: Directives, scripts: set[str], styles: set[str], *, is_secure: bool
) -> str:
    """The first that applies, in the Observatory's own order."""
    active = {
        source
        for name, sources in policy.items()
        if name not in PASSIVE | {"script-src"}
        for source in sources
    } | scripts
    passive = {source for name in PASSIVE for source in _of(policy, name, set())}
    found = (
        (
            scripts & (BROAD | INLINE) or _of(policy, "object-src") & BROAD,
            UNSAFE_INLINE,
        ),
        (is_secure and _has_plain(active), "with-insecure-scheme"),
        ("'unsafe-eval'" in scripts | styles, "with-unsafe-eval"),
        (is_secure and _has_plain(passive), PLAIN_PASSIVE),
        (styles & (BROAD | INLINE), "with-unsafe-inline-in-style-src-only"),
        (policy.get("default-src") == {"'none'"}, "with-no-unsafe-default-src-none"),
    )
    return next((name for applies, name in found if applies), "with-no-unsafe")


UNSAFE_INLINE = "with-unsafe-inline"
PLAIN_PASSIVE = "with-insecure-scheme-in-passive-content-only"


def _of(policy: Directives, name: str, missing: set[str] = ALL) -> set[str]:
    return policy.get(name, policy.get("default-src", missing))


def _effective(policy: Directives, name: str) -> set[str]:
    """The sources that count: with 'strict-dynamic' and a nonce no others do."""
    sources = _without_inline(_of(policy, name))
    if "'strict-dynamic'" in sources and _trusts(sources):
        return {it for it in sources if it != "'self'" and not _is_broad(it)}
    return sources


def _is_broad(source: str) -> bool:
    return any(source.startswith(each) for each in BROAD)


def _without_inline(sources: set[str]) -> set[str]:
    """Browsers pass over it where there is a nonce or a hash."""
    return sources - {"'unsafe-inline'"} if _trusts(sources) else sources


def _trusts(sources: set[str]) -> bool:
    return any(source.startswith(TRUSTING) for source in sources)


def _has_plain(sources: set[str]) -> bool:
    return any(source.startswith(("http:", "ftp:")) for source in sources)
