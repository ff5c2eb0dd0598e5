"""Outcome → row: which leaves one, what it says, and what becomes of text that a database refuses."""

from __future__ import annotations

from typing import Any

import pytest

from django_cluster.core.safe_text import storable
from django_cluster.core.settings import ResultSettings
from django_cluster.stores.rows import (
    MAX_ATTEMPTS_KEPT,
    Deduplicated,
    EarlierRuns,
    attempt_of,
    deduplicate,
    leaves_row,
    lifetime_in_cache,
    truncated,
    with_history,
)
from django_cluster.testing.outcomes import make_failure, make_outcome
from tests.fields import fields


@pytest.mark.parametrize(
    ("save_limit", "options", "kept"),
    [
        (250, {}, True),
        (0, {}, True),
        (-1, {}, False),
        (-1, {"save": True}, True),
        (250, {"save": False}, False),
        (250, {"cached": True}, False),
        (250, {"cached": 60}, False),
        (250, {"cached": False}, True),
        (250, {"cached": True, "save": True}, False),
    ],
)
def test_a_success_leaves_a_row_unless_somebody_says_otherwise(
    save_limit: int, options: dict[str, Any], kept: bool
) -> None:
    assert leaves_row(make_outcome(options=options), ResultSettings(save_limit=save_limit)) is kept


@pytest.mark.parametrize("options", [{}, {"save": False}, {"cached": True}])
def test_a_failure_always_leaves_a_row(options: dict[str, Any]) -> None:
    assert leaves_row(make_failure(options=options), ResultSettings(save_limit=-1, cached=True))


def test_the_option_of_a_task_goes_before_the_setting() -> None:
    cached = ResultSettings(cached=30)

    assert lifetime_in_cache(make_outcome(), cached) == 30
    assert lifetime_in_cache(make_outcome(options={"cached": False}), cached) is False
    assert lifetime_in_cache(make_outcome(options={"cached": True}), ResultSettings()) is True
    assert not leaves_row(make_outcome(), cached)
    assert leaves_row(make_outcome(options={"cached": False}), cached)


def test_outcomes_are_ordered_by_their_ids() -> None:
    outcomes = [make_outcome(id=letter * 32) for letter in "cab"]

    assert [each.outcome.id[0] for each in deduplicate(outcomes)] == ["a", "b", "c"]


def test_of_several_attempts_the_latest_counts() -> None:
    first = make_failure()

    (deduplicated,) = deduplicate([first._replace(attempt=3), first, first._replace(attempt=2)])

    assert deduplicated.outcome.attempt == 3
    assert [each["number"] for each in deduplicated.before] == [1, 2]


def test_of_several_attempts_a_success_counts() -> None:
    first = make_failure()

    (deduplicated,) = deduplicate([first, make_outcome(id=first.id, attempt=2), first._replace(attempt=3)])

    assert deduplicated.outcome.attempt == 2
    assert [each["number"] for each in deduplicated.before] == [1]


def test_the_same_attempt_twice_is_no_history() -> None:
    outcome = make_failure()

    (deduplicated,) = deduplicate([outcome, outcome])

    assert (deduplicated.outcome, list(deduplicated.before)) == (outcome, [])


def test_the_history_is_what_the_row_remembers_and_the_row_itself() -> None:
    outcome = make_failure(attempt=3)
    remembered = [attempt_of(outcome._replace(attempt=1))]

    complete = with_history(Deduplicated(outcome), EarlierRuns(2, remembered, attempt_of(outcome._replace(attempt=2))))

    assert [each["number"] for each in complete.before] == [1, 2]


def test_a_repeated_outcome_keeps_the_history() -> None:
    outcome = make_failure(attempt=2)
    remembered = [attempt_of(outcome._replace(attempt=1))]

    complete = with_history(Deduplicated(outcome), EarlierRuns(2, remembered, attempt_of(outcome)))

    assert [each["number"] for each in complete.before] == [1]


def test_the_history_is_bounded() -> None:
    outcome = make_failure(attempt=100)
    remembered = [attempt_of(outcome._replace(attempt=number)) for number in range(1, 100)]

    complete = with_history(Deduplicated(outcome), EarlierRuns(99, remembered, remembered[-1]))

    assert len(complete.before) == MAX_ATTEMPTS_KEPT
    assert complete.before[-1]["number"] == 99


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("", ""),
        (None, None),
        ("a\0b", "a\N{REPLACEMENT CHARACTER}b"),
        ("é\0b", "é\N{REPLACEMENT CHARACTER}b"),
        ("a\ud800b", "a?b"),
        ("123456789", "12345678"),
        ("1234567é9", "1234567é"),
    ],
)
def test_text_is_cut_and_made_harmless(text: str | None, expected: str | None) -> None:
    assert storable(text, 8) == expected


def test_a_reduced_outcome_is_plain_and_says_why() -> None:
    odd = make_failure(
        name="Ж", started_at=float("nan"), result=b"x", payload="p", options={"group": "🙂", "timeout": 5}
    )

    plain = truncated(odd, ValueError("not this one"))

    assert plain.failure is not None
    assert "not this one" in plain.failure[1]
    assert "no good" in plain.failure[1]
    assert fields(plain, "name", "started_at", "result", "payload") == {
        "name": "\\u0416",
        "started_at": 0.0,
        "result": None,
        "payload": None,
    }
    assert plain.options == {"group": "\\U0001f642"}
