from __future__ import annotations

import pytest

from perfguard.compression.middleware import CompressionMiddleware


@pytest.fixture
def ask(serve, rf):
    """``ask(response)`` is what a client gets in its place, sync and async."""

    def run(response, accept="zstd", method="GET", **headers):
        request = rf.generic(
            method, "/", headers={"Accept-Encoding": accept, **headers}
        )
        return serve(CompressionMiddleware, lambda _: response, request)

    return run
