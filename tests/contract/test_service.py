"""Every verb of the task service on each broker: what it counts, and what it does to tasks that wait or have failed."""

from __future__ import annotations

from django_cluster import async_task, get_task_service
from django_cluster.client.client import get_client
from django_cluster.models import Schedule
from django_cluster.testing.drain import drain
from tests.conftest import wait_until
from tests.e2e.brokers import on_every_broker
from tests.e2e.conftest import MakeProject
from tests.sample import tasks

service = get_task_service()


def pending(count: int) -> None:
    wait_until(lambda: service.count_pending_tasks() == count, 20, f"{count} tasks should wait")


@on_every_broker
def test_the_verbs_of_the_service(make_project: MakeProject, broker: str) -> None:
    make_project(broker, "sqlite", max_attempts=1)
    queue = get_client().settings.queue
    bad = [async_task(tasks.fail) for _ in range(2)]
    good = async_task(tasks.nothing)
    pending(3)
    assert queue in service.get_all_queues()

    while len(drain(raise_errors=False)) or service.count_failed_tasks() < 2:
        pass
    pending(0)
    assert (service.count_failed_tasks(), service.count_completed_tasks(hours=24)) == (2, 1)
    assert {each["message_id"] for each in service.get_failed_tasks(queue=queue)} == set(bad)
    assert service.get_queue_stats()["pending"] == 0

    assert service.retry_task(bad[0])
    assert not service.retry_task(good)
    pending(1)
    drain(raise_errors=False)
    pending(0)
    assert service.retry_failed().sent == 2
    pending(2)
    drain(raise_errors=False)
    pending(0)

    assert service.pause_queue()
    assert service.get_queue_stats()["paused"]
    assert service.resume_queue()
    assert service.pause_task(tasks.nothing)
    assert service.resume_task(tasks.nothing)
    assert (service.get_worker_stats(), service.get_running_tasks()) == ([], [])
    assert service.health()["status"]
    for _ in range(2):
        service.schedule_periodic_task("cleanup", tasks.nothing, interval_seconds=3600)
    assert Schedule.objects.count() == 1

    assert service.delete_task(bad[0])
    assert service.clear_failed_tasks() == 1
    assert service.count_failed_tasks() == 0
