from __future__ import annotations

from typing import Any, ClassVar

from rest_framework import serializers

from perfguard.api_keys import services
from perfguard.api_keys.models import ApiKey
from perfguard.api_keys.validators import validate_rules
from perfguard.exceptions import InvalidLifetime
from perfguard.lifetimes import read_lifetime


class ApiKeySerializer(serializers.ModelSerializer[ApiKey]):
    """What an owner sees of a key, and may say about a new one."""

    endpoints = serializers.ListField(
        child=serializers.CharField(max_length=500),
        allow_null=True,
        default=None,
        max_length=100,
        help_text="Rules such as 'GET notes:list'; null is without restriction, and "
        "an empty list allows nothing.",
    )
    state = serializers.CharField(read_only=True)
    replaced_by = serializers.SlugRelatedField(slug_field="key_id", read_only=True)  # type: ignore[var-annotated]

    class Meta:
        model = ApiKey
        fields: ClassVar = [
            "key_id",
            "label",
            "state",
            "created",
            "expires_at",
            "revoked_at",
            "last_used_at",
            "endpoints",
            "rate",
            "replaced_by",
        ]
        # A rate of the owner's own choosing would be none.
        read_only_fields: ClassVar = [
            "key_id",
            "created",
            "revoked_at",
            "last_used_at",
            "rate",
        ]

    def validate_endpoints(self, endpoints: list[str] | None) -> list[str] | None:
        validate_rules("\n".join(endpoints or ()))
        return endpoints


class IssuedApiKeySerializer(ApiKeySerializer):
    """With the key itself: in the answer that makes it, and never again."""

    key = serializers.CharField(read_only=True)

    class Meta(ApiKeySerializer.Meta):
        fields: ClassVar = [*ApiKeySerializer.Meta.fields, "key"]

    def create(self, validated_data: dict[str, Any]) -> ApiKey:
        user = self.context["request"].user
        return with_text(services.create(user, by=str(user.pk), **validated_data))


class RotationSerializer(IssuedApiKeySerializer):
    overlap = serializers.CharField(
        write_only=True,
        required=False,
        max_length=50,
        help_text="How long the old key goes on, such as '1d12h'.",
    )
    endpoints = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta(IssuedApiKeySerializer.Meta):
        fields: ClassVar = [*IssuedApiKeySerializer.Meta.fields, "overlap"]
        read_only_fields: ClassVar = IssuedApiKeySerializer.Meta.fields

    def validate_overlap(self, text: str) -> Any:
        try:
            overlap = read_lifetime(text)
        except InvalidLifetime as error:
            raise serializers.ValidationError(str(error)) from error
        if overlap is None:
            raise serializers.ValidationError("The old key has to end.")
        return overlap

    def update(self, instance: ApiKey, validated_data: dict[str, Any]) -> ApiKey:
        by = str(self.context["request"].user.pk)
        return with_text(services.rotate(instance, validated_data.get("overlap"), by))


def with_text(issued: services.Issued) -> ApiKey:
    """The row, with the key as an attribute that is no column."""
    issued.api_key.key = issued.text  # type: ignore[attr-defined]
    return issued.api_key
