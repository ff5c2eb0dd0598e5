"""What ``serializer = "json"`` carries comes back as it was, with its type; the rest is refused where it stands."""

from __future__ import annotations

import json
from collections import OrderedDict, namedtuple
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_cluster.core.json_values import TAG, dumps, dumps_arguments, loads
from django_cluster.errors import NotSerializable, UnknownFormat
from tests.sample.json_values import Colour, Level, Line, Word
from tests.zones import NO_SUMMER, SUMMER, made_up_zone

VIENNA = ZoneInfo("Europe/Vienna")
zones = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), VIENNA, ZoneInfo("America/New_York")])

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.dates()
    | st.times(timezones=st.none() | zones)
    | st.timedeltas()
    | st.datetimes(timezones=st.none() | zones)
    | st.sampled_from(
        [datetime(2026, 10, 25, 2, 30, tzinfo=VIENNA, fold=1), datetime(2026, 3, 29, 2, 30, tzinfo=VIENNA)]
    )
    | st.sampled_from([*Colour, *Level, *Word])
)
hashable = st.recursive(scalars, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=5)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.sets(hashable, max_size=3)
        | st.dictionaries(st.text() | st.just(TAG), inner, max_size=4)
        | st.dictionaries(hashable, inner, max_size=3)
        | st.builds(Line, st.integers(), st.tuples(st.sampled_from(Colour)))
    ),
    max_leaves=15,
)


def shape(value: Any) -> Any:
    """The value with the type of each of its parts, where equality alone would not tell 1 from True.

    A moment is compared in text: where clocks go back, one is equal to itself only with the very same object as its
    zone (PEP 495), and another test may have emptied the cache of zones.
    """
    if isinstance(value, datetime | time):
        return type(value), value.isoformat(), value.fold, str(value.tzinfo)
    if isinstance(value, dict):
        return {shape(key): shape(each) for key, each in value.items()}
    if isinstance(value, set | frozenset):
        return type(value), frozenset(shape(each) for each in value)
    if isinstance(value, list | tuple):
        return type(value), tuple(shape(each) for each in value)
    return type(value), value


@given(values)
def test_what_is_written_comes_back_with_its_type(value: Any) -> None:
    assert shape(loads(dumps(value))) == shape(value)


@pytest.mark.parametrize(
    "value",
    [
        datetime(2026, 10, 25, 2, 30, tzinfo=VIENNA, fold=1),
        datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=30))),
        Decimal("NaN"),
        Decimal("-0"),
        Line.Part(3),
        VIENNA,
        UTC,
        timezone(timedelta(hours=-5, seconds=7)),
        {TAG: "datetime", "value": "no date"},
        {1: "a", (): "b"},
        10**400,
    ],
    ids=repr,
)
def test_special_values_come_back(value: Any) -> None:
    found = loads(dumps(value))

    assert (repr(found), type(found)) == (repr(value), type(value))


def test_a_moment_stays_where_it_was_when_the_rules_of_its_zone_change(tmp_path: Path) -> None:
    with made_up_zone(tmp_path) as zone:
        written = dumps(datetime(2026, 7, 1, 12, tzinfo=zone.has_rules(SUMMER)))
        zone.has_rules(NO_SUMMER)
        found = loads(written)

        assert found.isoformat() == "2026-07-01T11:00:00+01:00"


def test_a_zone_stays_a_zone() -> None:
    found = loads(dumps(datetime(2026, 7, 1, tzinfo=VIENNA)))

    assert (found + timedelta(days=180)).utcoffset() == timedelta(hours=1)


def test_a_text_of_another_class_comes_back_as_text() -> None:
    class Safe(str):
        __slots__ = ()

    found = loads(dumps([Safe("x")]))
    assert (found, type(found[0])) == (["x"], str)


def test_plain_values_are_plain_json() -> None:
    value = {"a": [1, 2.5, None, True, {"b": "ü"}]}

    assert json.loads(dumps(value)) == value
    assert dumps_arguments((1, "x"), {"y": [2]}) == b'[[1,"x"],{"y":[2]}]'


class Local(OrderedDict[str, int]):
    """A subclass of what is carried."""


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("args", "kwargs", "place"),
    [
        ((1, object()), {}, "argument 2 is of the type builtins.object"),
        (([1, {"a": object()}],), {}, r"argument 1\[1\]\['a'\] is of the type"),
        ((), {"when": (1, float("nan"))}, r"argument 'when'\[1\] is nan"),
        ((Line(object()),), {}, r"argument 1\.article is of the type"),  # type: ignore[arg-type]
        ((Point(1, 2),), {}, "argument 1 is of the type tests.unit.core.test_json_values.Point"),
        ((Local(),), {}, "argument 1 is of the type .*Local"),
        (({object(): 1},), {}, "a key of argument 1 is of the type"),
        ((print,), {}, "argument 1 is of the type"),
    ],
)
def test_what_cannot_be_carried_is_named(args: tuple[Any, ...], kwargs: dict[str, Any], place: str) -> None:
    with pytest.raises(NotSerializable, match=place):
        dumps_arguments(args, kwargs)


def test_a_class_that_nobody_finds_again_is_refused() -> None:
    from dataclasses import dataclass

    @dataclass
    class Inside:
        number: int

    with pytest.raises(NotSerializable, match="cannot be found again under its name"):
        dumps(Inside(1))


def test_arguments_may_have_any_name() -> None:
    assert loads(dumps_arguments((), {TAG: 1, "x": (2,)})) == [[], {TAG: 1, "x": (2,)}]


@pytest.mark.parametrize(
    "wire",
    [
        {TAG: "unknown"},
        {TAG: ["list"]},
        {TAG: "enum", "class": "os.system", "name": "x"},
        {TAG: "enum", "class": "not.imported.Colour", "name": "RED"},
        {TAG: "dataclass", "class": "subprocess.Popen", "fields": {"args": "true"}},
        {TAG: "dataclass", "class": "builtins.dict", "fields": {}},
        {TAG: "dataclass", "class": "", "fields": {}},
    ],
    ids=str,
)
def test_nothing_else_is_made_of_a_text(wire: dict[str, Any]) -> None:
    with pytest.raises(UnknownFormat):
        loads(json.dumps(wire).encode())


def test_the_samples_are_of_every_type() -> None:
    samples = [date(2026, 1, 1), time(1), timedelta(1), UUID(int=1), b"x", {1}, frozenset({1}), (1,), Colour.RED]

    assert [loads(dumps(each)) for each in samples] == samples
