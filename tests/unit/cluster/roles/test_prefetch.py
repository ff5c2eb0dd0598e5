"""The window of a worker: bounded, quick to shut, and wide only for quick tasks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_cluster.cluster.roles.prefetch import FetchSize, PrefetchWindow

durations = st.lists(st.floats(0, 1e5), max_size=200)


def after(*seconds: float) -> PrefetchWindow:
    window = PrefetchWindow()
    for each in seconds:
        window.observe(each)
    return window


def test_a_new_worker_asks_for_one() -> None:
    assert PrefetchWindow().size == 1


@settings(deadline=None)
@given(durations)
def test_the_window_stays_within_its_bounds(seconds: list[float]) -> None:
    assert 1 <= after(*seconds).size <= PrefetchWindow.MAX_SIZE


@settings(deadline=None)
@given(durations, st.floats(PrefetchWindow.TARGET_SECONDS * 1.001, 1e5))
def test_one_slow_task_shuts_it_at_once(seconds: list[float], slow: float) -> None:
    assert after(*seconds, slow).size == 1


@settings(deadline=None)
@given(durations, st.floats(0, 1))
def test_it_at_most_doubles(seconds: list[float], last: float) -> None:
    window = after(*seconds)
    before = window.size

    window.observe(last)

    assert window.size <= 2 * before


def test_empty_tasks_open_it_all_the_way() -> None:
    assert after(*[1e-5] * 200).size == PrefetchWindow.MAX_SIZE


@pytest.mark.parametrize("seconds", [0.0005, 0.001, 0.004, 0.01])
def test_what_a_worker_holds_is_a_few_milliseconds_of_work(seconds: float) -> None:
    size = after(*[seconds] * 300).size

    assert size * seconds <= PrefetchWindow.TARGET_SECONDS
    assert (size + 2) * seconds > PrefetchWindow.TARGET_SECONDS / 2


def test_slow_tasks_are_held_one_at_a_time() -> None:
    assert after(*[0.5] * 50).size == 1


# ── what is leased at once ───────────────────────────────────────────────────────────────────────


def test_of_small_messages_any_number_is_leased_at_once() -> None:
    portion = FetchSize()
    portion.observe(["x" * 500] * 256)

    assert portion.size >= 4096


def test_of_large_messages_only_a_few_megabytes_are_leased_at_once() -> None:
    portion = FetchSize()
    portion.observe(["x" * 130_000] * 7)

    assert 2_000_000 <= portion.size * 130_000 <= FetchSize.TARGET_CHARACTERS


def test_one_is_leased_however_large_the_messages_are() -> None:
    portion = FetchSize()
    portion.observe(["x" * (FetchSize.TARGET_CHARACTERS + 1)])

    assert portion.size == 1


def test_empty_answers_and_empty_messages_teach_nothing_wrong() -> None:
    portion = FetchSize()
    portion.observe([])
    assert portion.size == FetchSize.TARGET_CHARACTERS
    portion.observe([""])
    assert portion.size == FetchSize.TARGET_CHARACTERS
