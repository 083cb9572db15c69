from __future__ import annotations

from django.urls import path

from project.demo import views

urlpatterns = [
    path("auths/signin", views.SignInView.as_view()),
    path("auths/me", views.MeView.as_view()),
    path("notes", views.NotesView.as_view()),
    path("notes/<int:pk>", views.NoteView.as_view()),
    path("public", views.PublicView.as_view()),
]
