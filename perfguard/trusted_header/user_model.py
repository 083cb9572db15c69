"""What the project's user model can hold: an e-mail address, a name, roles, groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db.models import CharField, Field, Model, TextField, UniqueConstraint
from django.db.models.functions import Lower

UserModel = type[Model]

# A header that could set one of these would be the key to everything.
NEVER = frozenset({"password", "is_superuser", "last_login"})


def email_field(model: UserModel) -> str:
    """Raises FieldDoesNotExist when the model has none."""
    name = getattr(model, "get_email_field_name", lambda: "email")()
    return model._meta.get_field(name).name


def field_named(model: UserModel, name: str) -> Field[Any, Any] | None:
    """A column of the model; None for anything else."""
    try:
        field = model._meta.get_field(name)
    except FieldDoesNotExist:
        return None
    if not isinstance(field, Field) or field.many_to_many or not field.concrete:
        return None
    return field


def has_groups(model: UserModel) -> bool:
    return any(field.name == "groups" for field in model._meta.many_to_many)


def unique_field(model: UserModel) -> str | None:
    """The column that keeps two first requests from making two accounts: the e-mail
    address itself, else the user name, which then holds the address."""
    for name in (email_field(model), username_field(model)):
        field = field_named(model, name)
        if isinstance(field, CharField | TextField) and _is_unique(model, field):
            return name
    return None


def username_field(model: UserModel) -> str:
    return str(getattr(model, "USERNAME_FIELD", email_field(model)))


def _is_unique(model: UserModel, field: Field[Any, Any]) -> bool:
    constraints = [
        each
        for each in model._meta.constraints
        if isinstance(each, UniqueConstraint) and each.condition is None
    ]
    lower = (Lower(field.name),)
    return field.unique or any(
        each.fields == (field.name,) or each.expressions == lower
        for each in constraints
    )


def has_lower_index(model: UserModel) -> bool:
    """Whether the database finds an address in lower case without reading all rows."""
    wanted = (Lower(email_field(model)),)
    indexes = (*model._meta.indexes, *model._meta.constraints)
    return any(getattr(each, "expressions", ()) == wanted for each in indexes)


def name_values(user: Model, name: str) -> dict[str, str]:
    """The display name as the model's fields hold it: one field, or two."""
    model = user._meta.model  # its type may be a lazy object's
    if field_named(model, "name"):
        return _cut(model, {"name": name})
    if not (field_named(model, "first_name") and field_named(model, "last_name")):
        return {}
    first, last = getattr(user, "first_name", ""), getattr(user, "last_name", "")
    if f"{first} {last}".strip() == name:
        return {}  # somebody may have put the border elsewhere
    first, _, last = name.rpartition(" ")
    return _cut(
        model, {"first_name": first or last, "last_name": last if first else ""}
    )


def _cut(model: UserModel, values: Mapping[str, str]) -> dict[str, str]:
    cut = {}
    for name, value in values.items():
        field = field_named(model, name)
        if isinstance(field, CharField | TextField):
            cut[name] = value[: field.max_length]
    return cut


def role_fault(model: UserModel, fields: object) -> str:
    """Why a role of ``TRUSTED_ROLES`` cannot be given, or nothing."""
    if not isinstance(fields, Mapping):
        return "is no dictionary of fields of the user model"
    faults = (_field_fault(model, name, value) for name, value in fields.items())
    return next(filter(None, faults), "")


def _field_fault(model: UserModel, name: str, value: Any) -> str:
    field = field_named(model, name)
    if field is None:
        return f"names {name!r}, which is no column of the user model"
    kept = NEVER | {email_field(model), username_field(model)}
    if field.is_relation or field.primary_key or name in kept:
        return f"sets {name!r}, which no header may set"
    try:
        clean = field.clean(value, None)
        fits = clean == value and type(clean) is type(value)
    except ValidationError:
        fits = False
    return "" if fits else f"gives {name!r} the value {value!r}, which it cannot hold"
