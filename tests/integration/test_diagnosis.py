"""``qinfo --why`` finds what there is: rows, messages, heartbeats, pauses and schedules."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.test import override_settings
from django.utils import timezone

from django_cluster import async_task, control
from django_cluster.models import Schedule, Task
from django_cluster.stores.status import ProcessStatus, RunningTask, StatusStore
from tests.unit.stores.test_status import STATUS

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def shop() -> Iterator[None]:
    with override_settings(Q_CLUSTER={"name": "shop", "orm": "default", "ALT_CLUSTERS": {"slow": {}}}):
        yield


class Asked:
    """What the command has said, as a program reads it."""

    def __init__(self, capsys: pytest.CaptureFixture[str], target: str) -> None:
        self.exit_code: Any = 0
        try:
            call_command("qinfo", why=target, json=True)
        except SystemExit as end:
            self.exit_code = end.code
        self.document = json.loads(capsys.readouterr().out)
        self.codes = [reason["code"] for reason in self.document["reasons"]]


@pytest.fixture
def why(capsys: pytest.CaptureFixture[str]) -> Any:
    return lambda target: Asked(capsys, target)


def publish(*processes: ProcessStatus, **changes: Any) -> None:
    StatusStore().publish(replace(STATUS, name="shop", state="running", processes=processes, **changes))


IDLE = ProcessStatus(role="worker", pid=12, state="idle")


def test_a_waiting_task_is_found_by_its_id_and_by_its_name(why: Any) -> None:
    task_id = async_task("math.sqrt", 4, task_name="my task")

    for target in (task_id, "my task"):
        asked = why(target)
        assert (asked.codes, asked.exit_code) == (["no_cluster"], 4)


def test_a_cluster_that_is_idle_is_about_to_take_it(why: Any) -> None:
    task_id = async_task("math.sqrt", 4)
    publish(IDLE, queues=("shop",))

    assert why(task_id).codes == ["next"]
    assert why("shop").codes == ["flows"]


def test_a_delayed_task_and_a_paused_queue(why: Any) -> None:
    async_task("math.sqrt", 4, q_options={"task_name": "later", "delay": 600})
    publish(IDLE, queues=("shop",))
    assert (why("later").codes, why("later").exit_code) == (["delayed"], 3)

    control.pause("shop", by="ann")

    assert (why("later").codes, why("later").exit_code) == (["paused", "delayed"], 4)


def test_a_paused_function(why: Any) -> None:
    task_id = async_task("math.sqrt", 4)
    publish(IDLE, queues=("shop",))
    control.pause_task("math.sqrt", by="ann")

    asked = why(task_id)

    assert (asked.codes[0], asked.exit_code) == ("task_paused", 4)
    assert "by ann" in asked.document["reasons"][0]["sentence"]
    control.resume_task("math.sqrt")
    assert why(task_id).codes == ["next"]


def test_a_misspelt_queue_is_named_with_the_one_that_was_meant(why: Any) -> None:
    task_id = async_task("math.sqrt", 4, queue="slwo")

    asked = why(task_id)

    assert asked.codes == ["unknown_queue"]
    assert "'slow'" in asked.document["reasons"][0]["advice"]
    assert why("slwo").codes == ["unknown_queue"]
    assert (why("no such thing").codes[0], why("no such thing").exit_code) == ("unknown_target", 5)


def test_a_running_task_is_found_in_the_heartbeat(why: Any) -> None:
    running = RunningTask(id="f" * 32, name="mine", func="shop.sell", started=0.0)
    publish(ProcessStatus(role="worker", pid=12, state="busy", task=running), queues=("shop",))

    assert (why("f" * 32).codes, why("f" * 32).exit_code) == (["running"], 0)


@pytest.mark.parametrize(
    ("fields", "code", "exit_code"),
    [
        ({"status": "success", "success": True}, "succeeded", 0),
        ({"status": "failure", "success": False}, "failed", 4),
        ({"status": "failure", "success": False, "final": False}, "message_gone", 4),
    ],
)
def test_a_task_that_has_run_is_found_by_its_row(why: Any, fields: dict[str, Any], code: str, exit_code: int) -> None:
    now = timezone.now()
    moments = {"enqueued_at": now, "started_at": now, "stopped_at": now}
    Task.objects.create(id="e" * 32, name="done", func="shop.sell", **moments, **fields)

    for target in ("e" * 32, "done"):
        assert (why(target).codes[0], why(target).exit_code) == (code, exit_code)


def test_an_unknown_task_says_what_may_have_become_of_it(why: Any) -> None:
    asked = why("0" * 32)

    assert (asked.codes, asked.exit_code) == (["not_found"], 5)
    assert "'shop', 'slow'" in asked.document["reasons"][0]["sentence"]


def test_a_schedule_is_found_by_its_name_and_at_its_queue(why: Any) -> None:
    due = timezone.now() - timedelta(minutes=10)
    Schedule.objects.create(name="nightly", func="shop.sell", schedule_type="D", next_run=due)
    publish(IDLE, queues=("shop",))

    assert (why("nightly").codes[0], why("nightly").exit_code) == ("no_scheduler", 4)
    assert why("shop").codes == ["empty", "no_scheduler"]


def test_messages_of_another_key_are_counted(why: Any) -> None:
    with override_settings(SECRET_KEY="another"):
        async_task("math.sqrt", 4)

    assert "unreadable" in why("shop").codes


def test_a_broker_that_is_away_is_the_reason(why: Any) -> None:
    with override_settings(Q_CLUSTER={"name": "shop", "redis": "redis://127.0.0.1:1/0"}):
        asked = why("shop")

    assert asked.codes[0] == "broker_away"
    assert asked.exit_code == 4
    assert asked.document["unseen"]


def test_people_get_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        call_command("qinfo", why="shop")

    assert capsys.readouterr().out.splitlines()[:2] == [
        "blocked  No cluster works on queue 'shop'.",
        "         Start one: manage.py qcluster -n shop",
    ]


@pytest.mark.parametrize("names", [["*"], ["shop,slow"], ["shop", "slow"], ["s*"], "slow"])
def test_the_screens_read_names_as_qcluster_does(names: Any, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("qmonitor", name=names, json=True)

    queues = [queue["name"] for queue in json.loads(capsys.readouterr().out)["queues"]]
    assert queues == (["slow"] if names == "slow" else ["shop", "slow"])


def test_a_schedule_that_has_run_as_often_as_it_was_to_is_neither_due_nor_late(why: Any) -> None:
    past = timezone.now() - timedelta(hours=3)
    Schedule.objects.create(name="twice", func="math.sqrt", schedule_type=Schedule.DAILY, repeats=0)
    Schedule.objects.filter(name="twice").update(next_run=past)
    publish(IDLE, ProcessStatus(role="scheduler", pid=13, state="idle"), queues=("shop",))

    assert (why("twice").codes, why("twice").exit_code) == (["no_next_run"], 4)
    assert why("shop").codes == ["empty"]


def test_an_empty_text_is_asked_for_and_is_no_question_for_figures(why: Any) -> None:
    assert why("").exit_code == 5
