from __future__ import annotations

from typing import ClassVar

from rest_framework import serializers

from project.demo.models import Note, User


class SignInSerializer(serializers.Serializer):
    email = serializers.EmailField()
    password = serializers.CharField(max_length=1000, trim_whitespace=False)


class UserSerializer(serializers.ModelSerializer):
    role = serializers.CharField(read_only=True)

    class Meta:
        model = User
        fields: ClassVar = ["id", "email", "name", "role"]


class NoteSerializer(serializers.ModelSerializer):
    class Meta:
        model = Note
        fields: ClassVar = ["id", "text", "created"]


class PairSerializer(serializers.Serializer):
    token = serializers.CharField()
    token_type = serializers.CharField()
    expires_at = serializers.IntegerField(
        help_text="Unix time, seconds; null is never", allow_null=True
    )
    refresh = serializers.CharField()


class SignedInSerializer(PairSerializer):
    user = UserSerializer()


class RefreshSerializer(serializers.Serializer):
    refresh = serializers.CharField()


class PasswordSerializer(serializers.Serializer):
    password = serializers.CharField(max_length=1000, trim_whitespace=False)
    new_password = serializers.CharField(max_length=1000, trim_whitespace=False)
