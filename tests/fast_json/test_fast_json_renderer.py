"""FastJSONRenderer answers what DRF's JSONRenderer answers, or fails as it does."""

from __future__ import annotations

import datetime
import decimal
import enum
import ipaddress
import json
import uuid
from collections import OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass
from math import inf, nan

import pytest
from django.db import models
from django.http import QueryDict
from django.utils.functional import lazystr
from django.utils.safestring import mark_safe
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.renderers import BrowsableAPIRenderer, JSONRenderer
from rest_framework.utils.encoders import JSONEncoder
from rest_framework.utils.serializer_helpers import ReturnDict, ReturnList

from perfguard.fast_json import codec
from perfguard.fast_json.renderers import FastJSONRenderer

Point = namedtuple("Point", "x y")


@dataclass
class Data:
    x: int = 1


class Colour(models.TextChoices):
    RED = "r", "Red"


class Size(models.IntegerChoices):
    BIG = 3, "Big"


class Suit(str, enum.Enum):  # noqa: UP042 - a StrEnum has a __str__ of its own
    HEARTS = "h"


class Level(enum.IntEnum):
    HIGH = 2


class Word(str):
    def __str__(self):
        return "something else"


class Number(int):
    def __repr__(self):
        return "something else"


class Half(float):
    def __repr__(self):
        return "something else"


class Own(dict):
    def items(self):
        return [("own", 1)]


class Backwards(list):
    def __iter__(self):
        return iter(list(super().__iter__())[::-1])


class Array:
    """As numpy's."""

    def __init__(self, values):
        self.values = values

    def tolist(self):
        return self.values


class Like:
    """A mapping that is no dict."""

    def keys(self):
        return ["a"]

    def __getitem__(self, key):
        return 1


class Unknown:
    pass


class Itself:
    def tolist(self):
        return self


def circle():
    found = []
    found.append(found)
    return found


def nested(depth, value=None):
    for _ in range(depth):
        value = [value]
    return value


def outcome(renderer, make, *args):
    """The value of the answer, or what went wrong. ``make`` is called anew for each:
    some values can be walked through once."""
    try:
        body = renderer.render(make(), *args)
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        return type(error), str(error)
    return repr(json.loads(body or b"null"))  # in which 1 is not 1.0, nor True


def assert_same(make, *args, **options):
    fast, plain = (
        type("Renderer", (kind,), options)()
        for kind in (FastJSONRenderer, JSONRenderer)
    )
    assert outcome(fast, make, *args) == outcome(plain, make, *args)


