"""What is enqueued: in the queues, and in transactions that are open."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction

from django_cluster.brokers import memory
from django_cluster.tasks import async_task
from django_cluster.testing import assert_enqueued, assert_not_enqueued, enqueued, forget_enqueued
from tests.sample import tasks

pytestmark = pytest.mark.django_db


@pytest.fixture(params=["orm", "memory"], autouse=True)
def broker(request: pytest.FixtureRequest, settings: Any) -> Iterator[str]:
    settings.Q_CLUSTER = {"name": "tests", "broker": request.param, "ALT_CLUSTERS": {"mail": {}}}
    yield request.param
    memory.reset()


def said(call: Any) -> list[str]:
    """The lines of the failure."""
    with pytest.raises(AssertionError) as caught:
        call()
    return str(caught.value).splitlines()


def test_a_call_is_found_by_function_and_arguments() -> None:
    async_task(tasks.add, 1, b=2)
    wanted = async_task(tasks.add, 3, b=4)

    assert assert_enqueued(tasks.add, [3], {"b": 4}).id == wanted
    assert assert_enqueued("tests.sample.tasks.add", kwargs={"b": 4}).id == wanted
    assert_not_enqueued(tasks.add, (5,))
    assert_not_enqueued(tasks.echo)


def test_what_waits_for_the_commit_is_enqueued_and_says_so(broker: str) -> None:
    waiting = async_task(tasks.nothing)
    sent = async_task(tasks.nothing, q_options={"on_commit": False})

    assert {task.id: task.on_commit for task in enqueued()} == {waiting: True, sent: broker == "orm"}
    assert assert_enqueued(tasks.nothing, on_commit=True, times=1 + (broker == "orm"))
    if broker == "memory":
        assert assert_enqueued(tasks.nothing, on_commit=False).id == sent


def test_what_was_rolled_back_is_not_enqueued() -> None:
    with transaction.atomic():
        async_task(tasks.nothing)
        transaction.set_rollback(True)

    assert_not_enqueued()


def test_all_queues_are_looked_at_unless_one_is_named() -> None:
    for queue in (None, "mail", "a queue that the settings do not name"):
        async_task(tasks.nothing, q_options={"queue": queue})

    assert {task.queue for task in enqueued()} == {"tests", "mail", "a queue that the settings do not name"}
    assert [task.queue for task in enqueued("mail")] == ["mail"]
    assert_enqueued(tasks.nothing, queue="mail", times=1)
    assert_not_enqueued(tasks.nothing, queue="other")


def test_a_missing_call_is_told_with_what_is_there_instead(broker: str) -> None:
    async_task(tasks.add, 1, b="two", q_options={"delay": 60, "queue": "mail"})

    lines = said(lambda: assert_enqueued(tasks.add, (2,), {}, on_commit=True))

    assert lines[0] == ("tests.sample.tasks.add(2) with the commit of a transaction is not enqueued. Enqueued instead:")
    assert lines[1].startswith("  tests.sample.tasks.add(1, b='two')  [queue mail, due in ")
    assert lines[1].endswith(" s, with the commit]")


def test_an_empty_queue_is_told() -> None:
    assert said(lambda: assert_enqueued(tasks.add, kwargs={"b": 1})) == [
        "tests.sample.tasks.add(*…, b=1) is not enqueued. Enqueued instead: nothing."
    ]


def test_a_callback_that_may_send_it_is_mentioned() -> None:
    transaction.on_commit(lambda: async_task(tasks.nothing))

    assert (
        "wait for the commit of a transaction: 1. run_pending() calls them."
        in said(lambda: assert_enqueued(tasks.nothing))[-1]
    )


def test_a_wrong_number_is_told() -> None:
    async_task(tasks.add, 1, 2)
    async_task(tasks.add, 3, 4)

    lines = said(lambda: assert_enqueued(tasks.add, times=1))

    assert lines[0] == "tests.sample.tasks.add is enqueued 2 times, not 1. Enqueued:"
    assert len(lines) == 3


def test_what_should_not_be_there_is_shown() -> None:
    async_task(tasks.nothing)

    assert said(assert_not_enqueued)[0] == "Nothing should be enqueued. Enqueued:"
    assert said(lambda: assert_not_enqueued(tasks.nothing))[1].startswith("  tests.sample.tasks.nothing()")


def test_what_is_queued_can_be_forgotten() -> None:
    async_task(tasks.nothing, q_options={"on_commit": False})
    async_task(tasks.nothing, q_options={"on_commit": False, "queue": "mail"})

    assert forget_enqueued("mail") == 1
    assert forget_enqueued() == 1
    assert_not_enqueued()
