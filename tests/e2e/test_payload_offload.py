"""Payloads that are larger than the broker takes, through whole clusters."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from django_cluster.brokers import open_broker
from django_cluster.brokers.messages import Message
from django_cluster.errors import PayloadTooLarge
from django_cluster.models import LargePayload
from django_cluster.tasks import retry
from tests.conftest import wait_until
from tests.e2e import misbehaving_tasks
from tests.e2e.conftest import MakeProject
from tests.e2e.project import Project
from tests.fields import fields
from tests.sample import tasks

BIG = "0123456789abcdef" * 131_072
"""Two megabytes: twice what SQS takes."""


def wait_until_no_row_is_left() -> None:
    wait_until(lambda: not LargePayload.objects.exists(), because="the rows of large payloads should be deleted")


@pytest.mark.parametrize("database", ["sqlite", "postgres", "mariadb"])
def test_two_megabytes_go_through_sqs_and_leave_one_row(make_project: MakeProject, database: str) -> None:
    project = make_project("sqs", database, offload_large_payloads=True, workers=1)
    forgotten = LargePayload.objects.create(id="0" * 32, queue="tests", created_at=1, keep_until=2, payload="x")
    big = project.enqueue(tasks.echo, BIG)
    small = project.enqueue(tasks.echo, "small")
    kept = LargePayload.objects.exclude(pk=forgotten.pk).get()
    assert kept.created_at / 1e6 == pytest.approx(time.time(), abs=60)
    assert ((kept.keep_until or 0) - kept.created_at) / 86_400e6 == pytest.approx(15, abs=0.1)

    project.start()

    task = project.wait_for_row(big)
    assert task.success
    assert task.args == (BIG,)
    assert task.result == ((BIG,), {})
    assert project.wait_for_row(small).success
    wait_until_no_row_is_left()
    wait_until(lambda: project.broker().size().total == 0, because="both should have been acknowledged")


def test_without_it_they_are_refused(make_project: MakeProject) -> None:
    project = make_project("sqs")

    with pytest.raises(PayloadTooLarge, match="SqsBroker takes 1048512"):
        project.enqueue(tasks.echo, BIG)


def test_many_large_ones_in_one_call(make_project: MakeProject) -> None:
    project = make_project("sqs", offload_large_payloads=10_000)
    project.start()

    project.enqueue_many(tasks.echo, [(str(number), "x" * 20_000) for number in range(40)])

    rows = project.wait_for_rows(40)
    assert {row.args[0] for row in rows if row.success} == set(map(str, range(40)))
    wait_until_no_row_is_left()


def test_killed_pushers_monitors_and_workers_lose_no_large_payload(make_project: MakeProject) -> None:
    project = make_project("redis", offload_large_payloads=1000, max_attempts=0, retry_delay=0.1, retry=2)
    cluster = project.start()
    calls = [(str(project.trace), 0.05, f"{number} {'x' * 2000}") for number in range(60)]
    ids = project.enqueue_many(tasks.touch_and_sleep, calls)
    wait_until(lambda: project.count() >= 5, because="the work should be under way")

    for role in ("pusher", "monitor", "worker", "pusher", "monitor"):
        cluster.kill(role)

    for task_id in ids:
        assert project.wait_for_row(task_id).success


def test_a_task_that_killed_its_workers_is_kept_whole_and_can_be_sent_again(make_project: MakeProject) -> None:
    project = make_project("redis", offload_large_payloads=1, max_attempts=0, retry_delay=0.05, workers=1)
    project.start()
    cause = project.folder / "cause"
    cause.touch()
    task_id = project.enqueue(misbehaving_tasks.die_while_it_exists, str(cause), str(project.trace))
    dead = project.wait_for_row(task_id)
    assert dead.status == "dead"
    wait_until_no_row_is_left()

    cause.unlink()
    retry(dead)

    wait_until(lambda: project.count(success=True) == 1, because="it should have been run again, whole")
    wait_until_no_row_is_left()


def test_a_payload_that_is_gone_is_rejected_under_the_name_of_its_task(make_project: MakeProject) -> None:
    project = make_project("redis", offload_large_payloads=1000, retry=1)
    lost = project.enqueue(tasks.echo, "x" * 5000, task_name="lost")
    LargePayload.objects.all().delete()

    project.start()

    task = project.wait_for_row(lost)
    assert fields(task, "name", "func", "status") == {
        "name": "lost",
        "func": "tests.sample.tasks.echo",
        "status": "rejected",
    }
    assert "The payload of a message is missing" in task.error_message
    check_that_it_lives(project)


def test_a_second_reference_changes_nothing_of_a_success(make_project: MakeProject) -> None:
    project = make_project("redis", offload_large_payloads=1000, retry=1)
    task_id = project.enqueue(tasks.echo, "x" * 5000)
    bare = open_broker(replace(project.broker().settings, offload_large_payloads=False))
    reference = bare.peek()[0].payload
    cluster = project.start()
    project.wait_for_row(task_id)
    wait_until_no_row_is_left()

    bare.enqueue([Message(reference)])

    wait_until(lambda: bare.size().total == 0, 20, because="the second reference should have been rejected")
    assert "Undecodable message rejected" in cluster.logs
    (row,) = project.rows()
    assert fields(row, "id", "status", "args") == {"id": task_id, "status": "success", "args": ("x" * 5000,)}
    bare.close()


def test_a_cluster_without_it_gives_references_back_to_those_with_it(make_project: MakeProject) -> None:
    project = make_project("redis", offload_large_payloads=1000, retry=1, workers=1)
    big = project.enqueue(tasks.echo, "x" * 5000)
    other = project.start(offload_large_payloads=False)
    wait_until(lambda: project.broker().peek()[0].attempts >= 1, because="it should have been lent, and given back")
    other.stop()

    project.start()

    assert project.wait_for_row(big).success


def check_that_it_lives(project: Project) -> None:
    assert project.wait_for_row(project.enqueue(tasks.add, 1, 2)).result == 3
