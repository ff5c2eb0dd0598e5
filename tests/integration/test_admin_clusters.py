"""The page of the clusters: what they said of themselves, and the two orders that can be given there."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from django_cluster import control
from django_cluster.core.task_progress import TaskProgress
from django_cluster.models import Heartbeat
from django_cluster.stores.cancel_requests import CancelRequestStore
from django_cluster.stores.operator_commands import OperatorCommandStore
from django_cluster.stores.status import ClusterStatus, ProcessStatus, RunningTask, StatusStore
from tests.integration.admin_client import page, person

pytestmark = pytest.mark.django_db

URL = "admin:django_cluster_heartbeat_changelist"


def publish(number: int = 1, **changes: Any) -> ClusterStatus:
    now = time.time()
    task = RunningTask(id="a" * 32, name="red-green", func="tests.sample.tasks.add", started=now - 50, limit=60.0)
    processes = (
        ProcessStatus(role="sentinel", pid=100, state="running"),
        ProcessStatus(
            role="worker", index=0, incarnation=3, pid=101, state="busy", rss=51_200, cpu=12.4, done=7, task=task
        ),
        ProcessStatus(role="worker", index=1, incarnation=4, pid=102, state="idle"),
    )
    fields: dict[str, Any] = {
        "id": f"cluster-{number}", "name": "shop", "queues": ("mail",), "host": "web1", "pid": 100 + number,
        "state": "running", "started_at": now - 3600, "published_at": now, "interval": 3.0, "broker": "orm",
        "versions": {"django_cluster": "0.1"}, "processes": processes,
    }  # fmt: skip
    status = ClusterStatus(**{**fields, **changes})
    StatusStore().publish(status)
    return status


def order(client: Client, text: str, **more: str) -> Any:
    return client.post(reverse(URL), {"order": text, **more}, follow=True)


def test_without_a_cluster_the_page_says_how_to_start_one(admin_client: Client) -> None:
    assert "manage.py qcluster" in page(admin_client, "heartbeat_changelist")


def test_a_cluster_shows_what_its_workers_run_for_how_long_and_in_how_much_memory(admin_client: Client) -> None:
    publish()

    text = page(admin_client, "heartbeat_changelist")

    for word in (
        "shop · web1 · 101",
        "worker 1",
        "red-green",
        "tests.sample.tasks.add",
        "50 s of 1 min 00 s",
        "50 MB",
        "12 %",
    ):
        assert word in text


def test_a_running_task_shows_how_far_it_is(admin_client: Client) -> None:
    said = TaskProgress(done=421, total=1000, message="uploading")
    task = RunningTask(id="a" * 32, name="n", func="a.b", started=time.time(), progress=said)
    publish(processes=(ProcessStatus(role="worker", index=0, incarnation=3, pid=101, state="busy", task=task),))

    text = page(admin_client, "heartbeat_changelist")

    assert '<progress max="1" value="0.421"></progress>' in text
    assert "42% uploading" in text


def test_a_cluster_that_fell_silent_is_pointed_out(admin_client: Client) -> None:
    publish()
    Heartbeat.objects.update(heartbeat_at=Heartbeat.objects.get().heartbeat_at - 60_000_000)

    text = page(admin_client, "heartbeat_changelist")

    assert "dc-bad" in text
    assert "lost 1 min ago" in text
    assert "restart_worker" not in text


def test_the_page_asks_the_same_few_questions_however_many_clusters_there_are(admin_client: Client) -> None:
    def questions() -> int:
        with CaptureQueriesContext(connection) as captured:
            page(admin_client, "heartbeat_changelist")
        return len(captured)

    publish()
    few = questions()
    for number in range(2, 12):
        publish(number)

    assert questions() == few <= 8


def test_a_queue_is_paused_after_a_question_and_resumed_without_one(admin_client: Client) -> None:
    publish()

    asked = order(admin_client, "pause mail").content.decode()
    before = control.paused()
    order(admin_client, "pause mail", confirmed="yes")
    during = control.paused()
    text = page(admin_client, "heartbeat_changelist")
    order(admin_client, "resume mail")

    assert "Pause the queue mail?" in asked
    assert before == []
    assert [(pause.queue, pause.by) for pause in during] == [("mail", "admin")]
    assert "The queue mail has been paused by admin" in text
    assert control.paused() == []


def test_a_worker_is_replaced_by_order(admin_client: Client) -> None:
    status = publish()

    order(admin_client, f"restart_worker {status.id} 3")

    assert OperatorCommandStore().pending(status.id, ()).restart == {3}


@pytest.mark.parametrize("target", ["cluster-1 99", "nobody 3", "cluster-1 x", ""])
def test_a_worker_that_is_gone_cannot_be_replaced(target: str, admin_client: Client) -> None:
    publish()

    assert "This worker no longer exists." in order(admin_client, f"restart_worker {target}").content.decode()


def test_a_running_task_is_cancelled_after_a_question(admin_client: Client) -> None:
    task = RunningTask(id="a" * 32, name="n", func="a.b", started=time.time())
    publish(processes=(ProcessStatus(role="worker", index=0, incarnation=3, pid=101, state="busy", task=task),))
    assert f'value="cancel {task.id}"' in page(admin_client, "heartbeat_changelist")

    asked = order(admin_client, f"cancel {task.id}").content.decode()
    before = CancelRequestStore().recent()
    done = order(admin_client, f"cancel {task.id}", confirmed="yes").content.decode()

    assert f"Cancel the task {task.id}?" in asked
    assert before == []
    assert [(request.target, request.by) for request in CancelRequestStore().recent()] == [(task.id, "admin")]
    assert "is told to stop" in done


@pytest.mark.parametrize(
    "text", ["pause mail", "resume mail", "restart_worker cluster-1 3", f"cancel {'a' * 32}", "nonsense", ""]
)
def test_who_may_only_look_gives_no_orders(text: str, client: Client) -> None:
    person(client, "view_heartbeat")
    publish()

    assert 'name="order"' not in page(client, "heartbeat_changelist")
    assert order(client, text, confirmed="yes").status_code == 403
    assert control.paused() == []


@pytest.mark.parametrize(
    ("permission", "text"), [("pause_queue", "pause mail"), ("restart_worker", "restart_worker cluster-1 3")]
)
def test_who_has_the_permission_gives_the_order(permission: str, text: str, client: Client) -> None:
    person(client, "view_heartbeat", permission)
    publish()

    assert text in page(client, "heartbeat_changelist")
    assert order(client, text, confirmed="yes").status_code == 200


def test_who_may_not_even_look_sees_nothing(client: Client) -> None:
    person(client)

    assert client.get(reverse(URL)).status_code == 403


def test_a_cluster_of_two_queues_says_that_one_of_them_is_paused(admin_client: Client) -> None:
    publish(queues=("mail", "default"), paused=("mail",))

    text = page(admin_client, "heartbeat_changelist")

    assert ">paused 1 of 2<" in text
    assert not re.search("<h2[^>]*>[^/]*running", text)
    assert "mail, default" in text


def test_the_page_leads_with_the_queues_and_folds_what_runs_no_tasks(admin_client: Client) -> None:
    publish()

    text = page(admin_client, "heartbeat_changelist")

    heading = re.sub("<[^>]+>", "", re.findall("<h2.*?</h2>", text, re.DOTALL)[-1])
    assert heading.startswith("mail shop · web1 · 101")
    assert text.index("worker 1") < text.index("1 other process") < text.rindex("sentinel")
    assert re.search(r"As of \d\d:\d\d:\d\d\.", text)
