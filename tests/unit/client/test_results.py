"""Reading the results of a group: from rows, from the cache, and while it is still at work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from django_cluster.brokers import memory
from django_cluster.client.client import get_client
from django_cluster.models import Task
from django_cluster.tasks import (
    async_task,
    count_group,
    count_group_cached,
    delete_group,
    delete_group_cached,
    fetch_cached,
    fetch_group,
    fetch_group_cached,
    result,
    result_cached,
    result_group,
    result_group_cached,
)
from django_cluster.testing.drain import drain
from tests.sample import tasks

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _in_memory(settings: Any) -> None:
    settings.Q_CLUSTER = {"name": "tests", "broker": "memory", "on_commit": False}
    memory.reset()
    get_client().results.cached.delete_group("letters")


def end(*numbers: int, cached: bool = False) -> None:
    """Tasks of the group ``letters`` that have ended."""
    for number in numbers:
        async_task(tasks.add, number, 0, sync=True, group="letters", cached=cached)


def end_badly() -> None:
    with pytest.raises(ValueError, match="no luck"):
        async_task(tasks.fail, sync=True, group="letters")


def seconds_of(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def test_a_group_comes_newest_first() -> None:
    end(1, 2, 3)

    assert result_group("letters") == [3, 2, 1]
    assert [task.result for task in fetch_group("letters")] == [3, 2, 1]


def test_failures_come_only_when_they_are_asked_for() -> None:
    end(1)
    end_badly()

    assert result_group("letters") == [1]
    assert [task.success for task in fetch_group("letters")] == [False, True]
    assert len(result_group("letters", failures=True)) == 2
    assert (count_group("letters"), count_group("letters", failures=True)) == (2, 1)


def test_a_group_of_rows_and_cached_results_is_one_group() -> None:
    end(1)
    end(2, cached=True)

    assert result_group("letters") == [2, 1]
    assert result_group("letters", cached=True) == [2]
    assert result_group("letters", cached=False) == [1]
    assert count_group("letters") == 2


def test_a_look_without_waiting_takes_what_there_is() -> None:
    end(1)

    assert result_group("letters", count=5, wait=0) == [1]
    assert result_group("nobody", wait=0) == []


def test_waiting_for_a_count_ends_when_the_time_is_up() -> None:
    end(1)

    waited = seconds_of(lambda: result_group("letters", count=5, wait=80))

    assert 0.07 < waited < 60


def test_waiting_for_a_count_ends_when_it_is_reached_failures_included() -> None:
    end(1)
    end_badly()

    assert result_group("letters", count=2) == [1]


def test_a_group_with_more_than_was_counted_on_is_complete() -> None:
    end(1, 2, 3)

    assert len(fetch_group("letters", count=2)) == 3


def test_a_count_waits_for_what_is_still_at_work() -> None:
    cached = get_client().results.cached
    end(1, cached=True)
    counts = []

    def count_and_end_another(group_id: str, *, failures: bool = False) -> int:
        counts.append(1)
        if len(counts) == 3:
            thread = threading.Thread(target=end, args=[2], kwargs={"cached": True})
            thread.start()
            thread.join()
        return type(cached).count(cached, group_id, failures=failures)

    cached.count = count_and_end_another  # type: ignore[method-assign]  # somebody else is at work
    try:
        assert sorted(result_group_cached("letters", count=2)) == [1, 2]
    finally:
        del cached.count


def test_the_cached_twins_look_in_the_cache_only() -> None:
    end(1)
    end(2, 3, cached=True)

    assert result_group_cached("letters") == [3, 2]
    assert [task.result for task in fetch_group_cached("letters")] == [3, 2]
    assert count_group_cached("letters") == 2
    assert delete_group_cached("letters") == 2
    assert count_group_cached("letters") is None
    assert result_group("letters") == [1]


def test_a_group_of_which_the_cache_knows_nothing_has_no_number() -> None:
    assert count_group_cached("nobody") is None
    assert delete_group("nobody", cached=True) == 0


def test_a_cached_result_of_another_queue_is_found() -> None:
    task_id = async_task(tasks.add, 1, 2, queue="long", cached=True)
    drain("long")

    assert (result(task_id), result_cached(task_id)) == (3, 3)


def test_a_cached_result_is_found_without_saying_where() -> None:
    task_id = async_task(tasks.add, 1, 2, sync=True, cached=True)
    task = fetch_cached(task_id)

    assert (result(task_id), result_cached(task_id)) == (3, 3)
    assert task is not None
    assert not Task.objects.exists()
    task.save()
    assert Task.objects.get().result == 3
