from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from perfguard.compression import negotiation
from perfguard.compression.negotiation import LONGEST, best_coding

ORDER = ("zstd", "br", "gzip")
HEADERS = {
    "gzip": "gzip",
    "gzip, deflate, br, zstd": "zstd",
    "gzip, br": "br",
    "deflate": None,
    "": None,
    "   ": None,
    ",,;": None,
    "identity": None,
    "gzip;q=0": None,
    "gzip;q=0.0": None,
    "gzip;q=0.000": None,
    "gzip;q=0.001": "gzip",
    "gzip;q=1.000": "gzip",
    "gzip;q=0.": None,
    "gzip;q=1.": "gzip",
    "gzip;q=abc": None,
    "gzip;q=1.5": None,
    "gzip;q=1.001": None,
    "gzip;q=-1": None,
    "gzip;q=0.1234": None,
    "gzip;q=1e-1": None,
    "gzip;q=nan": None,
    "gzip;q=inf": None,
    "gzip;q=": None,
    "gzip;": None,
    "gzip;level=9": None,
    "gzip;q=0.5;level=9": None,
    "gzip;q=٠.٥": None,
    "gzip ; q=0.5": "gzip",
    "\tgzip\t;\tq=0.5\t": "gzip",
    "GZIP": "gzip",
    "GZip;Q=0.5": "gzip",
    "x-gzip": "gzip",
    "X-GZIP": "gzip",
    "x-gzip;q=0": None,
    "gzip, x-gzip;q=0": None,
    "gzip;q=0, gzip": None,
    "xgzip, gzipx, not-gzip": None,
    "*": "zstd",
    "*;q=0": None,
    "*;q=0.1": "zstd",
    "*;q=abc": None,
    "gzip;q=0, *": "zstd",
    "zstd;q=0, *": "br",
    "zstd;q=0, br;q=0, gzip;q=0, *": None,
    "gzip, *;q=0": "gzip",
    "gzip;q=abc, *": "zstd",
    "gzip;q=0.9, *;q=0.5": "gzip",
    "zstd;q=0.5, br;q=0.8, gzip;q=0.6": "br",
    "zstd;q=0.2, gzip;q=0.3": "gzip",
    "br;q=0.5, zstd;q=0.5": "zstd",
    "identity;q=0": None,
    "identity;q=0, gzip;q=0.1": "gzip",
    "identity;q=0, *": "zstd",
    "identity, gzip;q=0.5": None,
    "identity;q=0.5, gzip;q=0.5": "gzip",
    "identity;q=0.3, gzip;q=0.5": "gzip",
    "gzip\u00e9": None,
    "\u00e9, gzip": "gzip",
    "gz\u0131p": None,
    "gzip\x00": None,
    '"gzip"': None,
    "gzip,gzip,gzip": "gzip",
}


@pytest.mark.parametrize("header", HEADERS)
def test_what_a_header_asks_for(header):
    assert best_coding(header, ORDER) == HEADERS[header]


def test_the_servers_order_decides_among_equals():
    header = "gzip, br, zstd;q=0.9"
    assert best_coding(header, ("gzip", "br", "zstd")) == "gzip"
    assert best_coding(header, ("zstd", "br", "gzip")) == "br"


def test_what_is_not_offered_is_not_chosen():
    assert best_coding("zstd, br;q=0.5", ("br", "gzip")) == "br"
    assert best_coding("zstd", ("br", "gzip")) is None
    assert best_coding("*", ()) is None


def test_a_header_longer_than_any_clients_is_not_read(monkeypatch):
    read = []
    monkeypatch.setattr(negotiation, "_best", lambda *args: read.append(args))
    assert best_coding("gzip," * 2000, ORDER) is None
    assert best_coding("gzip".ljust(LONGEST + 1), ORDER) is None
    assert read == []
    best_coding("gzip".ljust(LONGEST), ORDER)
    assert len(read) == 1


def test_what_was_read_is_remembered_within_bounds():
    for number in range(1000):
        best_coding(f"gzip, x{number}", ORDER)
    remembered = negotiation._best.cache_info()
    assert remembered.currsize == remembered.maxsize == 256


PIECES = st.sampled_from(
    [
        "gzip",
        "br",
        "zstd",
        "identity",
        "*",
        "x-gzip",
        "q",
        "=",
        "0",
        "0.5",
        "1",
        ";",
        ",",
    ]
)
HEADER = st.one_of(st.text(), st.lists(PIECES | st.text(max_size=3)).map("".join))


@given(HEADER, st.permutations(ORDER).map(tuple))
@example("*;q=0", ORDER)
def test_any_text_gives_a_coding_that_is_offered_or_none(header, offered):
    assert best_coding(header, offered) in {*offered, None}


@given(
    st.dictionaries(st.sampled_from(ORDER), st.integers(0, 1000), min_size=1),
    st.permutations(ORDER).map(tuple),
)
def test_the_highest_weight_wins(weights, offered):
    header = ", ".join(f"{name};q={q / 1000:.3f}" for name, q in weights.items())
    chosen = best_coding(header, offered)
    if chosen is None:
        assert not any(weights.values())
    else:
        assert weights[chosen] == max(weights.values())
        equals = [each for each in offered if weights.get(each) == weights[chosen]]
        assert chosen == equals[0]
