"""The public API as its users write it: checked by ``mypy --strict``, never run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

import django_cluster
from django_cluster import (
    AsyncTask,
    Chain,
    Cluster,
    Group,
    Iter,
    async_chain,
    async_iter,
    call,
    control,
)
from django_cluster.brokers import open_broker
from django_cluster.brokers.base import Broker
from django_cluster.brokers.capabilities import Capabilities
from django_cluster.brokers.messages import Delivery, Message, QueuedMessage, QueueSize
from django_cluster.conf import load_settings
from django_cluster.core.messages import Outcome, TaskPackage
from django_cluster.core.settings import BrokerSettings
from django_cluster.decorators import cron_task, periodic_task, registered_tasks, schedulable
from django_cluster.errors import BrokerUnavailable, ClusterError, Discard, NotFinished, Retry, Snooze, TaskFailed
from django_cluster.models import Failure, Schedule, Success, Task
from django_cluster.reporters.base import ErrorReporter, FailedRun, RunReporter
from django_cluster.signals import post_execute, pre_enqueue
from django_cluster.tasks import (
    async_bulk,
    async_task,
    count_group,
    count_group_cached,
    delete_cached,
    delete_group,
    delete_group_cached,
    fetch,
    fetch_cached,
    fetch_group,
    fetch_group_cached,
    queue_size,
    result,
    result_cached,
    result_group,
    result_group_cached,
    retry,
    schedule,
)


def show(*values: object) -> None:
    """Something of the user's own."""


def add(a: int, b: int) -> int:
    return a + b


def hook(task: Task) -> None:
    assert_type(task.success, bool)
    assert_type(task.time_taken(), float)
    assert_type(task.started, datetime)


def asking_for_work(broker: Broker) -> None:
    assert_type(async_task(add, 1, b=2), str)
    assert_type(
        async_task("app.tasks.add", 1, 2, hook="app.hooks.tell", group="sums", timeout=timedelta(minutes=1)), str
    )
    assert_type(async_task(add, 1, 2, q_options={"eta": datetime.now(UTC), "priority": 5}), str)
    assert_type(async_task(add, 1, 2, hook=hook, sync=True, cached=60, broker=broker, queue="slow"), str)
    assert_type(async_bulk(add, [(1, 2), (3, 4)], group="sums"), list[str])
    assert_type(async_bulk("app.tasks.resize", ["a.png", "b.png"]), list[str])
    assert_type(schedule(add, 1, 2, name="sum", schedule_type=Schedule.DAILY, next_run=datetime.now(UTC)), Schedule)


@schedulable
@cron_task("0 5 * * *", time_zone="Europe/Amsterdam", catch_up="skip")
@cron_task(every=timedelta(minutes=15), name="often", no_overlap=True)
@periodic_task(schedule_type=Schedule.DAILY, args=(3,), name="daily")
def nightly(days: int = 1) -> str:
    return str(days)


def about_schedules(row: Schedule) -> None:
    assert_type(nightly(2), str)
    assert_type(registered_tasks(), list[str])
    assert_type(row.describe(), str)
    assert_type(row.upcoming(5), list[datetime])
    assert_type(row.is_declared, bool)


def reading_results(task_id: str, broker: Broker) -> None:
    assert_type(fetch(task_id), Task | None)
    assert_type(fetch(task_id, wait=100, cached=True), Task | None)
    assert_type(fetch_cached(task_id, 100, broker), Task | None)
    assert_type(fetch_group("sums", failures=False), list[Task])
    assert_type(result_group("sums", True), list[Any])
    assert_type(count_group("sums"), int)
    assert_type(delete_group("sums", tasks=True), int)
    assert_type(delete_cached(task_id), bool)
    assert_type(queue_size(broker), int)
    value = result(task_id, -1, required=True) or result_cached(task_id, 10)
    show(value)


def reading_the_cache() -> None:
    assert_type(fetch_group_cached("sums"), list[Task])
    assert_type(result_group_cached("sums"), list[Any])
    assert_type(count_group_cached("sums"), int | None)
    show(delete_group_cached("sums"))


