"""Ids that never meet by chance, ids that always meet, and names for people."""

from __future__ import annotations

import re

import pytest

from django_cluster.core import task_ids
from django_cluster.core.task_ids import derived_id, humanize, new_task_id, task_name

IS_AN_ID = re.compile(r"[0-9a-f]{32}").fullmatch
IS_A_NAME = re.compile(r"[a-z]+(-[a-z]+){3}").fullmatch


def test_a_new_id_is_32_digits_and_unlike_any_other() -> None:
    ids = {new_task_id() for _ in range(1000)}

    assert len(ids) == 1000
    assert all(IS_AN_ID(each) for each in ids)


def test_the_same_parts_always_give_the_same_id() -> None:
    assert derived_id("schedule", 7, None) == derived_id("schedule", 7, None) == "a5587d85bfc7b1ad6176729cd84321fd"


def test_other_parts_give_another_id() -> None:
    parts: list[tuple[object, ...]] = [(), ("",), ("", ""), ("ab", "c"), ("a", "bc"), ("abc",), ("a:b",), ("\ud800",)]

    ids = {derived_id(*each) for each in parts}

    assert len(ids) == len(parts)
    assert all(IS_AN_ID(each) for each in ids)


def test_an_id_always_has_the_same_name_of_four_words() -> None:
    task_id = new_task_id()

    assert task_name(task_id) == task_name(task_id) == humanize(task_id)
    assert IS_A_NAME(task_name(task_id))


def test_each_byte_has_a_word_of_its_own() -> None:
    words = task_ids.known_words()

    assert len(set(words)) == 256
    assert humanize("00010203") == "-".join(words[:4])
    assert humanize("fcfdfeff") == "-".join(words[-4:])


@pytest.mark.parametrize("digits", ["", "ab", "not hexadecimal"])
def test_what_is_not_hexadecimal_cannot_be_humanized(digits: str) -> None:
    with pytest.raises(ValueError, match=r"hexadecimal|unpack"):
        humanize(digits)


@pytest.mark.parametrize("foreign", ["", "42", "an id of another queue"])
def test_a_foreign_id_has_a_name_too(foreign: str) -> None:
    assert IS_A_NAME(task_name(foreign))
    assert task_name(foreign) == task_name(foreign)
