"""Undecodable messages: rejected or left to their owner, while others are processed."""

from __future__ import annotations

import re

from django_cluster.brokers.messages import Message
from django_cluster.core.codec import Codec
from django_cluster.core.messages import TaskHeader, TaskPackage
from django_cluster.core.settings import SigningSettings
from django_cluster.models import Task
from tests.conftest import wait_until
from tests.e2e.brokers import on_every_broker, on_every_broker_always
from tests.e2e.conftest import MakeProject
from tests.e2e.running_cluster import RunningCluster

GARBAGE = ["", "no package", "1p:::", "a:b:c", "\x00\x01", "1p:" + "A" * 10_000 + ":AAAA"]


@on_every_broker_always
def test_garbage_is_put_aside_and_the_rest_flows(make_project: MakeProject, broker: str) -> None:
    project = make_project(broker, retry=1)
    project.broker().enqueue([Message(text) for text in GARBAGE if "\x00" not in text])
    ids = project.enqueue_many("tests.sample.tasks.add", [(1, 1)] * 20)

    cluster = project.start()

    assert all(project.wait_for_row(task_id).success for task_id in ids)
    wait_until(lambda: project.broker().size().total == 0, because="all garbage should have been rejected")
    aside = list(Task.objects.exclude(id__in=ids))
    assert {row.status for row in aside} == {"rejected"}
    assert {row.payload for row in aside} == {text for text in GARBAGE if "\x00" not in text}
    assert cluster.logs.count("Undecodable message rejected") == len(aside)


def foreign_message(name: str) -> Message:
    """A real package, signed with another key."""
    header = TaskHeader(id="f" * 32, name="foreign", func="tests.sample.tasks.nothing", enqueued_at=0.0)
    return Message(Codec(SigningSettings(secret="another key", salt=name)).dumps(TaskPackage(header=header)))


@on_every_broker
def test_a_message_with_a_foreign_signature_is_given_time_and_then_put_aside(
    make_project: MakeProject, broker: str
) -> None:
    project = make_project(broker, retry=0.5)
    project.broker().enqueue([foreign_message(project.name)])
    ids = project.enqueue_many("tests.sample.tasks.add", [(1, 1)] * 20)

    cluster = project.start()

    assert all(project.wait_for_row(task_id).success for task_id in ids)
    project.wait_for_rows(21)
    (row,) = Task.objects.exclude(id__in=ids)
    assert (row.status, row.attempt_count) == ("rejected", 3)
    assert cluster.logs.count("Undecodable message rejected") == 1
    wait_until(lambda: project.broker().size().total == 0, 5, "it should have left the queue")


def given_back_by(cluster: RunningCluster) -> int:
    """Not every broker can tell what waits from what is lent; the cluster itself says what it gives back."""
    return sum(map(int, re.findall(r"Returned (\d+) undecodable", cluster.logs)))


@on_every_broker
def test_a_cluster_with_the_wrong_key_does_not_destroy_at_first_sight(make_project: MakeProject, broker: str) -> None:
    project = make_project(broker, retry=4)
    wrong = {"DJANGO_SETTINGS_MODULE": "tests.e2e.other_settings", "TEST_SECRET_KEY": "the key of somebody else"}
    stranger = project.start(environment=wrong)
    ids = project.enqueue_many("tests.sample.tasks.add", [(1, 1)] * 20)
    wait_until(lambda: given_back_by(stranger) >= 20, because="the stranger should have given all back")
    assert project.count() == 0

    stranger.stop()
    project.start()

    rows = project.wait_for_rows(20)
    assert {row.id for row in rows if row.success} == set(ids)
