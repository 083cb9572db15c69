"""What a trusted proxy says of the person behind a request, read without a database.

A header that is not a trusted proxy's is ignored as if it were missing, and told to
``credential_refused`` with a code of ``trusted_proxy.distrusted``. One that is, and
cannot be read, is refused: "several_values", "malformed", "domain",
"malformed_groups".
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any
from unicodedata import category, normalize
from urllib.parse import unquote

from django.core.signals import setting_changed
from django.http import HttpRequest

from perfguard.conf import conf
from perfguard.exceptions import InvalidCredential
from perfguard.http.trusted_proxy import distrusted, meta_value, peer_of
from perfguard.signals import credential_refused

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

logger = logging.getLogger("perfguard.trusted_header")

LONGEST_EMAIL = 254  # octets, RFC 5321 section 4.5.3.1.3
LONGEST_LOCAL_PART = 64  # octets, section 4.5.3.1.1
LONGEST_NAME = 150  # characters
LONGEST_ROLE = 64  # octets
LONGEST_HEADER = 8192  # octets of names and groups
MOST_GROUPS = 500
MOST_WARNINGS = 100  # of one kind

# Without quoted local parts and address literals, which only a trick would use.
ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"  # RFC 5322 section 3.2.3
LABEL = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
EMAIL = re.compile(rf"({ATEXT}(?:\.{ATEXT})*)@({LABEL}(?:\.{LABEL})*)")
JOINERS = dict.fromkeys(map(ord, "\u200c\u200d"))  # written within names


class TrustedHeader:
    """The sender of what is told to ``credential_refused`` here."""


def trusted_email(request: HttpRequest) -> str | None:
    """The e-mail address in lower case; None: off, missing, or not from a proxy.

    Raises InvalidCredential when it is not exactly one address of the allowed kind.
    """
    if not conf.TRUSTED_EMAIL_HEADER:
        return None
    raw = meta_value(request, conf.TRUSTED_EMAIL_HEADER)
    if raw is None:
        return None
    if code := distrusted(request):
        tell_refused(request, code)
        warn_once("A trusted header of %s was ignored: %s.", peer_of(request), code)
        return None
    try:
        return read_email(raw)
    except InvalidCredential as error:
        tell_refused(request, error.code)
        raise


def is_presented(request: HttpRequest) -> bool:
    """Whether there is an e-mail header at all, from whomever."""
    return meta_value(request, conf.TRUSTED_EMAIL_HEADER) is not None


def trusted_name(request: HttpRequest) -> str | None:
    """The decoded display name; None also when it is empty or cannot be shown."""
    raw = _believed(request, conf.TRUSTED_NAME_HEADER)
    if not raw:
        return None
    name = read_name(raw)
    if name is None:
        reason = f"no {LONGEST_NAME} printable characters of UTF-8"
        warn_once("A trusted name header was ignored: %s.", reason)
    return name


def trusted_groups(request: HttpRequest) -> list[str] | None:
    """The names in the list, none of them twice. None: leave the groups alone; an
    empty list: take all away.

    Raises InvalidCredential for a list that cannot be read, since it may be the one
    that takes a right away.
    """
    raw = _believed(request, conf.TRUSTED_GROUPS_HEADER)
    if raw is None:
        return None
    text = _decoded(raw) if len(raw) <= LONGEST_HEADER else None
    stripped = [each.strip() for each in (text or "").split(",")]
    names = list(dict.fromkeys(filter(None, stripped)))
    if text is None or len(names) > MOST_GROUPS or not all(map(_is_shown, names)):
        message = "The trusted groups header cannot be read."
        raise refusal(request, "malformed_groups", message)
    return names


def trusted_role(request: HttpRequest) -> str | None:
    """The role in lower case; None when it is missing or empty."""
    raw = _believed(request, conf.TRUSTED_ROLE_HEADER)
    if not raw:
        return None
    # What is too long or no UTF-8 stays as odd as it is, and is no known role.
    text = (_decoded(raw) or raw)[:LONGEST_ROLE]
    return small(text.strip()) or None


def check_same_account(
    request: HttpRequest, user: AbstractBaseUser | AnonymousUser
) -> None:
    """Raises InvalidCredential when the header names somebody else than the user of a
    token or a session. A missing header passes."""
    email = trusted_email(request)
    if email is not None and not same_account(email, user):
        message = "User mismatch. Please sign in again."
        raise refusal(request, "user_mismatch", message, user)


def same_account(email: str, user: AbstractBaseUser | AnonymousUser) -> bool:
    """Whether an address of ``trusted_email`` is the user's own, whatever its case."""
    field = getattr(user, "get_email_field_name", lambda: "email")()
    own = getattr(user, field, None)
    return isinstance(own, str) and small(own) == email


