from __future__ import annotations

import pytest


@pytest.fixture
def report(client, perfguard):
    perfguard(THROTTLE_RATES={"anon": None})

    def ask(query=""):
        return client.get(f"/api/v1/report{query}")

    return ask


def test_it_has_so_many_rows_and_the_same_ones_each_time(report):
    first, again = report("?rows=2500"), report("?rows=2500")
    assert first.status_code == 200
    assert first.content == again.content
    found = first.json()
    assert found["count"] == len(found["rows"]) == 2500
    assert [row["id"] for row in found["rows"]] == list(range(2500))


@pytest.mark.parametrize(
    ("query", "rows"), [("", 100), ("?rows=0", 0), ("?rows=10000", 10_000)]
)
def test_rows_are_bounded(report, query, rows):
    assert report(query).json()["count"] == rows


@pytest.mark.parametrize(
    "query",
    ["?rows=-1", "?rows=10001", "?rows=many", "?rows=", "?rows=1.5", "?rows=1e3"],
)
def test_a_bad_number_is_told(report, query):
    response = report(query)
    assert response.status_code == 400
    assert response.json()["rows"]
