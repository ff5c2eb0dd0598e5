"""How ``qcluster -n`` names several queues."""

from __future__ import annotations

import pytest

from django_cluster.core.settings.queue_weights import MAX_QUEUES, exclude, parse_queue_weights

KNOWN = ["shop", "mail", "mail-slow", "odd,name", "odd:3"]


@pytest.mark.parametrize(
    ("written", "weights"),
    [
        ([], []),
        ([""], []),
        (["a"], [("a", 1)]),
        (["a,b"], [("a", 1), ("b", 1)]),
        (["a", "b"], [("a", 1), ("b", 1)]),
        ([" a:5 , b:1 ,"], [("a", 5), ("b", 1)]),
        (["a:5", "b,c:2"], [("a", 5), ("b", 1), ("c", 2)]),
        (["a,a:7,b"], [("a", 1), ("b", 1)]),
        (["*"], [(name, 1) for name in KNOWN]),
        (["mail*:3,shop"], [("mail", 3), ("mail-slow", 3), ("shop", 1)]),
        (["shop,mail*"], [("shop", 1), ("mail", 1), ("mail-slow", 1)]),
        (["unknown,shop"], [("unknown", 1), ("shop", 1)]),
    ],
)
def test_names_and_weights_are_read(written: list[str], weights: list[tuple[str, int]]) -> None:
    assert parse_queue_weights(written, KNOWN) == weights


@pytest.mark.parametrize("name", ["odd,name", "odd:3", "alone:5"])
def test_the_name_of_one_queue_may_hold_any_sign(name: str) -> None:
    assert parse_queue_weights([name], KNOWN) == [(name, 1)]


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("p:0", "'p' must be a whole number from 1 to 1000, not 0"),
        ("a:0,b", "'a' must be a whole number from 1"),
        ("a:9999,b", "not 9999"),
        ("post*,b", "No queue .* 'post\\*'"),
    ],
)
def test_what_makes_no_sense_is_told(written: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_queue_weights([written], KNOWN)


def test_there_is_a_limit() -> None:
    with pytest.raises(ValueError, match=str(MAX_QUEUES)):
        parse_queue_weights([f"queue {number}" for number in range(MAX_QUEUES + 1)], KNOWN)


@pytest.mark.parametrize(
    ("excluded", "left"),
    [
        (["slow"], ["shop", "mail-in", "mail-out"]),
        (["slow,shop"], ["mail-in", "mail-out"]),
        (["mail*"], ["shop", "slow"]),
        (["slow", "mail-*"], ["shop"]),
    ],
)
def test_excluded_queues_are_left_out(excluded: list[str], left: list[str]) -> None:
    known = ["shop", "slow", "mail-in", "mail-out"]

    assert [share.queue for share in exclude(parse_queue_weights(["*"], known), excluded, known)] == left


def test_to_exclude_a_known_queue_that_was_not_chosen_changes_nothing() -> None:
    weights = parse_queue_weights(["a:5", "b"], ["a", "b", "c"])

    assert exclude(weights, ["c"], ["a", "b", "c"]) == weights


@pytest.mark.parametrize(
    ("excluded", "sentence"),
    [
        (["slwo"], "There is no queue 'slwo' to exclude; did you mean 'slow'?"),
        (["x*"], r"There is no queue 'x\*' to exclude; known: shop, slow\."),
        (["*"], "No queue is left to work on: shop, slow excluded"),
    ],
)
def test_what_cannot_be_excluded_is_said(excluded: list[str], sentence: str) -> None:
    known = ["shop", "slow"]

    with pytest.raises(ValueError, match=sentence):
        exclude(parse_queue_weights(["*"], known), excluded, known)
