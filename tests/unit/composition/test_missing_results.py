"""Readers of groups and chains never take a part of the results for the whole, nor wait for what will never come."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import override_settings
from django.utils import timezone

from django_cluster import Chain, Group, async_bulk, call
from django_cluster.brokers import memory
from django_cluster.client.client import get_client
from django_cluster.errors import ResultsPruned
from django_cluster.models import Task
from django_cluster.tasks import count_group, delete_group, fetch_group, result_group
from django_cluster.testing.drain import drain
from tests.sample.tasks import add, fail

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def few_are_kept(settings: Any) -> None:
    settings.Q_CLUSTER = {"name": "tests", "broker": "memory", "on_commit": False, "max_attempts": 1, "save_limit": 2}
    memory.reset()


def prune_after(age: timedelta) -> None:
    """Let all rows be so old, and newer ones be there; then let the monitor prune."""
    Task.objects.update(stopped_at=timezone.now() - age)
    async_bulk(add, [(1, 1)] * 3)
    drain()
    get_client().results.prune()


def test_a_group_beyond_the_limit_is_read_whole_when_it_has_just_ended() -> None:
    async_bulk(add, [(1, number) for number in range(20)], group="g")
    drain()
    get_client().results.prune()

    assert (sum(result_group("g")), count_group("g")) == (20 + 190, 20)


def test_a_pruned_group_raises_and_is_counted_whole() -> None:
    async_bulk(add, [(1, number) for number in range(20)], group="g")
    drain()
    prune_after(timedelta(hours=2))

    for read in (result_group, fetch_group, Task.get_result_group):
        with pytest.raises(ResultsPruned, match="20 results of the group 'g' are no longer kept"):
            read("g")
    with pytest.raises(ResultsPruned):
        result_group("g", wait=-1)
    with pytest.raises(ResultsPruned):
        result_group("g", count=20)
    assert (count_group("g"), Task.get_group_count("g")) == (20, 20)


def test_a_group_that_lost_failures_only_has_all_of_its_successes() -> None:
    async_bulk(add, [(1, 1)] * 2, group="g")
    async_bulk(fail, [()] * 3, group="g")
    drain(raise_errors=False)
    Task.objects.filter(success=False).update(stopped_at=timezone.now() - timedelta(days=2))
    with_days = {"name": "tests", "broker": "memory", "retention_days": {"failed": 1}}
    with override_settings(Q_CLUSTER=with_days):
        get_client().results.prune()

    assert result_group("g") == [2, 2]
    assert count_group("g", failures=True) == 3
    with pytest.raises(ResultsPruned):
        fetch_group("g")


def test_a_group_object_is_not_waited_for_when_it_is_pruned() -> None:
    group = Group([call(add, 1, number) for number in range(20)])
    group.run()
    drain()
    assert sum(group.result(wait=-1)) == 20 + 190
    prune_after(timedelta(hours=2))

    with pytest.raises(ResultsPruned):
        group.result(wait=-1)


def test_a_group_object_whose_results_are_not_kept_ends_and_says_so() -> None:
    group = Group([call(add, 1, 1), call(add, 1, 2, save=False)])
    group.run()
    drain()

    with pytest.raises(ResultsPruned, match="1 of 2 calls were not kept"):
        group.result(wait=-1)


def test_a_chain_whose_results_are_not_kept_ends_and_says_so() -> None:
    chain = Chain([(add, (1, 1)), (add, (1, 2), {"save": False})])
    chain.run()
    drain()

    with pytest.raises(ResultsPruned, match="1 of 2 links were not kept"):
        chain.result(wait=-1)


def test_a_chain_that_is_pruned_raises() -> None:
    chain = Chain([(add, (1, number)) for number in range(3)])
    chain.run()
    drain()
    prune_after(timedelta(hours=2))

    with pytest.raises(ResultsPruned):
        chain.result(wait=-1)


def test_a_group_that_is_deleted_is_forgotten() -> None:
    async_bulk(add, [(1, 1)] * 5, group="g")
    drain()
    prune_after(timedelta(hours=2))

    delete_group("g")

    assert (result_group("g"), count_group("g")) == ([], 0)
