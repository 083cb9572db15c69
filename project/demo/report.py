"""A large answer, for compression, fast JSON and conditional requests."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from perfguard.throttling.throttles import AnonRateThrottle
from project.demo.schema import FAULTS

REGIONS = ("north", "east", "south", "west")


class ReportQuery(serializers.Serializer):
    rows = serializers.IntegerField(default=100, min_value=0, max_value=10_000)


class ReportRow(serializers.Serializer):
    id = serializers.IntegerField()
    name = serializers.CharField()
    region = serializers.ChoiceField(REGIONS)
    amount = serializers.DecimalField(max_digits=9, decimal_places=2)
    share = serializers.FloatField()
    is_paid = serializers.BooleanField()
    note = serializers.CharField()


class ReportView(APIView):
    """So many rows, always the same. Open to all, throttled by address."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = (AnonRateThrottle,)

    @extend_schema(
        parameters=[ReportQuery],
        responses={
            200: inline_serializer(
                "Report",
                {"count": serializers.IntegerField(), "rows": ReportRow(many=True)},
            ),
            400: FAULTS,
        },
    )
    def get(self, request: Request) -> Response:
        query = ReportQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        count = query.validated_data["rows"]
        return Response({"count": count, "rows": [row(each) for each in range(count)]})


def row(number: int) -> dict[str, Any]:
    return {
        "id": number,
        "name": f"Order {number}",
        "region": REGIONS[number % 4],
        "amount": f"{number * 37 % 10_000}.{number % 100:02}",
        "share": number % 1000 / 1000,
        "is_paid": number % 3 == 0,
        "note": "Paid late." if number % 7 == 0 else "",
    }
