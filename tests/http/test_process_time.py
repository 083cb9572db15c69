from __future__ import annotations

import re

from django.http import HttpResponse, StreamingHttpResponse

from perfguard.http.process_time import ProcessTimeMiddleware


def test_the_answer_says_in_decimal_seconds_how_long_it_took(serve, clock):
    def view(request):
        clock.advance(1.25)
        return HttpResponse()

    def door(get_response):
        return ProcessTimeMiddleware(get_response, clock)

    assert serve(door, view).headers["X-Process-Time"] == "1.250000"


def test_a_stream_says_when_it_began(serve, clock):
    def body():
        clock.advance(60)
        yield b"x"

    def view(request):
        clock.advance(0.5)
        return StreamingHttpResponse(body())

    def door(get_response):
        return ProcessTimeMiddleware(get_response, clock)

    assert serve(door, view).headers["X-Process-Time"] == "0.500000"


def test_short_times_are_decimal_too(serve):
    response = serve(ProcessTimeMiddleware, lambda request: HttpResponse())
    assert re.fullmatch(r"\d+\.\d{6}", response.headers["X-Process-Time"])


def test_without_a_name_nothing_is_sent(serve, perfguard):
    perfguard(PROCESS_TIME_HEADER="")
    response = serve(ProcessTimeMiddleware, lambda request: HttpResponse())
    assert "X-Process-Time" not in response.headers