UTC, EAST = datetime.UTC, datetime.timezone(datetime.timedelta(hours=5, seconds=1))
NOON = datetime.datetime(2026, 1, 2, 12, 0, 0, 123456)
VALUES = {
    "datetime": lambda: NOON,
    "datetime without fraction": lambda: NOON.replace(microsecond=0),
    "UTC": lambda: NOON.replace(tzinfo=UTC),
    "a zone of seconds": lambda: NOON.replace(tzinfo=EAST),
    "date": lambda: NOON.date(),
    "time": lambda: NOON.time(),
    "aware time": lambda: NOON.time().replace(tzinfo=UTC),
    "timedelta": lambda: datetime.timedelta(days=-1, microseconds=5),
    "Decimal": lambda: decimal.Decimal("1.10"),
    "Decimal NaN": lambda: decimal.Decimal("NaN"),
    "UUID": lambda: uuid.UUID(int=5),
    "address": lambda: ipaddress.ip_address("::1"),
    "network": lambda: ipaddress.ip_network("10.0.0.0/8"),
    "bytes": lambda: b"caf\xc3\xa9",
    "bytes that are no text": lambda: b"\xff",
    "lazy text": lambda: lazystr("later"),
    "safe text": lambda: mark_safe("<b>"),
    "own str": lambda: Word("text"),
    "own int": lambda: Number(5),
    "own float": lambda: Half(0.5),
    "own float that is none": lambda: Half("nan"),
    "own items": lambda: Own(raw=2),
    "own order": lambda: Backwards([1, 2, 3]),
    "QueryDict": lambda: QueryDict("a=1&a=2&b=3"),
    "OrderedDict": lambda: OrderedDict(b=1, a=2),
    "defaultdict": lambda: defaultdict(list, a=[1]),
    "ReturnDict": lambda: ReturnDict({"a": NOON}, serializer=None),
    "ReturnList": lambda: ReturnList([{"a": None}], serializer=None),
    "namedtuple": lambda: Point(1, Point(2, nan)),
    "dataclass": Data,
    "text choice": lambda: Colour.RED,
    "number choice": lambda: Size.BIG,
    "enum of text": lambda: Suit.HEARTS,
    "enum of numbers": lambda: Level.HIGH,
    "set": lambda: {1},
    "set with NaN": lambda: {nan},
    "range": lambda: range(3),
    "dict view": lambda: {"a": 1}.keys(),
    "generator": lambda: (each for each in "abc"),
    "generator before what is too long": lambda: [iter("abc"), 2**70],
    "array": lambda: Array([1.5, None]),
    "array with NaN": lambda: Array([[nan]]),
    "mapping": Like,
    "memoryview": lambda: memoryview(b"ab"),
    "class": lambda: Unknown,
    "unknown": Unknown,
    "unknown after null": lambda: [None, Unknown()],
    "its own array": Itself,
    "circle": circle,
    "NaN": lambda: nan,
    "infinity": lambda: {"a": [None, {"b": -inf}]},
    "NaN in a tuple": lambda: ((1, (nan,)),),
    "NaN beside null in text": lambda: ["null", nan],
    "no NaN": lambda: [None, {"a": (1.5, None)}, "null"],
    "largest": lambda: [2**64 - 1, -(2**63), 2**53 + 1],
    "beyond": lambda: [2**64],
    "beneath": lambda: [-(2**63) - 1],
    "lone surrogate": lambda: "\ud800",
    "lone surrogate as key": lambda: {"\ud800": 1},
    "line ends of JavaScript": lambda: {"\u2028": "a\u2029b\u2030"},
    "controls": lambda: "".join(map(chr, range(0x20))) + '"\\/\x7f\x80é😀',
    "keys": lambda: {0: 1, 1.5: 2, True: 3, None: 4, "0": 5, Level.HIGH: 6},
    "NaN as key": lambda: {nan: 1},
    "safe text as key": lambda: {mark_safe("a"): 1, Suit.HEARTS: 2},
    "unknown key": lambda: {NOON: 1},
    "tuple as key": lambda: {(1,): 1},
    "254 deep": lambda: nested(254),
    "255 deep": lambda: nested(255),
    "600 deep": lambda: nested(600),
    "floats": lambda: [1e16, 1e-7, -0.0, 5e-324, 1.7976931348623157e308, 0.1 + 0.2],
    "nothing": lambda: "",
    "empty": lambda: [[], {}, ()],
    "a bare number": lambda: 3,
}
every_value = pytest.mark.parametrize("make", VALUES.values(), ids=VALUES)


@every_value
def test_every_value_is_rendered_as_drf_does(make):
    assert_same(make)


@every_value
def test_every_value_is_rendered_so_in_the_midst_of_others(make):
    assert_same(lambda: {"rows": [{"a": 1, "b": make(), "c": None}]})


@every_value
def test_nan_is_written_where_drf_is_told_so(make):
    assert_same(make, strict=False)


@every_value
def test_every_value_without_orjson(make, monkeypatch):
    monkeypatch.setattr(codec, "orjson", None)
    assert_same(make)


def test_no_value_is_no_body():
    assert FastJSONRenderer().render(None) == b""


leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=2**62, max_value=2**65),
    st.floats(),
    st.text(),
    st.text(st.characters()),  # with lone surrogates
    st.sampled_from(["null", "\u2028", Colour.RED, Level.HIGH, Suit.HEARTS]),
    st.decimals(),
    st.datetimes(timezones=st.none() | st.just(UTC) | st.just(EAST)),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.uuids(),
    st.binary(max_size=3),
    st.text().map(mark_safe),
    st.floats().map(Half),
    st.integers().map(Number),
)
keys = st.one_of(
    st.text(), st.integers(), st.floats(), st.booleans(), st.none(), st.just(Word("k"))
)


def containers(inner):
    lists, dicts = st.lists(inner, max_size=4), st.dictionaries(st.text(), inner)
    return st.one_of(
        lists,
        dicts,
        st.dictionaries(keys, inner, max_size=3),
        lists.map(tuple),
        lists.map(Array),
        lists.map(Backwards),
        dicts.map(OrderedDict),
        dicts.map(lambda found: ReturnDict(found, serializer=None)),
        lists.map(lambda found: ReturnList(found, serializer=None)),
        st.tuples(inner, inner).map(lambda pair: Point(*pair)),
    )


