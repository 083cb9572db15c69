"""From the e-mail address of a trusted header to a user of the project.

``credential_refused`` is told of each refusal; the codes are "ambiguous",
"unknown_user", "not_created", "inactive" and those of ``perfguard.http``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.db import DataError, IntegrityError, router, transaction
from django.db.models import Model
from django.db.models.functions import Lower
from django.http import HttpRequest

from perfguard.conf import conf
from perfguard.http.trusted_header import (
    refusal,
    same_account,
    trusted_email,
    trusted_groups,
    trusted_name,
    trusted_role,
    warn_once,
)
from perfguard.trusted_header.user_model import (
    email_field,
    field_named,
    has_groups,
    name_values,
    role_fault,
    unique_field,
    username_field,
)

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser

logger = logging.getLogger("perfguard.trusted_header")

MOST_CANDIDATES = 16  # accounts that the database takes for one, by its own collation


def user_from_header(request: HttpRequest) -> AbstractBaseUser | None:
    """The active user whom a trusted header names, brought up to date with it; created
    where ``TRUSTED_CREATE_USERS`` says so. None: there is no header that counts.

    Raises InvalidCredential when there is one, and it leads to no such user.
    """
    email = trusted_email(request)
    if email is None:
        return None
    user = _find(request, email) or _create(request, email)
    follow_header(request, user)
    return user


def follow_header(request: HttpRequest, user: AbstractBaseUser) -> None:
    """Give the user the header's name, role and groups; nothing is written unless one
    of them differs.

    Raises InvalidCredential for an inactive user, before or after.
    """
    _check_active(request, user)
    wanted = _wanted_fields(request, user)
    changed = [name for name, value in wanted.items() if getattr(user, name) != value]
    groups = _wanted_groups(request, user)
    if changed or groups is not None:
        with transaction.atomic(using=router.db_for_write(user._meta.model)):
            for name in changed:
                setattr(user, name, wanted[name])
            if changed:
                user.save(update_fields=changed)
            if groups is not None:
                user.groups.set(groups)  # type: ignore[attr-defined]
        _check_active(request, user)


def _check_active(request: HttpRequest, user: AbstractBaseUser) -> None:
    if not user.is_active:
        raise refusal(request, "inactive", "This account is not active.", user)


# -- an account there is ---------------------------------------------------------------


def _find(
    request: HttpRequest, email: str, using: str | None = None
) -> AbstractBaseUser | None:
    """Compared in lower case, and here: a database may take more letters for one than
    are (CVE-2019-19844)."""
    model: Any = get_user_model()
    candidates = model._default_manager.using(using).alias(
        perfguard_email=Lower(email_field(model))
    )
    found = list(candidates.filter(perfguard_email=email)[:MOST_CANDIDATES])
    same: list[AbstractBaseUser] = [it for it in found if same_account(email, it)]
    if len(same) > 1 or len(found) == MOST_CANDIDATES:
        message = "Several accounts have this e-mail address."
        raise refusal(request, "ambiguous", message)
    return same[0] if same else None


# -- a new one -------------------------------------------------------------------------


def _create(request: HttpRequest, email: str) -> AbstractBaseUser:
    if not conf.TRUSTED_CREATE_USERS:
        message = "There is no account for this e-mail address."
        raise refusal(request, "unknown_user", message)
    user = _new_user(request, email)
    database = router.db_for_write(user._meta.model)
    try:
        with transaction.atomic(using=database):
            user.save(using=database, force_insert=True)
            if not same_account(email, user):
                raise _not_created(request, "the model respells e-mail addresses")
    except (IntegrityError, DataError) as error:
        # Another first request may have been faster: then its account is there.
        found = _find(request, email, using=database)
        if found is None:
            raise _not_created(request, type(error).__name__) from error
        return found
    logger.info("A trusted header created the user %s.", user.pk)
    return user


def _new_user(request: HttpRequest, email: str) -> AbstractBaseUser:
    """Without a usable password and, unless a role says otherwise, without rights."""
    model: Any = get_user_model()
    role = conf.TRUSTED_DEFAULT_ROLE
    fields = _role_fields(trusted_role(request), role) if role else {}
    unique = unique_field(model)
    if fields is None:
        raise _not_created(request, "TRUSTED_DEFAULT_ROLE is no role")
    if unique is None:
        raise _not_created(request, "no unique column can hold the e-mail address")
    user: AbstractBaseUser = model(**{email_field(model): email})
    if unique == username_field(model) != email_field(model):
        setattr(user, unique, _username(email, field_named(model, unique)))
    for flag in ("is_staff", "is_superuser"):
        if field_named(model, flag):
            setattr(user, flag, False)
    for name, value in fields.items():
        setattr(user, name, value)
    user.set_unusable_password()
    return user


def _username(email: str, field: Any) -> str:
    """The address, or what stands for it in a column that is too short."""
    longest = field.max_length
    if longest is None or len(email) <= longest:
        return email
    return sha256(email.encode()).hexdigest()[:longest]


def _not_created(request: HttpRequest, reason: str) -> Exception:
    warn_once("A trusted header could not create a user: %s.", reason)
    message = "No account could be made for this e-mail address."
    return refusal(request, "not_created", message)


# -- what the header says of it --------------------------------------------------------


def _wanted_fields(request: HttpRequest, user: AbstractBaseUser) -> dict[str, Any]:
    name = trusted_name(request)
    fields = name_values(user, name) if name else {}
    return {**fields, **(_role_fields(trusted_role(request)) or {})}


def _role_fields(*roles: str | None) -> Mapping[str, Any] | None:
    """The fields of the first role that there is; None when there is none of them."""
    for role in filter(None, roles):
        fields = conf.TRUSTED_ROLES.get(role)
        if fields is not None and not role_fault(get_user_model(), fields):
            given: Mapping[str, Any] = fields
            return given
        warn_once("A trusted role header was ignored: %s is no role.", repr(role))
    return None


def _wanted_groups(request: HttpRequest, user: AbstractBaseUser) -> list[Model] | None:
    """The groups to give, of those that exist; None when the user has just these."""
    names = trusted_groups(request)
    if names is None or not has_groups(user._meta.model):
        return None
    groups: Any = user.groups  # type: ignore[attr-defined]
    current = {group.name for group in groups.all()}
    if current == set(names):
        return None
    model = groups.model
    # A database may take "Ops" for "ops".
    found = [it for it in model.objects.filter(name__in=names) if it.name in names]
    existing = {group.name for group in found}
    for name in names:
        if name not in existing:
            warn_once(
                "A trusted groups header names %s, which is no group.", repr(name)
            )
    return None if existing == current else found