def composing() -> None:
    assert_type(async_chain([add, (add, (1, 2)), call(add, 1, b=2)], "sums", stop_on_failure=False), str)
    assert_type(async_iter(add, [(1, 2), (3, 4)], hook=hook), str)

    chain = Chain([(add, (1, 2))], cached=True)
    assert_type(chain.append(add, 1, b=2), int)
    assert_type(chain.run(), str)
    assert_type(chain.result(wait=100), list[Any] | None)
    assert_type(chain.fetch(failures=False), list[Task] | None)
    assert_type(chain.current(), int | None)

    items = Iter(add, args=[(1, 2)])
    assert_type(items.append(3, 4), int)
    assert_type(items.run(), str)
    assert_type(items.result(wait=100), list[Any] | None)
    assert_type(items.fetch(), Task | None)

    group = Group([call(add, 1, 2), (add, (3, 4))]).then(show, "done").on_failure("app.tasks.tell_boss")
    assert_type(group, Group)
    assert_type(group.ids, tuple[str, ...])
    assert_type(group.run(), str)
    assert_type(group.result(), list[Any])
    assert_type(group.fetch(failures=False, wait=100), list[Task])

    task = AsyncTask(add, 1, b=2, group="sums")
    task.cached = 60
    assert_type(task.run(), str)
    assert_type(task.fetch(wait=100), Task | None)
    show(task.result(), task.result_group(count=1), task.fetch_group())


def operating(task: Task, row: Schedule) -> None:
    for cluster in control.clusters(dead=True):
        for worker in cluster.workers:
            show(worker.task.name if worker.task else "idle", worker.rss)
            assert_type(control.restart_worker(cluster.id, worker.incarnation or 0, by="typing"), bool)
    assert_type(control.pause("slow", by="typing"), bool)
    assert_type([pause.queue for pause in control.paused()], list[str])
    assert_type(control.resume("slow"), bool)
    assert_type(control.cancel_messages(["key"], "slow"), int)
    assert_type(control.retry(task), str)
    assert_type(control.run_now(row), str)
    assert_type(control.set_enabled([row], False), int)


def again(task: Task) -> None:
    assert_type(retry(task), str)
    assert_type(retry(task, as_new=True, on_commit=False), str)
    for failure in Failure.objects.filter(group="sums"):
        assert_type(failure, Failure)
    assert_type(Success.objects.count(), int)


def errors(task_id: str) -> None:
    try:
        async_task(add, 1, 2, sync=True)
        result(task_id, required=True)
    except NotFinished:
        pass
    except (TaskFailed, BrokerUnavailable) as error:
        show(error)
    except ClusterError:
        raise


def wishes(busy: bool, gone: bool) -> None:
    if busy:
        raise Retry(30, "the service is busy") if gone else Snooze(timedelta(minutes=5))
    raise Discard("the order was cancelled")


def listen(sender: object, task: TaskPackage, **_: Any) -> None:
    assert_type(task.id, str)
    assert_type(task.header.options.timeout, float | None)


def listen_to_outcomes(sender: object, task: Outcome, **_: Any) -> None:
    assert_type(task.final, bool)


pre_enqueue.connect(listen)
post_execute.connect(listen_to_outcomes)


class MyReporter:
    """A reporter needs no base class."""

    def __init__(self, token: str) -> None:
        self.token = token

    def report(self, error: BaseException, package: TaskPackage) -> None:
        show(self.token, error, package.header.name)


reporter: ErrorReporter = MyReporter("secret")


class MyFullReporter:
    only_final = True

    def report_run(self, run: FailedRun) -> None:
        show(run.func, run.attempt, run.final, run.error, run.facts())

    def flush(self, seconds: float) -> None:
        show(seconds)


full_reporter: RunReporter = MyFullReporter()


class MyBroker(Broker):
    """A broker of somebody else."""

    capabilities = Capabilities(priority=False, bulk=10)

    def enqueue(self, messages: Sequence[Message]) -> None:
        show([message.payload for message in messages])

    def lease(self, limit: int, wait: float = 0.0, *, not_after: float = math.inf) -> Sequence[Delivery]:
        return [Delivery("receipt", "payload", 1)][:limit]

    def renew(self, receipts: Sequence[str]) -> Sequence[str]:
        return []

    def acknowledge(self, receipts: Sequence[str]) -> None:
        show(receipts)

    def release(self, deliveries: Sequence[Delivery], delay: float = 0.0, *, refund_attempt: bool = False) -> None:
        show(deliveries, delay, refund_attempt)

    def peek(self, limit: int = 100) -> Sequence[QueuedMessage]:
        return [QueuedMessage("payload", 0, 0, None, False, "key")]

    def size(self) -> QueueSize:
        return QueueSize(ready=1, delayed=0, leased=0)

    def purge(self) -> int:
        return 0

    def ping(self) -> None:
        pass


def brokers() -> None:
    assert_type(open_broker(BrokerSettings(kind="redis", options={"url": "redis://"})), Broker)
    assert_type(MyBroker(BrokerSettings()).size().total, int)


def embedding() -> None:
    cluster = Cluster(load_settings())
    cluster.start()
    cluster.stop()


assert_type(django_cluster.__version__, str)
