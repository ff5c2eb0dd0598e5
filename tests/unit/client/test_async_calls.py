"""The functions for async code do what their synchronous twins do, and leave the event loop free."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.exceptions import SynchronousOnlyOperation

from django_cluster import aasync_bulk, aasync_task, afetch, afetch_group, aresult, aresult_group, async_task
from django_cluster.brokers import memory
from django_cluster.errors import NotFinished
from django_cluster.testing.drain import drain
from tests.sample import tasks

pytestmark = pytest.mark.django_db(transaction=True)

Value = TypeVar("Value")


@pytest.fixture(params=["orm", "memory"], autouse=True)
def queue(request: pytest.FixtureRequest, settings: Any) -> None:
    settings.Q_CLUSTER = {"name": "tests", "broker": request.param, "max_attempts": 1}
    memory.reset()


def wait_for(coroutine: Coroutine[Any, Any, Value]) -> Value:
    """As in a view: synchronous code runs in the thread of the test, with its connections."""

    async def bounded() -> Value:
        return await asyncio.wait_for(coroutine, 60)

    return async_to_sync(bounded)()


def test_a_task_is_sent_and_its_result_read() -> None:
    async def view() -> tuple[Any, ...]:
        task_id = await aasync_task(tasks.add, 1, 2, group="sums")
        before = await aresult(task_id)
        await sync_to_async(drain)()
        row = await afetch(task_id)
        return (
            before,
            row and row.group,
            await aresult(task_id),
            await aresult_group("sums"),
            len(await afetch_group("sums")),
        )

    assert wait_for(view()) == (None, "sums", 3, [3], 1)


def test_many_are_sent_at_once() -> None:
    ids = wait_for(aasync_bulk(tasks.add, [(1, 2), (3, 4)]))

    assert drain() == ids


def test_a_result_is_waited_for_while_the_loop_goes_on() -> None:
    async def view() -> Any:
        task_id = await aasync_task(tasks.add, 1, 2)
        waiting = asyncio.ensure_future(aresult(task_id, wait=-1))
        await asyncio.sleep(0)
        await sync_to_async(drain)()
        return await waiting

    assert wait_for(view()) == 3


def test_a_result_that_does_not_come_in_time_is_none_or_an_error() -> None:
    async def view() -> Any:
        task_id = await aasync_task(tasks.add, 1, 2)
        nothing = await aresult(task_id, wait=30)
        with pytest.raises(NotFinished):
            await aresult(task_id, wait=30, required=True)
        return nothing

    assert wait_for(view()) is None


def test_a_failure_is_the_text_of_its_error() -> None:
    async def view() -> Any:
        task_id = await aasync_task(tasks.fail, "no luck")
        await sync_to_async(drain)(raise_errors=False)
        return await aresult(task_id)

    assert "no luck" in wait_for(view())


def test_the_synchronous_call_in_async_code_says_which_one_to_await(settings: Any) -> None:
    settings.Q_CLUSTER = {"name": "tests", "broker": "orm"}

    async def view() -> str:
        return async_task(tasks.add, 1, 2)

    with pytest.raises(SynchronousOnlyOperation) as caught:
        wait_for(view())

    assert "await aasync_task(" in "".join(caught.value.__notes__)
