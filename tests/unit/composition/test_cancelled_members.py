"""A member of a composition that an operator takes out of the queue has failed: nobody waits for it."""

from __future__ import annotations

from typing import Any

import pytest

from django_cluster import Chain, Group, async_iter, async_task, call, control, fetch
from django_cluster.client.client import get_client
from django_cluster.models import Task
from django_cluster.testing.drain import drain
from tests.sample.tasks import add

pytestmark = pytest.mark.django_db

called: list[str] = []


def note(what: str) -> str:
    called.append(what)
    return what


def note_status(task: Task) -> None:
    called.append(task.status)


@pytest.fixture(autouse=True)
def queue(settings: Any) -> None:
    settings.Q_CLUSTER = {"name": "tests", "orm": "default", "on_commit": False, "max_attempts": 1}
    called.clear()


def first_key() -> str:
    return get_client().broker.peek()[0].key


def work() -> None:
    drain(raise_errors=False)


def test_a_group_of_which_a_call_is_cancelled_ends_as_failed() -> None:
    group = (
        Group([call(add, 1, 1), call(add, 1, 2), call(add, 1, 3)]).on_success(note, "then").on_failure(note, "failure")
    )
    group.run()

    assert control.cancel_messages([first_key()]) == 1
    work()

    assert called == ["failure"]
    tasks = group.fetch(wait=-1)
    assert sorted(task.status for task in tasks) == ["cancelled", "success", "success"]
    (cancelled,) = [task for task in tasks if not task.success]
    assert cancelled.error_message == "Cancelled."
    assert (cancelled.final, cancelled.queue) == (True, "tests")


def test_a_purged_group_ends_without_a_cluster() -> None:
    group = Group([call(add, 1, 1), call(add, 1, 2)]).on_failure(note, "failure")
    group.run()

    control.purge()
    work()

    assert called == ["failure"]
    assert [task.success for task in group.fetch(wait=-1)] == [False, False]


def test_a_chain_of_which_a_link_is_cancelled_is_not_waited_for() -> None:
    chain = Chain([(note, ("one",)), (note, ("two",))])
    chain.run()

    control.cancel_messages([first_key()])
    work()

    assert called == []
    assert chain.result(wait=-1) == []


def test_an_iter_of_which_an_item_is_cancelled_is_a_failure() -> None:
    iter_id = async_iter(add, [(1, 1), (1, 2)])

    control.cancel_messages([first_key()])
    work()

    task = fetch(iter_id)
    assert task is not None
    assert not task.success
    assert "1 of 2 items failed" in task.error_message


def test_a_task_that_is_cancelled_leaves_a_row_from_which_it_can_be_sent_again_and_calls_its_hook() -> None:
    async_task(add, 1, 1, hook=note_status)

    control.cancel_messages([first_key()], by="ada")

    (row,) = Task.objects.all()
    assert (row.status, row.final, row.error_message, row.args) == ("cancelled", True, "Cancelled by ada.", (1, 1))
    assert called == ["cancelled"]
    control.retry(row)
    work()
    assert Task.objects.get(success=True).result == 2
