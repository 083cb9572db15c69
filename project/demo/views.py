from __future__ import annotations

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from perfguard.throttling.throttles import AnonRateThrottle
from project.demo.models import Note, User
from project.demo.serializers import (
    NoteSerializer,
    UserSerializer,
)


class MeView(generics.RetrieveAPIView):
    serializer_class = UserSerializer

    def get_object(self) -> User:
        return self.request.user  # type: ignore[return-value]


class NotesView(generics.ListCreateAPIView):
    serializer_class = NoteSerializer
    queryset = Note.objects.none()

    def get_queryset(self) -> QuerySet[Note]:
        return Note.objects.filter(owner=self.request.user.pk)

    def perform_create(self, serializer: BaseSerializer[Note]) -> None:
        serializer.save(owner=self.request.user)


class NoteView(generics.RetrieveAPIView):
    serializer_class = NoteSerializer
    queryset = Note.objects.none()

    def get_queryset(self) -> QuerySet[Note]:
        return Note.objects.filter(owner=self.request.user.pk)


class PublicView(APIView):
    """Open to all, throttled by address."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = (AnonRateThrottle,)

    @extend_schema(responses={200: {"type": "object"}})
    def get(self, request: Request) -> Response:
        return Response({"message": "Hello from behind perfguard."})
