"""What the manual says is what the code has: names, ids, commands and links."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

import perfguard
from perfguard.schema import SETTINGS

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
CHECK_ID = re.compile(r"perfguard\.[EWI]\d{3}")
VARIABLE = re.compile(r"""\b(?:env\.\w+|text)\(\s*["']([A-Z_]+)["']""")
PROJECT = sorted((ROOT / "project").rglob("*.py"))
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def headings(page):
    """Of a page; what looks like one in a block of code is not."""
    return re.findall(r"^#+ (.+)$", without_code(page.read_text()), flags=re.MULTILINE)


def without_code(text):
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def python_blocks(page):
    return re.findall(
        r"^```python\n(.*?)^```$", page.read_text(), flags=re.MULTILINE | re.DOTALL
    )


def test_every_setting_has_a_heading_and_every_such_heading_is_a_setting():
    names = [
        each for each in headings(DOCS / "settings.md") if re.match("[A-Z_]+$", each)
    ]
    assert names == list(dict.fromkeys(names))
    assert set(names) == set(SETTINGS)


def checks_in_code():
    """(kind, id) of every message that the checks make."""
    for path in CHECKS:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in KINDS:
                (number,) = [each.value for each in node.keywords if each.arg == "id"]
                yield KINDS[node.func.id], number.value


CHECKS = sorted((ROOT / "perfguard").rglob("*checks.py"))
KINDS = {"Error": "E", "Warning": "W", "Info": "I"}


def test_every_check_is_in_the_manual_once():
    rows = re.findall(r"^\| `(.+?)` \|", (DOCS / "checks.md").read_text(), flags=re.M)
    assert rows == list(dict.fromkeys(rows))
    assert set(rows) == {number for _, number in checks_in_code()}


def test_check_ids_are_listed_once_and_tell_their_kind():
    listed = []
    for path in CHECKS:
        source = path.read_text()
        here = CHECK_ID.findall(ast.get_docstring(ast.parse(source)))
        assert set(here) == set(CHECK_ID.findall(source))
        listed += here
    assert sorted(listed) == sorted({number for _, number in checks_in_code()})
    assert all(number[10] == kind for kind, number in checks_in_code())


def variables_in_the_manual():
    section = (DOCS / "settings.md").read_text().partition("## Environment")[2]
    return set(re.findall(r"^\| `([A-Z_]+)` \|", section, flags=re.MULTILINE))


def test_every_variable_that_is_read_is_in_the_manual():
    read = {name for path in PROJECT for name in VARIABLE.findall(path.read_text())}
    assert "REDIS_URL" in read
    assert read <= variables_in_the_manual()


def test_every_variable_in_the_manual_is_read():
    source = "".join(path.read_text() for path in PROJECT)
    unread = {
        name
        for name in variables_in_the_manual()
        if not re.search(f"[\"']{name}[\"']", source)
    }
    assert unread == set()


def test_the_newest_version_of_the_changelog_is_this_one():
    versions = [
        each for each in headings(ROOT / "CHANGELOG.md") if re.match(r"\d+\.\d+", each)
    ]
    assert versions[0] == perfguard.__version__


@each_page
def test_python_in_the_manual_parses_and_its_settings_exist(page):
    for block in python_blocks(page):
        for node in ast.walk(ast.parse(block)):
            if (
                isinstance(node, ast.Assign)
                and ast.unparse(node.targets) == "PERFGUARD"
            ):
                assert {key.value for key in node.value.keys} <= set(SETTINGS)


def steps_of_the_image():
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if word == "RUN":
            yield rest.strip()
        if word == "CMD":
            yield " ".join(json.loads(rest))


def test_every_step_of_the_image_is_in_the_manual():
    page = (DOCS / "operations.md").read_text()
    steps = list(steps_of_the_image())
    assert len(steps) > 3
    assert [step for step in steps if f"$ {step}\n" not in page] == []


def slug(heading):
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@each_page
def test_links_between_pages_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text())):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in map(slug, headings(target)), link


def test_every_page_is_in_the_table_of_contents():
    contents = (DOCS / "index.md").read_text()
    names = {page.stem for page in DOCS.glob("*.md")} - {"index"}
    assert names == set(re.findall(r"^([a-z-]+)$", contents, flags=re.MULTILINE))
