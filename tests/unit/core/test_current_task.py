"""What a task knows of its own run, and what it keeps for the next."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction
from django.utils import timezone

from django_cluster import Snooze, async_task, current_task
from django_cluster.client.client import get_client
from django_cluster.core.correlation import correlate
from django_cluster.core.current_task import MAX_CHECKPOINT_BYTES, CurrentTask, RunEnvironment, enter_run
from django_cluster.core.messages import Job, TaskHeader
from django_cluster.errors import BadSignature, ClusterError, ValueTooLarge
from django_cluster.models import Task, TaskCheckpoint
from django_cluster.stores.checkpoints import KEPT_FOR
from django_cluster.testing.drain import drain

pytestmark = pytest.mark.django_db
seen: list[Any] = []


def look(*_: Any) -> None:
    task = current_task()
    assert task is not None
    seen.append(
        (task.id, task.name, task.func, task.attempt, task.queue, task.correlation_id, task.cancelled, task.should_stop)
    )
    seen.append((task.deadline, task.seconds_left))


def count_to(end: int) -> list[int]:
    """Two numbers in each run; it is done in the last."""
    task = current_task()
    assert task is not None
    done = task.last_checkpoint or []
    seen.append(list(done))
    for number in range(len(done), end):
        done = [*done, number]
        task.checkpoint(done)
        assert task.last_checkpoint == done
        if len(done) % 2 == 0 and len(done) < end:
            raise Snooze(0)
    return done


def keep_and_fail(value: Any) -> None:
    task = current_task()
    assert task is not None
    task.checkpoint(value)
    raise ValueError("no luck")


def keep_and_roll_back() -> None:
    task = current_task()
    assert task is not None
    task.checkpoint("kept")
    with transaction.atomic():
        task.checkpoint("lost")
        transaction.set_rollback(True)
    raise Snooze(0)


@pytest.fixture(autouse=True)
def queue(settings: Any) -> None:
    settings.Q_CLUSTER = {"name": "tests", "orm": "default", "on_commit": False, "max_attempts": 1, "timeout": 30}
    seen.clear()


def hook(_: Task) -> None:
    seen.append(current_task())


def test_a_task_knows_its_run() -> None:
    with correlate("request 7"):
        task_id = async_task(look, task_name="the one")
    drain()

    assert seen[0] == (task_id, "the one", f"{__name__}.look", 1, "tests", "request 7", False, False)
    deadline, left = seen[1]
    assert 0 < left <= 30
    assert abs(deadline - time.time() - left) < 5


def test_a_task_without_a_limit_has_no_deadline(settings: Any) -> None:
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "timeout": None}
    async_task(look)
    drain()
    assert seen[1] == (None, None)


def test_outside_of_a_task_there_is_none() -> None:
    async_task(look, hook=hook)
    drain()
    assert (current_task(), seen[-1]) == (None, None)


def test_a_task_continues_where_its_last_run_has_stopped() -> None:
    task_id = async_task(count_to, 5)

    for _ in range(3):
        run_one()

    assert seen == [[], [0, 1], [0, 1, 2, 3]]
    assert Task.objects.get(pk=task_id).result == [0, 1, 2, 3, 4]
    assert not TaskCheckpoint.objects.exists()


def test_what_a_failed_task_has_kept_is_there_until_its_last_run(settings: Any) -> None:
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "max_attempts": 2, "retry_delay": 0}
    task_id = async_task(keep_and_fail, {"page": 7})

    run_one()
    assert TaskCheckpoint.objects.get().pk == task_id
    assert not Task.objects.get().final
    run_one()

    assert Task.objects.get().final
    assert not TaskCheckpoint.objects.exists()
    assert not Task.objects.get().options


def run_one() -> None:
    client = get_client()
    (delivery,) = client.broker.lease(1)
    job = Job(1, client.codec.verify(delivery.payload), delivery.receipt, delivery.attempt, "tests")
    client.record(client.execute(job)[0], client.broker)


def test_a_checkpoint_belongs_to_the_transaction_around_it() -> None:
    task_id = async_task(keep_and_roll_back)
    run_one()
    sealed = get_client().results.checkpoints.load(task_id)
    assert sealed is not None
    assert b"kept" in sealed


def test_the_checkpoint_of_another_task_is_not_read() -> None:
    place = get_client().results.checkpoints
    environment = RunEnvironment(checkpoints=place, signer=get_client()._executor._environment.signer)

    def run(task_id: str) -> CurrentTask:
        return CurrentTask(TaskHeader(id=task_id, name="", func="", enqueued_at=0.0), 1, "", None, environment)

    run("a").checkpoint("mine")
    TaskCheckpoint.objects.update(id="b")

    with pytest.raises(BadSignature):
        run("b").last_checkpoint  # noqa: B018
    run("b").checkpoint(None)
    assert run("b").last_checkpoint is None
    with pytest.raises(ValueTooLarge, match="may have"):
        run("b").checkpoint("x" * MAX_CHECKPOINT_BYTES)


def test_where_nothing_is_kept_that_is_said() -> None:
    task = CurrentTask(TaskHeader(id="a", name="", func="", enqueued_at=0.0), 1, "", None, RunEnvironment())
    with pytest.raises(ClusterError, match="Nothing is kept"):
        task.checkpoint(1)


@pytest.mark.django_db(transaction=True)
def test_coroutines_keep_checkpoints_too() -> None:
    environment = RunEnvironment(
        checkpoints=get_client().results.checkpoints, signer=get_client()._executor._environment.signer
    )

    async def run() -> Any:
        enter_run(CurrentTask(TaskHeader(id="a", name="", func="", enqueued_at=0.0), 1, "", None, environment))
        task = current_task()
        assert task is not None
        await task.acheckpoint([1])
        return await task.alast_checkpoint()

    assert async_to_sync(run)() == [1]


def test_what_others_have_left_is_deleted_in_time() -> None:
    place = get_client().results.checkpoints
    for task_id in ("ended", "old", "alive"):
        place.save(task_id, b"x")
    place.save("alive", b"y")
    now = timezone.now()
    TaskCheckpoint.objects.filter(pk="old").update(saved_at=now - KEPT_FOR - timedelta(minutes=1))
    Task.objects.create(
        id="ended", name="", func="", enqueued_at=now, started_at=now, stopped_at=now, final=True, status="lost"
    )

    place._prune_at = 0.0
    place.prune()

    (left,) = TaskCheckpoint.objects.all()
    assert (left.pk, bytes(left.sealed_value)) == ("alive", b"y")
