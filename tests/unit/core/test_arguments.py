"""Arguments come back from their text as they were, or are refused."""

from __future__ import annotations

import struct
from collections import OrderedDict
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import IntEnum
from io import BytesIO
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_cluster.core.arguments import args_from_text, args_to_text, kwargs_from_text, kwargs_to_text
from django_cluster.errors import NotSerializable

ZONES = st.sampled_from(
    [None, UTC, ZoneInfo("Europe/Amsterdam"), timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(0), "X")]
)
KEYS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.complex_numbers(allow_nan=False),
    st.decimals(allow_nan=False),
    st.uuids(),
    st.dates(),
    st.timedeltas(),
    st.datetimes(timezones=ZONES),
    st.times(),
)
VALUES = st.recursive(
    KEYS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.sets(KEYS, max_size=3),
        st.frozensets(KEYS, max_size=3),
        st.dictionaries(KEYS, inner, max_size=3),
    ),
    max_leaves=8,
)


class Colour(IntEnum):
    RED = 1


def anatomy(value: Any) -> Any:
    """A value with the types of all its parts: 1, 1.0 and True are equal, and not the same."""
    if isinstance(value, dict):
        return dict, [(anatomy(key), anatomy(each)) for key, each in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value), [anatomy(each) for each in value]
    if isinstance(value, (set, frozenset)):
        return type(value), sorted(repr(anatomy(each)) for each in value)
    return type(value), repr(value)


@given(st.lists(VALUES, max_size=4).map(tuple))
def test_arguments_come_back_from_their_text_as_they_were(args: tuple[Any, ...]) -> None:
    text = args_to_text(args)

    assert anatomy(args_from_text(text)) == anatomy(args)


@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_keyword_arguments_come_back_from_their_text_as_they_were(kwargs: dict[str, Any]) -> None:
    text = kwargs_to_text(kwargs)

    assert anatomy(kwargs_from_text(text)) == anatomy(kwargs)


@given(st.text(alphabet=st.sampled_from("()[]{}',=:*x1 -+.\n#_\"lambdf"), max_size=30) | st.text(max_size=30))
def test_no_text_raises_anything_but_a_value_error(text: str) -> None:
    for read in (args_from_text, kwargs_from_text):
        try:
            read(text)
        except ValueError as error:
            assert str(error)  # noqa: PT017  most texts are refused, and that is well


@pytest.mark.parametrize(
    ("text", "args"),
    [
        (None, ()),
        ("", ()),
        ("  \n", ()),
        ("1", (1,)),
        ("1, 'x', [2]", (1, "x", [2])),
        ("(1, 2)", (1, 2)),
        ("((1, 2),)", ((1, 2),)),
        ("[1, 2]", ([1, 2],)),
        ("1,\n2  # two\n", (1, 2)),
        ("-1, +2, 1-2j, ...", (-1, 2, 1 - 2j, ...)),
        ("datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc)", (datetime(2026, 1, 2, tzinfo=UTC),)),
        ("datetime(2026, 1, 2, tzinfo=UTC)", (datetime(2026, 1, 2, tzinfo=UTC),)),
        ("date(2026, 1, 2), time(3, 4), timedelta(days=1)", (date(2026, 1, 2), time(3, 4), timedelta(days=1))),
        ("Decimal('1.50'), uuid.UUID(int=7)", (Decimal("1.50"), UUID(int=7))),
        ("float('inf'), frozenset([1])", (float("inf"), frozenset([1]))),
    ],
)
def test_arguments_are_read_as_people_write_them(text: str | None, args: tuple[Any, ...]) -> None:
    assert args_from_text(text) == args


@pytest.mark.parametrize(
    ("text", "kwargs"),
    [
        (None, {}),
        ("", {}),
        ("x=2, y='3'", {"x": 2, "y": "3"}),
        ("{'x': 2, 'y': {'z': [1]}}", {"x": 2, "y": {"z": [1]}}),
        ("since=datetime.date(2026, 1, 2)", {"since": date(2026, 1, 2)}),
        ("q_options={'group': 'night', 'timeout': 30}", {"q_options": {"group": "night", "timeout": 30}}),
    ],
)
def test_keyword_arguments_are_read_as_people_write_them(text: str | None, kwargs: dict[str, Any]) -> None:
    assert kwargs_from_text(text) == kwargs


@pytest.mark.parametrize(
    "text",
    [
        "open('x')",
        "__import__('os').system('true')",
        "x",
        "1 + 1",
        "2 ** 99999999",
        "'a' * 10",
        "[i for i in (1, 2)]",
        "*[1, 2]",
        "f'{1}'",
        "datetime.datetime.now()",
        "datetime.date(2026, 13, 1)",
        "Decimal('many')",
        "ZoneInfo('Atlantis/Deep')",
        "ZoneInfo('../../etc/passwd')",
        "{[1]: 2}",
        "{1: 2, 1: 3}",
        "{**{}}",
        "timedelta(**{'days': 1})",
        "x=1",
        "-'a'",
        "-True",
        "(",
        "1) + (2",
        "\0",
        "(" * 500,
    ],
)
def test_arguments_that_are_not_literal_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be (read|understood)"):
        args_from_text(text)


@pytest.mark.parametrize("text", ["foo bar", "1,, 2", "1 +"])
def test_what_python_says_of_arguments_ends_with_one_full_stop(text: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be read: .*[^.?]\.$"):
        args_from_text(text)


@pytest.mark.parametrize(
    "text", ["1", "x=1, x=2", "**{'x': 1}", "x=y", "{1: 2}", "{'x'}", "{'x': 1}, 2", "x=1) or f(y=2", "x"]
)
def test_keyword_arguments_without_names_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"keyword arguments|cannot be understood"):
        kwargs_from_text(text)


def endless() -> list[Any]:
    items: list[Any] = []
    items.append(items)
    return items


@pytest.mark.parametrize(
    "value",
    [object(), print, Colour.RED, OrderedDict(a=1), endless(), [Colour.RED], pytest.param(10**5000, id="huge"), date],
)
def test_a_value_that_would_not_come_back_the_same_is_refused(value: object) -> None:
    with pytest.raises(NotSerializable):
        args_to_text((value,))


def test_a_zone_without_a_name_is_refused() -> None:
    counts = struct.pack(">6l", 0, 0, 0, 0, 1, 4)
    nameless = ZoneInfo.from_file(BytesIO(b"TZif" + bytes(16) + counts + struct.pack(">lbb", 3600, 0, 0) + b"ABC\0"))

    with pytest.raises(NotSerializable, match="read from a file"):
        kwargs_to_text({"since": datetime(2026, 1, 1, tzinfo=nameless)})


def test_keyword_arguments_are_written_as_a_call() -> None:
    assert kwargs_to_text({"x": 2, "when": date(2026, 1, 2)}) == "{'x': 2, 'when': datetime.date(2026, 1, 2)}"
    assert kwargs_to_text({"not a name": 1}) == "{'not a name': 1}"
