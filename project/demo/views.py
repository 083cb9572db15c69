from __future__ import annotations

from django.contrib.auth import authenticate
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView
from rest_framework_simplejwt.tokens import RefreshToken

from perfguard.throttling.throttles import AnonRateThrottle, SignInThrottle
from project.demo.models import Note, User
from project.demo.serializers import (
    NoteSerializer,
    SignedInSerializer,
    SignInSerializer,
    UserSerializer,
)


class SignInView(APIView):
    """E-mail and password for a pair of tokens."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = (SignInThrottle,)

    @extend_schema(request=SignInSerializer, responses=SignedInSerializer)
    def post(self, request: Request) -> Response:
        form = SignInSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        user = authenticate(
            request,
            username=form.validated_data["email"],
            password=form.validated_data["password"],
        )
        if not isinstance(user, User):
            raise AuthenticationFailed("E-mail address or password is wrong.")
        SignInThrottle().signed_in(request)
        refresh = RefreshToken.for_user(user)
        access = refresh.access_token
        body = {
            "token": str(access),
            "token_type": "Bearer",
            "expires_at": access["exp"],
            "refresh": str(refresh),
            "user": user,
        }
        return Response(
            SignedInSerializer(body).data, headers={"Cache-Control": "no-store"}
        )

    def get_authenticate_header(self, request: Request) -> str:
        # Without it DRF would answer 403 for wrong credentials.
        return 'Bearer realm="api"'


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
