"""A member of a group or a chain that is run again takes the place of the run that had failed."""

from __future__ import annotations

from typing import Any

import pytest

from django_cluster import Chain, Group, async_bulk
from django_cluster.brokers import memory
from django_cluster.client.retries import retry, retry_many
from django_cluster.errors import ResultsPruned
from django_cluster.models import Task
from django_cluster.tasks import count_group, fetch_group, result_group
from django_cluster.testing.drain import drain
from tests.sample.tasks import add

pytestmark = pytest.mark.django_db

broken: set[int] = set()


def fragile(number: int) -> int:
    if number in broken:
        raise ValueError("broken")
    return number


@pytest.fixture(autouse=True)
def one_fails(settings: Any) -> None:
    settings.Q_CLUSTER = {"name": "tests", "broker": "memory", "on_commit": False, "max_attempts": 1}
    memory.reset()
    broken.clear()
    broken.add(1)


def repair() -> None:
    """Run what has failed again, now that it can succeed."""
    broken.clear()
    retry(Task.objects.get(success=False))
    drain()


def test_a_label_has_each_of_its_tasks_once() -> None:
    async_bulk(fragile, [0, 1, 2], group="g")
    drain(raise_errors=False)

    repair()

    assert sorted(result_group("g")) == [0, 1, 2]
    assert sorted(task.result for task in fetch_group("g")) == [0, 1, 2]
    assert (count_group("g"), count_group("g", failures=True)) == (3, 0)


def test_a_task_that_fails_again_is_one_failure() -> None:
    async_bulk(fragile, [0, 1], group="g")
    drain(raise_errors=False)

    retry(Task.objects.get(success=False))
    drain(raise_errors=False)

    assert (len(fetch_group("g")), count_group("g"), count_group("g", failures=True)) == (2, 2, 1)


def test_a_success_is_kept_while_its_second_run_has_failed() -> None:
    async_bulk(fragile, [0, 2], group="g")
    drain()
    broken.add(2)

    retry_many([task.pk for task in Task.objects.all()])
    drain(raise_errors=False)

    assert sorted(result_group("g")) == [0, 2]


def test_a_group_object_finds_the_new_run_at_the_place_of_the_old() -> None:
    group = Group([(fragile, (number,)) for number in range(3)])
    group.run()
    drain(raise_errors=False)
    assert group.result(wait=-1) == [0, 2]
    retry(Task.objects.get(success=False))
    drain(raise_errors=False)
    broken.clear()
    retry(Task.objects.get(success=False, retried_as=None))
    drain()

    assert group.result(wait=-1) == [0, 1, 2]


def test_a_chain_goes_on_from_the_link_that_is_run_again() -> None:
    chain = Chain([(add, (1, 1)), (fragile, (1,)), (add, (2, 2))])
    chain.run()
    drain(raise_errors=False)
    assert chain.result() == [2]

    repair()

    assert chain.result() == [2, 1, 4]


def test_a_chain_that_failed_later_than_a_deleted_link_says_what_is_missing() -> None:
    chain = Chain([(add, (1, 1)), (fragile, (1,)), (add, (2, 2))])
    chain.run()
    drain(raise_errors=False)
    Task.objects.filter(pk=chain.ids[0]).delete()

    with pytest.raises(ResultsPruned, match="1 of 3 links were not kept"):
        chain.result()