@given(value=st.recursive(leaves, containers, max_leaves=20), strict=st.booleans())
def test_any_value_is_rendered_as_drf_does(value, strict):
    options = {"strict": strict}
    fast, plain = (
        outcome(type("Renderer", (kind,), options)(), lambda: value)
        for kind in (FastJSONRenderer, JSONRenderer)
    )
    # Of several faults, each may meet another one first.
    assert fast == plain or (isinstance(fast, tuple) and isinstance(plain, tuple))


@given(value=st.recursive(st.none() | st.floats(), containers, max_leaves=20))
def test_nan_is_never_null(value):
    assert_same(lambda: value)


# -- what it looks like ----------------------------------------------------------------

PAGE = {"é": [1, None, {"a": "\u2028"}], "b": NOON, "c": "\u2029"}
STYLES = {
    "compact": {},
    "spaces": {"compact": False},
    "ASCII": {"ensure_ascii": True},
}


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
@pytest.mark.parametrize(
    "accepted",
    [None, "application/json", "application/json; indent=3", "a/b; indent=x"],
)
def test_bytes_are_those_of_drf(style, accepted):
    fast, plain = (
        type("Renderer", (kind,), style)() for kind in (FastJSONRenderer, JSONRenderer)
    )
    assert fast.render(PAGE, accepted, {}) == plain.render(PAGE, accepted, {})


def test_indentation_by_the_context_of_the_browsable_api():
    context = {"indent": 4}
    body = FastJSONRenderer().render(PAGE, "application/json", context)
    assert body == JSONRenderer().render(PAGE, "application/json", context)
    assert b"\n    " in body
    assert issubclass(FastJSONRenderer, JSONRenderer)
    assert BrowsableAPIRenderer().get_default_renderer(view_of(FastJSONRenderer))


def view_of(renderer):
    return type("View", (), {"renderer_classes": [renderer]})


# -- encoders of the project's own -----------------------------------------------------


class OwnDefault(JSONEncoder):
    def default(self, obj):
        return "known" if isinstance(obj, Unknown) else super().default(obj)


class OwnText(JSONEncoder):
    def iterencode(self, *args, **kwargs):
        return super().iterencode("replaced")


class OwnEncode(JSONEncoder):
    def encode(self, obj):
        return '"replaced"'


@pytest.mark.parametrize("encoder", [OwnDefault, OwnText, OwnEncode])
def test_an_encoder_of_ones_own_is_heeded(encoder):
    assert_same(lambda: {"a": Unknown(), "b": NOON, "c": None}, encoder_class=encoder)


def test_orjson_does_the_usual_answers_by_itself(monkeypatch):
    """Else nothing would be gained, and nobody would know."""
    monkeypatch.setattr(JSONRenderer, "render", None)
    page = {"count": 1, "rows": [{"a": None, "b": 0.5, "c": "é\u2028", "d": NOON}]}
    body = FastJSONRenderer().render(
        ReturnDict(page, serializer=None), "application/json"
    )
    assert json.loads(body)["rows"][0]["a"] is None


def test_what_fails_in_a_value_is_told_as_it_is():
    asked = []

    class Broken:
        def tolist(self):
            asked.append(self)
            raise LookupError("mine") from KeyError("why")

    with pytest.raises(LookupError, match="mine") as caught:
        FastJSONRenderer().render([Broken()])
    assert isinstance(caught.value.__cause__, KeyError)
    # A second time it may fail in another way, such as in a broken transaction.
    assert len(asked) == 1


def test_what_can_be_read_once_is_not_lost_to_a_second_try():
    values = [iter("ab"), 2**70, iter("cd")]
    assert FastJSONRenderer().render(values) == b'[["a","b"],%d,["c","d"]]' % 2**70


# -- where it differs, as the manual says ----------------------------------------------


def test_a_plain_enum_is_its_value_where_drf_fails():
    class Plain(enum.Enum):
        ONE = "one"

    assert FastJSONRenderer().render([Plain.ONE]) == b'["one"]'
    with pytest.raises(TypeError):
        JSONRenderer().render([Plain.ONE])


def test_who_has_no_floats_may_say_so():
    class NoFloats(FastJSONRenderer):
        looks_for_nan = False

    assert NoFloats().render([None, nan]) == b"[null,null]"
    assert NoFloats().render([None, 0.5]) == b"[null,0.5]"
