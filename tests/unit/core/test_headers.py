"""The header of a package: either each value is of its kind and within bounds, or it is no header."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_cluster.core.headers import read_header, shown_header, write_header
from django_cluster.core.messages import TaskHeader, TaskOptions
from django_cluster.core.time import LAST_MOMENT
from django_cluster.errors import UnknownFormat

GOOD: dict[str, Any] = {"v": 1, "id": "x", "name": "n", "func": "f.g", "at": 1.0}
NUMBERS = ["timeout", "max_attempts", "retry_delay", "priority", "not_before", "schedule", "cached"]
TEXTS = ["hook", "group", "queue", "broker"]
NO_NUMBER = ["NaN", "Infinity", "-Infinity", "1e999", '"5"', "[]", "{}", "1" * 5000, "1" * 400, "[" * 100_000]


def header(text: str, **others: str) -> bytes:
    """The header with these values, written as they are."""
    wire = {name: json.dumps(value) for name, value in GOOD.items()} | others
    if text:
        wire["options"] = text
    return ("{" + ",".join(f'"{name}":{value}' for name, value in wire.items()) + "}").encode("ascii")


@pytest.mark.parametrize("value", NO_NUMBER, ids=lambda value: value[:10])
@pytest.mark.parametrize("name", NUMBERS)
def test_an_option_that_is_no_number_is_no_header(name: str, value: str) -> None:
    with pytest.raises(UnknownFormat) as caught:
        read_header(header(f'{{"{name}":{value}}}'))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", ["timeout", "max_attempts", "retry_delay", "priority", "not_before", "schedule"])
def test_true_is_no_number(name: str) -> None:
    with pytest.raises(UnknownFormat):
        read_header(header(f'{{"{name}":true}}'))


@pytest.mark.parametrize("value", ["1", "true", "[]", "{}", "NaN"])
@pytest.mark.parametrize("name", TEXTS)
def test_an_option_that_is_no_text_is_no_header(name: str, value: str) -> None:
    with pytest.raises(UnknownFormat):
        read_header(header(f'{{"{name}":{value}}}'))


@pytest.mark.parametrize("value", ['"a.b"', "[1]", "{}", "[null]", "7"])
@pytest.mark.parametrize("name", ["retry_on", "no_retry_on", "chain", "member"])
def test_an_option_that_is_no_list_of_texts_is_no_header(name: str, value: str) -> None:
    with pytest.raises(UnknownFormat):
        read_header(header(f'{{"{name}":{value}}}'))


@pytest.mark.parametrize("value", [*NO_NUMBER, "true", "null", "-1", str(LAST_MOMENT * 2)], ids=lambda v: v[:10])
def test_a_moment_that_no_calendar_has_is_no_header(value: str) -> None:
    with pytest.raises(UnknownFormat):
        read_header(header("", at=value))


@pytest.mark.parametrize("options", ["[]", "7", '"x"', "null", "true", "NaN"])
def test_options_that_are_no_mapping_are_no_header(options: str) -> None:
    with pytest.raises(UnknownFormat):
        read_header(header(options))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=6,
)
names = st.sampled_from([*GOOD, "options"])
options = st.dictionaries(st.sampled_from([*NUMBERS, *TEXTS, "save", "ack_failure", "member", "chain", "x"]), anything)


@pytest.mark.parametrize("value", ['"quadratic"', "0.5", "0", "true", "[]", "1e999"])
def test_a_backoff_is_a_factor_or_the_name_of_a_strategy(value: str) -> None:
    with pytest.raises(UnknownFormat):
        read_header(header(f'{{"retry_backoff":{value}}}'))


@pytest.mark.parametrize("value", ["fixed", "linear", "exponential", 1, 2.5])
def test_a_backoff_travels(value: object) -> None:
    assert read_header(header(json.dumps({"retry_backoff": value}))).options.retry_backoff == value


@settings(deadline=None)
@given(st.dictionaries(names, anything), st.none() | options)
def test_whatever_it_says_it_is_a_header_that_can_be_shown_or_no_header(changes: Any, given_options: Any) -> None:
    wire = GOOD | changes | ({} if given_options is None else {"options": given_options})
    try:
        found = read_header(json.dumps(wire).encode("ascii"))
    except UnknownFormat:
        return

    shown = shown_header(found)

    for text in (shown.id, shown.name, shown.func, shown.options.group or "", shown.options.hook or ""):
        text.encode("utf-8")
    assert len(shown.name) <= 100
    assert read_header(write_header(found)) == found


def test_what_a_later_version_added_is_passed_over() -> None:
    found = read_header(header('{"priority":5,"colour":"red","group":null}', more="[1]"))

    assert found == TaskHeader(id="x", name="n", func="f.g", enqueued_at=1.0, options=TaskOptions(priority=5))
