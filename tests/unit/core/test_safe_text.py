"""Which texts can be kept everywhere."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_cluster.core.messages import DEFAULT_OPTIONS
from django_cluster.core.option_values import build_options
from django_cluster.core.packages import build_packages
from django_cluster.core.safe_text import require_storable, storable

HALF = json.loads('"\\ud83d"')
NASTY = [HALF, f"a{HALF}b", "a\0b", "\udfff"]


@given(st.text(st.characters()))
def test_what_is_cleaned_can_be_encoded_and_has_no_nul(text: str) -> None:
    found = storable(text) or ""

    assert "\0" not in found.encode("utf-8").decode("utf-8")


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_every_other_text_is_left_alone(text: str) -> None:
    assert require_storable(text, "The name") == storable(text) == text


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.parametrize("option", ["group", "queue", "broker", "hook", "retry_on", "no_retry_on"])
def test_an_option_that_no_database_could_keep_is_refused_at_the_call(option: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"U\+|dotted path|function"):
        build_options({option: text})


@pytest.mark.parametrize("text", NASTY)
def test_a_name_that_no_database_could_keep_is_refused_at_the_call(text: str) -> None:
    with pytest.raises(ValueError, match=r"The task name cannot be kept: .* U\+"):
        build_packages("a.b", [()], {}, DEFAULT_OPTIONS, text)
    with pytest.raises(ValueError, match="dotted path"):
        build_packages(f"a.{text}", [()], {}, DEFAULT_OPTIONS)
