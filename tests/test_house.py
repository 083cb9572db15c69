"""The house rules that no linter knows."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import perfguard
from perfguard.schema import SETTINGS

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "perfguard").rglob("*.py"))


def test_every_module_imports():
    for module in pkgutil.walk_packages(perfguard.__path__, "perfguard."):
        importlib.import_module(module.name)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_file_grows_over_300_lines(path):
    assert len(path.read_text().splitlines()) <= 300


def test_rooms_are_empty_at_the_door():
    for path in (ROOT / "perfguard").rglob("__init__.py"):
        assert path.parent == ROOT / "perfguard" or not path.read_text()


def test_settings_are_read_where_they_are_used():
    """Never at module level, in a class body or as a default: tests could not change
    them, and an import would need configured settings."""
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        for node in _outside_functions(tree):
            assert not _reads_conf(node), f"{path.name}:{node.lineno}"


def _outside_functions(tree):
    stack = list(ast.iter_child_nodes(tree))
    while stack:
        node = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            stack += node.args.defaults
            continue
        yield node
        stack += ast.iter_child_nodes(node)


def _reads_conf(node):
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "conf"
        and node.attr in SETTINGS
    )


def test_throttling_needs_no_drf():
    """Without DRF in INSTALLED_APPS and without it on the path."""
    program = """
import sys
sys.modules["rest_framework"] = None
from django.conf import settings
settings.configure(
    SECRET_KEY="x" * 50,
    INSTALLED_APPS=[
        "django.contrib.contenttypes", "django.contrib.auth", "perfguard"
    ],
    PERFGUARD={"THROTTLE_RATES": {"api": "1/minute"}},
    ROOT_URLCONF="tests.empty_urls",
)
import django
django.setup()
from django.core.management import call_command
call_command("check", deploy=True, fail_level="CRITICAL")
from django.http import HttpResponse
from django.test import RequestFactory
from perfguard.throttling.decorators import throttle
view = throttle("api")(lambda request: HttpResponse("ok"))
rf = RequestFactory()
print([view(rf.get("/")).status_code for _ in range(2)])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1:] == ["[200, 429]"], done.stderr


def test_importing_starts_no_thread_and_opens_no_socket():
    program = """
import socket, sys, threading
def refuse(*args, **kwargs):
    raise AssertionError("a socket at import")
socket.socket.connect = refuse
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
import django
django.setup()
import project.urls
print(threading.active_count())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout == "1\n", done.stderr


def test_the_package_is_built_without_the_project(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    copy = tmp_path / "source"
    copy.mkdir()
    for name in ("perfguard", "pyproject.toml", "README.md", "LICENSE", "project"):
        subprocess.run(["cp", "-r", str(ROOT / name), str(copy)], check=True)
    subprocess.run([*command, "-w", str(tmp_path), str(copy)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = subprocess.run(
        [sys.executable, "-m", "zipfile", "-l", str(wheel)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "perfguard/throttling/lua/window.lua" in names
    assert "perfguard/py.typed" in names
    assert not re.search(r"^(project|tests)/", names, flags=re.MULTILINE)


def test_every_requirement_names_a_test_that_exists():
    page = (ROOT / "docs" / "conformance.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)
    assert named
    for path, name in named:
        assert f"def {name}(" in (ROOT / path).read_text(), f"{path}::{name}"