# -- grammar ---------------------------------------------------------------------------


def read_email(raw: str) -> str:
    """One address as the server hands it over: its octets, as Latin-1."""
    if "," in raw:
        # Servers join two lines of one header by a comma.
        message = "The trusted e-mail header has several values."
        raise InvalidCredential(message, "several_values")
    text = _decoded(raw) if len(raw) <= LONGEST_EMAIL else None
    if text is None or not _is_email(text):
        message = "The trusted e-mail header holds no e-mail address."
        raise InvalidCredential(message, "malformed")
    email = small(text)
    allowed = conf.TRUSTED_EMAIL_DOMAINS
    if allowed and email.rpartition("@")[2] not in map(small, allowed):
        message = "Accounts of this e-mail domain may not sign in here."
        raise InvalidCredential(message, "domain")
    return email


def read_name(raw: str) -> str | None:
    text = _decoded(raw) if len(raw) <= LONGEST_HEADER else None
    try:
        name = normalize("NFC", unquote(text or "", errors="strict")).strip()
    except UnicodeError:
        return None
    return name if 0 < len(name) <= LONGEST_NAME and _is_shown(name) else None


def small(text: str) -> str:
    """Lower case that turns no other letter into an ASCII one, as the lower case of
    the Kelvin sign and of the dotted capital I does (CVE-2019-19844)."""
    return text.lower() if text.isascii() else "".join(map(_small_letter, text))


def _small_letter(letter: str) -> str:
    lower = letter.lower()
    kept = letter.isascii() or not any(map(str.isascii, lower))
    return lower if kept else letter


def _is_email(text: str) -> bool:
    if not text.isascii() and not (conf.TRUSTED_EMAIL_NON_ASCII and _is_stable(text)):
        return False
    match = EMAIL.fullmatch("".join(map(_ascii_like, text)))
    return match is not None and (
        len(text[: match.end(1)].encode()) <= LONGEST_LOCAL_PART
    )


def _is_stable(text: str) -> bool:
    """Whether NFC leaves it alone, and NFKC: ligatures, wide letters and the like only
    deceive the eye (RFC 8264, section 9.17). The dotted capital I has no small form
    that all databases agree on."""
    return normalize("NFKC", text) == text and "\u0130" not in text


def _ascii_like(letter: str) -> str:
    """A stand-in for letters, marks and digits of all scripts, for the grammar."""
    if letter.isascii():
        return letter
    return "x" if category(letter)[0] in "LMN" else " "


def _decoded(raw: str) -> str | None:
    try:
        return raw.encode("latin-1").decode()
    except UnicodeError:
        return None


def _is_shown(text: str) -> bool:
    return text.translate(JOINERS).isprintable()


def _believed(request: HttpRequest, header: str) -> str | None:
    raw = meta_value(request, header) if conf.TRUSTED_EMAIL_HEADER else None
    return None if raw is None or distrusted(request) else raw


# -- what is told ----------------------------------------------------------------------


def refusal(
    request: HttpRequest,
    code: str,
    message: str,
    user: AbstractBaseUser | AnonymousUser | None = None,
) -> InvalidCredential:
    """The error to raise, told to ``credential_refused``."""
    tell_refused(request, code, "" if user is None else str(user.pk))
    return InvalidCredential(message, code)


def tell_refused(request: HttpRequest, code: str, user_key: str = "") -> None:
    """Once for each request, however many doors it passes."""
    plain = getattr(request, "_request", request)  # DRF's wraps Django's
    told = vars(plain).setdefault("perfguard_trusted_header_told", set())
    if code not in told:
        told.add(code)
        credential_refused.send_robust(
            TrustedHeader,
            request=plain,
            kind="trusted_header",
            code=code,
            user_key=user_key,
        )


_warned: dict[str, set[tuple[str, ...]]] = {}


def warn_once(message: str, *args: str) -> None:
    """For each message and its arguments, and for so many of them that no client can
    fill a log."""
    seen = _warned.setdefault(message, set())
    if args not in seen and len(seen) < MOST_WARNINGS:
        seen.add(args)
        logger.warning(message, *args)


def _reload(*, setting: str, **kwargs: Any) -> None:
    if setting == "PERFGUARD":
        _warned.clear()


setting_changed.connect(_reload, dispatch_uid="perfguard.http.trusted_header")
