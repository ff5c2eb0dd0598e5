"""``qmove``: from one broker into another, while everything else goes on."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_cluster.brokers import open_broker
from django_cluster.brokers.base import Broker
from django_cluster.brokers.messages import Message
from django_cluster.client.client import get_client
from django_cluster.conf import broker_section
from django_cluster.tasks import async_task
from tests.conftest import wait_until
from tests.e2e.conftest import MakeProject
from tests.e2e.project import Project
from tests.sample import tasks


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    """On Redis, with the database beside it."""
    return make_project("redis", retry=1, brokers={"rows": {"orm": "default"}})


@pytest.fixture
def here(project: Project) -> Broker:
    return get_client().broker


@pytest.fixture
def there(project: Project) -> Broker:
    return open_broker(broker_section("rows"))


def ids(broker: Broker) -> list[str]:
    codec = get_client().codec.for_queue(broker.queue)
    return [codec.loads(each.payload).id for each in broker.peek(100_000)]


def test_order_priority_delay_and_attempts_arrive(project: Project, here: Broker, there: Broker, capsys: Any) -> None:
    plain = [project.enqueue(tasks.nothing) for _ in range(3)]
    urgent = project.enqueue(tasks.nothing, q_options={"priority": 9})
    late = project.enqueue(tasks.nothing, q_options={"delay": 3600, "priority": 3})
    here.release(here.lease(1))

    call_command("qmove", "--from", "default", "--to", "rows")

    assert ids(there) == [urgent, *plain, late]
    seen = there.peek()
    assert [each.priority for each in seen] == [9, 0, 0, 0, 3]
    assert [each.attempts for each in seen] == [1, 0, 0, 0, 0]
    assert (seen[-1].due or 0) == pytest.approx(time.time() + 3600, abs=60)
    assert here.size().total == 0
    assert "5 tasks were moved; 0 are left" in capsys.readouterr().out


def test_a_dry_run_only_tells(project: Project, here: Broker, capsys: Any) -> None:
    project.enqueue(tasks.nothing)

    call_command("qmove", "--to", "rows", "--dry-run")

    assert "1 ready, 0 delayed" in capsys.readouterr().out
    assert here.size().ready == 1


def test_a_queue_may_get_another_name(project: Project, here: Broker) -> None:
    project.enqueue_many(tasks.nothing, [()] * 5)

    call_command("qmove", "--to-queue", "mail", "--limit", "3")

    assert (here.size().ready, get_client("mail").broker.size().ready) == (2, 3)


def test_what_makes_no_sense_is_told(project: Project) -> None:
    for arguments, words in (
        (["--to", "nowhere"], "no broker named 'nowhere'"),
        (["--to", "reddis://h"], "did you mean 'redis'"),
        (["--to", "default"], "Both ends are the same"),
        (["--to", "rows", "--limit", "0"], "at least 1"),
    ):
        with pytest.raises(CommandError, match=words):
            call_command("qmove", *arguments)


def test_a_move_under_running_clusters_loses_nothing_and_doubles_nothing(project: Project) -> None:
    project.start()
    project.start("--broker", "rows")
    for number in range(200):
        async_task(tasks.touch_and_sleep, str(project.trace), 0.01, str(number))

    call_command("qmove", "--to", "rows")

    project.wait_for_rows(200)
    assert sorted(project.traces(), key=int) == [str(number) for number in range(200)]


def test_a_move_that_is_killed_again_and_again_loses_nothing(project: Project, here: Broker, there: Broker) -> None:
    sent = [f"message {number}" for number in range(20_000)]
    for start in range(0, len(sent), 1000):
        here.enqueue([Message(payload) for payload in sent[start : start + 1000]])

    kills = 3
    for _ in range(kills):
        before = there.size().total
        mover = project.launch("-m", "django", "qmove", "--to", "rows")
        wait_until(lambda before=before: there.size().total > before, 30, "it should have begun")  # type: ignore[misc]
        mover.process.kill()
        mover.process.wait()
    wait_until(lambda: here.size().leased == 0, 10, "what the dead have borrowed comes back")
    call_command("qmove", "--to", "rows")

    arrived = [each.payload for each in there.peek(100_000)]
    assert set(arrived) == set(sent)
    assert len(arrived) - len(sent) <= kills * 500
    assert here.size().total == 0
