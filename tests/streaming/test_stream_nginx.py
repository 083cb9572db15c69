"""Behind nginx, as Debian ships it, with its buffering on."""

from __future__ import annotations

import pytest

from tests.streaming.sse import Listener


@pytest.mark.parametrize("kind", ["gthread", "asgi", "uvicorn"])
def test_events_leave_nginx_at_once(sites, nginx, kind):
    site = sites(kind)
    front = nginx(site.server.port)
    for source in ("sync", "async"):
        run = site.run()
        query = f"source=gated&kind={source}&run={run.name}&events=4"
        with Listener(f"{front}/sync?{query}") as stream:
            assert stream.response.headers["Server"].startswith("nginx")
            assert "Content-Length" not in stream.response.headers
            for number in range(4):
                assert stream.next().data == f'{{"number":{number}}}'
                run.tell(number + 1)
            assert stream.next() is None


def test_heartbeats_pass_nginx_and_a_client_that_leaves_is_noticed_behind_it(
    sites, nginx
):
    site = sites("gthread")
    front = nginx(site.server.port)
    run = site.run()
    with Listener(f"{front}/sync?source=gated&run={run.name}") as stream:
        stream.next()
        stream.beat()
        stream.beat()
    run.wait_for("closed")
