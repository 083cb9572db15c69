"""Secrets in free text, known by what they look like or by what stands before them.

Each pattern is linear in the text: what it begins with is a literal or the edge of a
word, and what is repeated is never given back (``++``).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import cache
from typing import Any

from django.core.signals import setting_changed

from perfguard.conf import conf
from perfguard.redaction.assignments import redact_assignments
from perfguard.redaction.names import IN_URLS

logger = logging.getLogger("perfguard.audit")

BLANK = "********"
# What every one of them has something of: most values are short words.
SUSPECT = re.compile(r"[\w.-]{12}|[:= \t]|eyJ|-----")

EDGE = r"(?<![A-Za-z0-9])"
PEM = r"-----BEGIN\b(?s:.*?)(?:-----END[^-]{0,64}+(?:-----)?|\Z)"
# What follows the scheme of a challenge (RFC 9110, section 11.6.1) is no secret.
SCHEMES = (
    r"(?i:\b((?:Bearer|Api-?Key|DPoP|Negotiate|NTLM)[ \t]++)"
    r"(?!realm=|error=|scope=)[^\s\"'<>,;\\]{6,}+)"
)
# "Basic information" is English, and so is "Token expired".
BASIC = r"(?i:\b((?:Basic|Token)[ \t]++))(?![A-Za-z]?[a-z]*+(?![\w+/=]))[\w+/=.~-]{8,}+"
USERINFO = r"(://)[^/?#\s\"'<>]*@"
# The token of Django's links that reset a password.
RESET = rf"{EDGE}[0-9a-z]{{6,7}}-[0-9a-f]{{32}}(?![0-9a-z])"
# Of a URL within the text, and of a form that is a grant (RFC 6749, section 4.1.3).
IN_URL = (
    rf"(?i:([?#&](?:{'|'.join(sorted(IN_URLS))})(?:\[[^\]\s&=]{{0,64}}+\])?=))"
    r"[^\s&#\"'<>\\]++"
)
IN_GRANT = r"((?:\A|&)code=)[^\s&\"'<>\\]++"
VENDORS = {
    "AKIA": r"AKIA[0-9A-Z]{12,}+",  # Amazon
    "ASIA": r"ASIA[0-9A-Z]{12,}+",
    "gh": r"gh[oprsu]_[A-Za-z0-9]{16,}+",  # GitHub
    "github_pat_": r"github_pat_\w{16,}+",
    "glpat-": r"glpat-[\w-]{16,}+",  # GitLab
    "xox": r"xox[a-z]-[\w-]{8,}+",  # Slack
    "xapp-": r"xapp-[\w-]{8,}+",
    "sk-": r"sk-[\w-]{16,}+",  # OpenAI, Anthropic and others
    "k_": r"[rs]k_(?:live|test)_\w{8,}+",  # Stripe
    "whsec_": r"whsec_[\w+/=]{16,}+",
    "AIza": r"AIza[\w-]{30,}+",  # Google
    "ya29.": r"ya29\.[\w.-]{16,}+",
    "SG.": r"SG\.[\w-]{16,}+\.[\w-]++",  # SendGrid
    "npm_": r"npm_[A-Za-z0-9]{30,}+",
    "pypi-": r"pypi-[\w-]{16,}+",
    "hf_": r"hf_[A-Za-z0-9]{30,}+",  # Hugging Face
    "AGE-": r"AGE-SECRET-KEY-1[0-9A-Z]{16,}+",
}

Replacement = str | Callable[[re.Match[str]], str]


def redact_text(text: str, *, is_cut: bool = False) -> str:
    """``is_cut``: it went on, so that its last word may be half a secret."""
    if SUSPECT.search(text):
        text = _without_known(text)
        if ":" in text or "=" in text:
            text = redact_assignments(text, BLANK)
    for pattern in _own_patterns():
        text = pattern.sub(_blank_if_any, text)
    return _without_last_word(text) if is_cut else text


def _without_known(text: str) -> str:
    for literal, pattern, replacement in _patterns():
        if literal in text:
            text = pattern.sub(replacement, text)
    if " " in text or "\t" in text:
        text = SCHEME.sub(rf"\g<1>{BLANK}", text)
        text = BASICS.sub(rf"\g<1>{BLANK}", text)
    return text


SCHEME, BASICS = re.compile(SCHEMES), re.compile(BASIC)

# One that begins a word, or is long enough to be none: "hockeyJersey". It is matched to
# its end in any case, so that no part of it is looked at twice.
JWT = re.compile(r"eyJ[\w.+/=-]*+")
JWT_LEAST, JWT_LEAST_WITHIN = 12, 32


def _jwt(match: re.Match[str]) -> str:
    text, start, end = match.string, match.start(), match.end()
    if start and text[start - 1].isalnum():
        is_one = end - start >= JWT_LEAST_WITHIN
    else:
        is_one = end - start >= JWT_LEAST or end == len(text)
    return BLANK if is_one else match[0]


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str], Replacement], ...]:
    """What must occur for it to match, the pattern, and what stands instead."""
    prefix = f"{conf.API_KEYS_PREFIX}_"
    key = rf"({re.escape(prefix)}[0-9A-Za-z]{{12}}_)[0-9A-Za-z]++"
    return (
        ("eyJ", JWT, _jwt),
        ("-----BEGIN", re.compile(PEM), BLANK),
        ("://", re.compile(USERINFO), rf"\1{BLANK}@"),
        # What is public of it says which key it was.
        (prefix, re.compile(key), rf"\1{BLANK}"),
        ("-", re.compile(RESET), BLANK),
        ("?", re.compile(IN_URL), rf"\1{BLANK}"),
        ("#", re.compile(IN_URL), rf"\1{BLANK}"),
        ("grant_type=", re.compile(IN_GRANT), rf"\1{BLANK}"),
        *(
            (literal, re.compile(EDGE + pattern), BLANK)
            for literal, pattern in VENDORS.items()
        ),
    )


@cache
def _own_patterns() -> tuple[re.Pattern[str], ...]:
    compiled = []
    for pattern in conf.REDACTED_PATTERNS:
        try:
            compiled.append(re.compile(pattern))
        except re.error as error:  # a system check says so as well
            logger.error("REDACTED_PATTERNS: %r: %s", pattern, error)
    return tuple(compiled)


def _blank_if_any(match: re.Match[str]) -> str:
    return BLANK if match[0] else ""


LAST_WORD_ENDS = " \t\r\n\"'<>"


def _without_last_word(text: str) -> str:
    start = 1 + max(text.rfind(char) for char in LAST_WORD_ENDS)
    return text[:start] + BLANK if start < len(text) else text


def _reload(*, setting: str, **kwargs: Any) -> None:
    if setting == "PERFGUARD":
        _patterns.cache_clear()
        _own_patterns.cache_clear()


setting_changed.connect(_reload, dispatch_uid="perfguard.redaction.patterns")
