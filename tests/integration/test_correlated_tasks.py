"""One correlation id for everything that one task has caused, through a queue and back."""

from __future__ import annotations

from typing import Any

import pytest

from django_cluster import Chain, Group, async_iter, async_task, fetch, schedule
from django_cluster.brokers import memory
from django_cluster.client.retries import retry
from django_cluster.core.arguments import kwargs_from_text
from django_cluster.core.correlation import correlate
from django_cluster.models import Schedule, Task
from django_cluster.models.task import saved_tasks
from django_cluster.schedules.planning import task_options
from django_cluster.testing.drain import drain
from tests.sample import correlated, tasks

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _in_memory(settings: Any) -> None:
    settings.Q_CLUSTER = {"name": "tests", "broker": "memory", "on_commit": False}
    memory.reset()


def row(task_id: str) -> Task:
    found: Task | None = fetch(task_id)
    assert found is not None
    return found


def test_a_task_that_nothing_has_caused_has_its_own_id_and_an_empty_column() -> None:
    task_id = async_task(correlated.parent, 0)
    drain()

    assert row(task_id).correlation_id == row(task_id).result == task_id
    assert saved_tasks().filter(correlation_id=None).count() == 1


def test_children_and_grandchildren_have_the_id_of_the_first() -> None:
    task_id = async_task(correlated.parent, 2)
    drain()

    family = saved_tasks().correlated(task_id)
    assert {task.name for task in family} == {row(task_id).name, "child 2", "child 1"}
    assert {task.result for task in family} == {task_id}


def test_a_row_that_is_saved_again_keeps_its_column() -> None:
    task_id = async_task(correlated.parent, 1)
    drain()
    for task in Task.objects.all():
        task.save()

    assert saved_tasks().filter(correlation_id=task_id).count() == 1
    assert Task.objects.defer("correlation_id").get(pk=task_id).correlation_id == task_id


def test_a_hook_belongs_to_its_task() -> None:
    with correlate("order 7"):
        async_task(tasks.nothing, hook=correlated.hook)
    drain()

    assert (
        sorted(saved_tasks().filter(correlation_id="order 7").values_list("func", flat=True))
        == ["tests.sample.tasks.nothing"] * 2
    )


@pytest.mark.parametrize("given", [None, "order 7"])
def test_a_chain_a_group_and_an_iter_are_one_each(given: str | None) -> None:
    options = {"q_options": {"correlation_id": given}} if given else {}
    chain = Chain()
    chain.append(tasks.add, 1, 2, **options)
    chain.append(tasks.nothing, **options)
    chain.run()
    group = Group([(tasks.nothing, (), options), (tasks.nothing, (), options)]).on_success(tasks.nothing, **options)
    group.run()
    items = async_iter(tasks.nothing, [(), ()], **options)
    drain()

    ids = [given or chain.ids[0], given or group.id, given or items]
    counts = [saved_tasks().correlated(each).count() for each in ids]
    assert counts == ([6, 6, 6] if given else [2, 3, 1])  # the items of an iter leave no rows


def test_retried_tasks_belong_where_they_belonged() -> None:
    task_id = async_task(tasks.fail, q_options={"max_attempts": 1})
    drain(raise_errors=False)
    with correlate("the operator's request"):
        new = retry(row(task_id))
    drain(raise_errors=False)

    assert row(new).correlation_id == task_id


def test_what_a_task_schedules_once_belongs_to_it_and_what_it_schedules_forever_does_not() -> None:
    task_id = async_task(correlated.scheduling)
    drain()
    once = Schedule.objects.get()
    with correlate("request 1"):
        daily = schedule("tests.sample.tasks.nothing", schedule_type=Schedule.DAILY)

    assert options_of(once).correlation_id == task_id
    assert options_of(daily).correlation_id is None


def options_of(row: Schedule) -> Any:
    return task_options(row, kwargs_from_text(row.kwargs).get("q_options") or {})[0]
