"""What the OpenAPI document says beyond what drf-spectacular finds by itself.

``DEFAULT_SCHEMA_CLASS`` names the class here, which is what imports the extensions.
"""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular import openapi
from drf_spectacular.extensions import (
    OpenApiAuthenticationExtension,
    OpenApiViewExtension,
)
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.utils import extend_schema, extend_schema_view

from perfguard.conf import conf

Schema = dict[str, Any]

REASON: Schema = {
    "type": "object",
    "description": "Why the request was refused.",
    "properties": {
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "A word for machines."},
    },
    "required": ["detail"],
}
FAULTS: Schema = {
    "type": "object",
    "description": "What is wrong with which field, or `detail` for the whole.",
    "additionalProperties": {},
}
RETRY_AFTER = {"Retry-After": "Seconds until it is worth another try."}
REFUSALS: dict[str, tuple[str, dict[str, str]]] = {
    "401": (
        "Nobody is signed in: the credential is missing, malformed, unknown, expired "
        "or revoked.",
        {"WWW-Authenticate": "The scheme that is wanted (RFC 9110, section 11.6.1)."},
    ),
    "403": ("This credential may not be used for this.", {}),
    "404": ("There is no such thing, or it is somebody else's.", {}),
    "429": (
        "Too many requests.",
        {
            **RETRY_AFTER,
            "RateLimit": "What remains, and the seconds until there is more.",
            "RateLimit-Policy": "The rates that the request falls under.",
        },
    ),
    "503": ("It cannot be checked, or made known, just now.", RETRY_AFTER),
}
SIGNED_OUT = {200: REASON}


class AutoSchema(openapi.AutoSchema):
    """With the refusals of each view: those that its own classes can give."""

    def get_operation(self, *args: Any, **kwargs: Any) -> Schema | None:
        operation = super().get_operation(*args, **kwargs)
        if operation is not None:
            known = operation["responses"]
            added = {each: self._refusal(each) for each in self._refusals()}
            operation["responses"] = dict(sorted({**added, **known}.items()))
        return operation

    def _refusals(self) -> list[str]:
        view = self.view
        guarded, throttled = view.get_authenticators(), view.get_throttles()
        applies = {
            "400": self.method in {"POST", "PUT", "PATCH"},
            # DRF's own rule: without a challenge it is a 403.
            "401": view.get_authenticate_header(view.request),
            "403": guarded,
            "404": "{" in self.path or self._is_list_view(),
            "429": throttled,
            "503": guarded or throttled,
        }
        return [status for status, applicable in applies.items() if applicable]

    def _refusal(self, status: str) -> Schema:
        name, schema = ("Faults", FAULTS) if status == "400" else ("Reason", REASON)
        component = ResolvedComponent(name, ResolvedComponent.SCHEMA, schema, name)
        self.registry.register_on_missing(component)
        text, headers = REFUSALS.get(status, ("The request cannot be read.", {}))
        return {
            "description": text,
            "headers": {
                name: {"schema": {"type": "string"}, "description": meaning}
                for name, meaning in headers.items()
            },
            "content": {"application/json": {"schema": component.ref}},
        }


# -- who is asking ---------------------------------------------------------------------


class TokenScheme(OpenApiAuthenticationExtension):
    target_class = "perfguard.tokens.authentication.JWTAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: openapi.AutoSchema) -> Schema:
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "The `token` of a sign-in.",
        }


class ApiKeyScheme(OpenApiAuthenticationExtension):
    """In the Authorization header, and in ``API_KEYS_HEADER`` where it is set."""

    target_class = "perfguard.api_keys.authentication.ApiKeyAuthentication"

    @property
    def name(self) -> list[str]:  # type: ignore[override]
        own = ["apiKeyHeader"] if conf.API_KEYS_HEADER else []
        return ["apiKey", *own]

    def get_security_requirement(self, auto_schema: openapi.AutoSchema) -> list[Schema]:
        # One of them is enough: each is an alternative of its own.
        allowed = getattr(auto_schema.view, "api_keys_allowed", True)
        return [{name: []} for name in self.name] if allowed else []

    def get_security_definition(self, auto_schema: openapi.AutoSchema) -> list[Schema]:
        headers = ["Authorization", conf.API_KEYS_HEADER]
        texts = ["`Api-Key <key>`, or `Bearer <key>`.", "The key alone."]
        return [
            {"type": "apiKey", "in": "header", "name": header, "description": text}
            for header, text, _ in zip(headers, texts, self.name, strict=False)
        ]


class TrustedHeaderScheme(OpenApiAuthenticationExtension):
    """Nothing that a client could send: it is the word of the proxy before it."""

    target_class = "perfguard.trusted_header.authentication.TrustedHeaderAuthentication"
    name: ClassVar[list[str]] = []

    def get_security_requirement(self, auto_schema: openapi.AutoSchema) -> list[Schema]:
        return []

    def get_security_definition(self, auto_schema: openapi.AutoSchema) -> list[Schema]:
        return []


# -- views that cannot speak for themselves --------------------------------------------


class SignOut(OpenApiViewExtension):
    target_class = "perfguard.tokens.views.SignOutView"

    def view_replacement(self) -> type:
        return extend_schema_view(post=extend_schema(responses=SIGNED_OUT))(
            type("SignOutView", (self.target_class,), {})
        )


class SignOutEverywhere(OpenApiViewExtension):
    target_class = "perfguard.tokens.views.SignOutEverywhereView"

    def view_replacement(self) -> type:
        operation = extend_schema(request=None, responses=SIGNED_OUT)
        return extend_schema_view(post=operation)(
            type("SignOutEverywhereView", (self.target_class,), {})
        )


class Sessions(OpenApiViewExtension):
    target_class = "perfguard.tokens.views.SessionsView"

    def view_replacement(self) -> type:
        operation = extend_schema(
            operation_id="v1_auths_sessions_destroy_others", responses={204: None}
        )
        return extend_schema_view(delete=operation)(
            type("SessionsView", (self.target_class,), {})
        )


class Session(OpenApiViewExtension):
    target_class = "perfguard.tokens.views.SessionView"

    def view_replacement(self) -> type:
        operation = extend_schema(responses={204: None})
        return extend_schema_view(delete=operation)(
            type("SessionView", (self.target_class,), {})
        )
