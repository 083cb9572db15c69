from __future__ import annotations

from typing import Any

from rest_framework import serializers


class TicketSerializer(serializers.Serializer[Any]):
    ticket = serializers.CharField(read_only=True)
    expires_in = serializers.FloatField(read_only=True)  # seconds
