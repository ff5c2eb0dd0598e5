"""Which keywords of a call are options, and which the function's own."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_cluster.core.call_options import KEYWORDS, ONLY_IN_Q_OPTIONS, option_hint, split_options
from django_cluster.core.option_values import build_options

names = st.sampled_from(sorted(KEYWORDS | ONLY_IN_Q_OPTIONS)) | st.text(min_size=1, max_size=5)
keywords = st.dictionaries(names.filter(lambda name: name not in ("q_options", "cluster")), st.integers())


@settings(deadline=None)
@given(keywords)
def test_without_q_options_every_keyword_has_exactly_one_owner(kwargs: dict[str, Any]) -> None:
    own, options = split_options(kwargs)

    assert own | options == kwargs
    assert not own.keys() & options.keys()
    assert options.keys() <= KEYWORDS


@settings(deadline=None)
@given(keywords)
def test_with_q_options_every_other_keyword_reaches_the_function(kwargs: dict[str, Any]) -> None:
    own, options = split_options({**kwargs, "q_options": {"group": "letters"}})

    assert own == kwargs
    assert options == {"group": "letters"}


@pytest.mark.parametrize("given", [{"cluster": "mail"}, {"queue": "mail"}, {"queue": "mail", "cluster": "mail"}])
def test_cluster_is_another_name_of_the_option_queue(given: dict[str, str]) -> None:
    assert split_options(given) == ({}, {"queue": "mail"})
    assert split_options({"q_options": given}) == ({}, {"queue": "mail"})
    assert build_options(given).queue == "mail"


def test_two_names_of_the_queue_may_not_differ() -> None:
    for both in ({"queue": "mail", "cluster": "books"}, {"q_options": {"queue": "mail", "cluster": "books"}}):
        with pytest.raises(TypeError, match="queue='mail' and cluster='books' mean the same option"):
            split_options(both)


def takes_a_queue(queue: str = "") -> None:
    """A function that has a parameter of this name."""


def test_a_queue_that_may_be_an_argument_of_the_function_is_refused() -> None:
    with pytest.raises(TypeError, match="may be the option or an argument of the function"):
        split_options({"queue": "mail"}, takes_a_queue)
    assert split_options({"queue": "mail", "q_options": {}}, takes_a_queue) == ({"queue": "mail"}, {})
    assert split_options({"q_options": {"queue": "mail"}}, takes_a_queue) == ({}, {"queue": "mail"})
    assert split_options({"cluster": "mail"}, takes_a_queue) == ({}, {"queue": "mail"})


def test_empty_q_options_are_enough_to_keep_the_keywords_of_the_function() -> None:
    assert split_options({"group": "mine", "timeout": 3, "q_options": {}}) == ({"group": "mine", "timeout": 3}, {})


def test_q_options_of_none_are_none() -> None:
    assert split_options({"group": "letters", "x": 1, "q_options": None}) == ({"x": 1}, {"group": "letters"})


@pytest.mark.parametrize("name", sorted(ONLY_IN_Q_OPTIONS))
def test_an_option_that_django_q_did_not_have_stays_with_the_function(name: str) -> None:
    assert split_options({name: 1}) == ({name: 1}, {})


def test_the_dicts_of_the_caller_stay_as_they_were() -> None:
    q_options = {"task_name": "census", "group": "letters"}
    kwargs = {"x": 1, "q_options": q_options}

    own, options = split_options(kwargs)
    build_options(options)
    own["y"] = options["save"] = 2

    assert kwargs == {"x": 1, "q_options": {"task_name": "census", "group": "letters"}}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"grup": "letters"}, "'grup' is not an option (did you mean 'group'?)."),
        ({"queues": "mail"}, "'queues' is not an option (did you mean 'queue'?)."),
        ({"grup": 1, "max_atempts": 2}, "(did you mean 'group'?); 'max_atempts' is not an option (did you mean 'max_"),
        ({"weather": "fine"}, "'weather' is not an option; known are ack_failure, broker, cached, "),
        ("letters", "q_options is a dict of options, not 'letters'."),
        (["letters"], "q_options is a dict of options, not ['letters']."),
    ],
)
def test_an_unknown_option_is_named_with_the_one_that_it_resembles(given: Any, sentence: str) -> None:
    with pytest.raises(TypeError, match=re.escape(sentence)):
        split_options({"q_options": given})


def test_what_only_async_iter_sets_is_offered_to_nobody() -> None:
    with pytest.raises(TypeError) as raised:
        split_options({"q_options": {"weather": "fine"}})

    assert "group, hook, max_attempts" in str(raised.value)


@pytest.mark.parametrize(
    ("keyword", "advice"),
    [
        ("grup", " (did you mean the option 'group'?)"),
        ("max_attempts", " (did you mean the option 'max_attempts', which belongs in q_options?)"),
        ("countdown", " (did you mean the option 'delay', which belongs in q_options?)"),
        ("weather", ""),
    ],
)
def test_a_keyword_that_a_function_does_not_take_may_be_an_option(keyword: str, advice: str) -> None:
    message = f"send() got an unexpected keyword argument {keyword!r}"

    assert option_hint(message, {keyword: 1}) == advice
    assert option_hint(message, {"other": 1}) == "", "it comes from a call inside the task"
