"""An owner's own API keys. They are managed by a person, not by an API key."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError as Refused
from django.db import transaction
from django.db.models import QuerySet
from django.utils.decorators import method_decorator
from rest_framework import generics, status
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer, as_serializer_error

from perfguard.api_keys.answers import DISABLED, PENDING
from perfguard.api_keys.authentication import ApiKeyRefused
from perfguard.api_keys.models import ApiKey
from perfguard.api_keys.permissions import NoApiKey
from perfguard.api_keys.serializers import (
    ApiKeySerializer,
    IssuedApiKeySerializer,
    RotationSerializer,
)
from perfguard.api_keys.services import revoke
from perfguard.conf import conf


# With ATOMIC_REQUESTS the commit would come after the answer that reports it.
@method_decorator(transaction.non_atomic_requests, name="dispatch")
class OwnKeys(generics.GenericAPIView[ApiKey]):
    permission_classes = (IsAuthenticated, NoApiKey)
    api_keys_allowed = False
    serializer_class: type[BaseSerializer[ApiKey]] = ApiKeySerializer
    queryset = ApiKey.objects.none()
    lookup_field = "key_id"

    def get_queryset(self) -> QuerySet[ApiKey]:
        keys = ApiKey.objects.filter(owner=self.request.user.pk)
        return keys.select_related("replaced_by")

    def get_object(self) -> ApiKey:
        text = str(self.kwargs[self.lookup_field])
        # No other text is the id of a key, and PostgreSQL takes no NUL at all.
        if not (text.isascii() and text.isalnum()):
            raise NotFound
        return super().get_object()

    def save(self, serializer: BaseSerializer[ApiKey], code: int) -> Response:
        """Make a key, and tell it once."""
        if not conf.API_KEYS_ENABLED:
            raise ApiKeyRefused(DISABLED)
        serializer.is_valid(raise_exception=True)
        try:
            serializer.save()
        except Refused as error:
            raise ValidationError(as_serializer_error(error)) from error
        return Response(serializer.data, status=code)

    def finalize_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().finalize_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-store"
        return response


class ApiKeysView(OwnKeys, generics.ListCreateAPIView[ApiKey]):
    """GET lists the user's keys; POST makes one, and shows it once."""

    def get_serializer_class(self) -> type[BaseSerializer[ApiKey]]:
        if self.request.method == "POST":
            return IssuedApiKeySerializer
        return self.serializer_class

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        form = self.get_serializer(data=request.data)
        return self.save(form, status.HTTP_201_CREATED)


class ApiKeyView(OwnKeys, generics.RetrieveAPIView[ApiKey]):
    """GET shows one key; DELETE revokes it, for good.

    204 once it is in force everywhere, 503, with ``Retry-After``, when it is recorded
    and Redis could not be told.
    """

    def delete(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        if not revoke(self.get_object(), by=str(request.user.pk)):
            raise ApiKeyRefused(PENDING)
        return Response(status=status.HTTP_204_NO_CONTENT)


class RotateApiKeyView(OwnKeys, generics.CreateAPIView[ApiKey]):
    """POST makes a new key in place of one, and shows it once."""

    serializer_class = RotationSerializer

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        form = self.get_serializer(self.get_object(), data=request.data)
        return self.save(form, status.HTTP_201_CREATED)
