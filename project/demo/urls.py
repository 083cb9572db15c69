from __future__ import annotations

from django.urls import path

from perfguard.api_keys.views import ApiKeysView, ApiKeyView, RotateApiKeyView
from perfguard.headers.decorators import signs_out
from perfguard.sockets.views import SocketTicketView
from perfguard.tokens.views import (
    SessionsView,
    SessionView,
    SignOutEverywhereView,
    SignOutView,
)
from project.demo import auths, views
from project.demo.report import ReportView
from project.demo.streams import StreamView

urlpatterns = [
    path("auths/signin", auths.SignInView.as_view()),
    path("auths/refresh", auths.RefreshView.as_view()),
    path("auths/signout", signs_out(SignOutView.as_view())),
    path("auths/signout-everywhere", signs_out(SignOutEverywhereView.as_view())),
    path("auths/password", auths.PasswordView.as_view()),
    path("auths/sessions", SessionsView.as_view()),
    path("auths/sessions/<str:sid>", SessionView.as_view()),
    path("auths/api-keys", ApiKeysView.as_view()),
    path("auths/api-keys/<str:key_id>", ApiKeyView.as_view()),
    path("auths/api-keys/<str:key_id>/rotate", RotateApiKeyView.as_view()),
    path("auths/me", views.MeView.as_view()),
    path("auths/socket-ticket", SocketTicketView.as_view()),
    path("notes", views.NotesView.as_view()),
    path("notes/<int:pk>", views.NoteView.as_view()),
    path("public", views.PublicView.as_view()),
    path("report", ReportView.as_view()),
    path("stream", StreamView.as_view()),
]
