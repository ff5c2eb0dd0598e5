"""``with batch():`` collects what a block sends, and sends it at the end in one call for each queue."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction

from django_cluster import aasync_task, async_bulk, async_task, batch, result
from django_cluster.brokers import memory
from django_cluster.brokers.memory import MemoryBroker
from django_cluster.client.client import get_client
from django_cluster.composition import Group, call
from django_cluster.errors import BrokerUnavailable
from django_cluster.models import QueuedTask, TrackedTask
from django_cluster.testing import enqueued
from tests.sample import tasks

pytestmark = pytest.mark.django_db(transaction=True)


class CountingBroker(MemoryBroker):
    """Writes down how many messages each call brought."""

    calls: list[tuple[str, int]]

    def enqueue(self, messages: Any) -> None:
        type(self).calls.append((self.queue, len(messages)))
        super().enqueue(messages)


class AwayBroker(MemoryBroker):
    def enqueue(self, messages: Any) -> None:
        raise BrokerUnavailable("The server is away.")


@pytest.fixture
def calls(settings: Any) -> Iterator[list[tuple[str, int]]]:
    settings.Q_CLUSTER = {"name": "tests", "broker_class": f"{__name__}.CountingBroker", "queue": "first"}
    CountingBroker.calls = []
    yield CountingBroker.calls
    memory.reset()


@pytest.fixture
def _in_the_database(settings: Any) -> None:
    settings.Q_CLUSTER = {"name": "tests", "orm": "default"}


def ids() -> list[str]:
    return [each.id for each in enqueued()]


def send_and_fail() -> None:
    with batch():
        async_task(tasks.nothing)
        raise ZeroDivisionError


class TestBatch:
    def test_all_calls_leave_together_and_in_their_order(self, calls: list[tuple[str, int]]) -> None:
        with batch():
            sent = [async_task(tasks.echo, number) for number in range(3)]
            sent += async_bulk(tasks.echo, ["a", "b"])
            before = list(calls)

        assert (before, calls) == ([], [("first", 5)])
        assert ids() == sent

    def test_one_call_for_each_queue(self, calls: list[tuple[str, int]]) -> None:
        with batch():
            for _ in range(3):
                async_task(tasks.nothing, queue="first")
                async_task(tasks.nothing, queue="second")

        assert calls == [("first", 3), ("second", 3)]

    def test_a_block_that_raises_sends_nothing(self, calls: list[tuple[str, int]]) -> None:
        with pytest.raises(ZeroDivisionError):
            send_and_fail()

        assert calls == []

    def test_the_outer_block_sends_for_the_inner_one(self, calls: list[tuple[str, int]]) -> None:
        with batch():
            async_task(tasks.nothing)
            with batch():
                async_task(tasks.nothing)
            with suppress(ZeroDivisionError):
                send_and_fail()
            before = list(calls)

        assert (before, calls) == ([], [("first", 2)])

    def test_after_the_block_tasks_leave_alone(self, calls: list[tuple[str, int]]) -> None:
        with batch():
            async_task(tasks.nothing)
        async_task(tasks.nothing)

        assert calls == [("first", 1), ("first", 1)]

    def test_tasks_that_wait_for_a_commit_leave_with_the_commit(self, calls: list[tuple[str, int]]) -> None:
        with batch():
            with transaction.atomic():
                async_task(tasks.nothing)
                async_task(tasks.nothing)
            committed = list(calls)

        assert committed == calls == [("first", 2)]

    @pytest.mark.usefixtures("calls")
    def test_with_sync_a_task_runs_in_the_block(self) -> None:
        with batch():
            assert result(async_task(tasks.add, 1, 2, sync=True)) == 3

    @pytest.mark.usefixtures("calls")
    def test_groups_and_tracked_tasks_have_their_rows_at_the_end(self) -> None:
        with batch():
            Group([call(tasks.echo, 1), call(tasks.echo, 2)]).run()
            tracked = async_task(tasks.nothing, q_options={"track": True})
            before = TrackedTask.objects.count()

        assert (before, TrackedTask.objects.filter(id=tracked, payload=None).count()) == (0, 1)
        assert len(enqueued()) == 3

    @pytest.mark.usefixtures("calls")
    def test_a_batch_is_used_once(self) -> None:
        block = batch()
        with block:
            pass

        with pytest.raises(RuntimeError, match="begun already"), block:
            pass

    def test_a_broker_that_is_away_says_how_many_were_not_sent(self, settings: Any) -> None:
        settings.Q_CLUSTER = {"name": "tests", "broker_class": f"{__name__}.AwayBroker"}

        def send() -> None:
            with batch():
                async_bulk(tasks.echo, [1, 2, 3])
                async_task(tasks.nothing)

        with pytest.raises(BrokerUnavailable) as raised:
            send()

        assert raised.value.__notes__ == ["4 tasks of the batch were not sent."]

    def test_a_tracked_task_that_was_not_sent_leaves_no_row(self, settings: Any) -> None:
        settings.Q_CLUSTER = {"name": "tests", "broker_class": f"{__name__}.AwayBroker"}

        with pytest.raises(BrokerUnavailable), batch():
            async_task(tasks.nothing, q_options={"track": True})

        assert not TrackedTask.objects.exists()


@pytest.mark.usefixtures("_in_the_database")
class TestAQueueInTheDatabase:
    def test_all_rows_are_written_by_one_statement(self, django_assert_num_queries: Any) -> None:
        async_task(tasks.nothing)  # opens the connection
        with django_assert_num_queries(1), batch():
            for number in range(20):
                async_task(tasks.echo, number)

        assert QueuedTask.objects.count() == 21

    def test_a_transaction_that_begins_in_the_block_keeps_its_tasks(self) -> None:
        with batch():
            with transaction.atomic():
                async_task(tasks.nothing)
                transaction.set_rollback(True)
            kept = async_task(tasks.nothing)

        assert ids() == [kept]

    def test_a_block_in_a_transaction_is_part_of_it(self) -> None:
        with transaction.atomic():
            with batch():
                async_task(tasks.nothing)
            inside = QueuedTask.objects.count()
            transaction.set_rollback(True)

        assert (inside, QueuedTask.objects.count()) == (1, 0)


class TestAsyncCode:
    def test_an_async_block_sends_at_its_end(self, calls: list[tuple[str, int]]) -> None:
        async def view() -> list[tuple[str, int]]:
            async with batch():
                await aasync_task(tasks.nothing)
                await aasync_task(tasks.nothing)
                return list(calls)

        before = async_to_sync(view)()

        assert (before, calls) == ([], [("first", 2)])

    def test_what_outlives_the_block_sends_by_itself(self, calls: list[tuple[str, int]]) -> None:
        async def view() -> None:
            closed = asyncio.Event()

            async def later() -> None:
                await closed.wait()
                await aasync_task(tasks.nothing)

            async with batch():
                outliving = asyncio.create_task(later())
            closed.set()
            await outliving

        async_to_sync(view)()

        assert calls == [("first", 1)]


@pytest.mark.usefixtures("calls")
def test_the_client_of_the_block_is_the_threads_own() -> None:
    with batch():
        async_task(tasks.nothing)

    assert get_client().broker.size().ready == 1
