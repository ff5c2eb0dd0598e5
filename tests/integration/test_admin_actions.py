"""What may be done on the admin's pages of finished tasks, by whom, and what it leaves behind."""

from __future__ import annotations

import csv
import io
import json
import time
from typing import Any

import pytest
from django.contrib.admin.models import DELETION, LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from django_cluster import control
from django_cluster.admin import export
from django_cluster.client.client import get_client
from django_cluster.core.messages import Outcome, TaskHeader, TaskOptions, TaskPackage
from django_cluster.models import Failure, QueuedTask, Success, Task
from django_cluster.testing.drain import drain
from django_cluster.testing.outcomes import make_failure, make_outcome
from tests.fields import fields
from tests.integration.admin_client import act, message, page, person, queue_one, save

pytestmark = pytest.mark.django_db


def sent_options() -> list[TaskOptions]:
    codec = get_client().codec
    return [codec.loads(queued.payload).header.options for queued in QueuedTask.objects.order_by("pk")]


# ── running again ────────────────────────────────────────────────────────────────────────────────


def retry(client: Client, name: str, *ids: object) -> str:
    """Choose the action and answer its question."""
    return act(client, name, "retry", *ids, confirmed="yes")


def test_selected_tasks_can_be_run_again(admin_client: Client) -> None:
    failure, success = make_failure(pair=((1, 2), {})), make_outcome(pair=((1, 2), {}))
    save(failure, success)

    retry(admin_client, "failure", failure.id)
    text = retry(admin_client, "success", success.id)

    assert "1 task was retried." in text
    assert QueuedTask.objects.count() == 2
    assert Success.objects.count() == 1


def test_a_question_comes_first_and_says_what_would_run(admin_client: Client) -> None:
    save(*(outcomes := [make_failure(func="shop.charge") for _ in range(3)] + [make_failure(func="shop.mail")]))

    text = act(admin_client, "failure", "retry", *(outcome.id for outcome in outcomes))

    assert "Retry 4 tasks?" in text
    assert "shop.charge: 3" in text
    assert "shop.mail: 1" in text
    assert "will run again, with all their effects" in text
    assert not QueuedTask.objects.exists()


def test_the_old_row_stays_and_names_the_new_task(admin_client: Client) -> None:
    save(failure := make_failure())

    retry(admin_client, "failure", failure.id)
    again = retry(admin_client, "failure", failure.id)

    row = Failure.objects.get()
    codec = get_client().codec
    assert row.retried_as == codec.loads(QueuedTask.objects.get().payload).id
    assert "it was retried before" in again
    assert row.retried_as in page(admin_client, "failure_change", failure.id)
    assert "retried" in page(admin_client, "failure_changelist")
    save(make_outcome(id=row.retried_as))
    link = reverse("admin:django_cluster_success_change", args=(row.retried_as,))
    assert link in page(admin_client, "failure_change", failure.id)


def test_a_hundred_tasks_are_few_statements(admin_client: Client) -> None:
    save(*(make_failure() for _ in range(100)))

    with CaptureQueriesContext(connection) as captured:
        text = retry(admin_client, "failure", *Task.objects.values_list("pk", flat=True))

    assert "100 tasks were retried." in text
    assert QueuedTask.objects.count() == 100
    assert len(captured) < 60  # the page that follows included


def test_many_tasks_are_sent_again_in_the_background(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_cluster.admin.finished_task_actions.MAX_SENT_IN_REQUEST", 3)
    save(*(make_failure() for _ in range(5)))

    text = retry(admin_client, "failure", *Task.objects.values_list("pk", flat=True))

    assert "5 tasks will be retried by the next free worker." in text
    assert QueuedTask.objects.count() == 1
    drain(raise_errors=False)
    assert Failure.objects.exclude(retried_as=None).count() == 5
    assert Success.objects.get(func__contains="retry_in_background").result["sent"] == 5
    assert Task.objects.count() == 5 + 1 + 5


def test_a_task_that_is_run_again_keeps_its_options(admin_client: Client) -> None:
    failure = make_failure(options={"group": "primes", "timeout": 7, "priority": 3, "retry_on": ["OSError"]})
    save(failure)

    retry(admin_client, "failure", failure.id)

    (options,) = sent_options()
    assert fields(options, "group", "timeout", "priority", "retry_on") == {
        "group": "primes",
        "timeout": 7,
        "priority": 3,
        "retry_on": ("OSError",),
    }


def signed(task_id: str, **options: Any) -> str:
    """A message of ours."""
    header = TaskHeader(
        id=task_id, name="x", func="tests.sample.tasks.nothing", enqueued_at=1.0, options=TaskOptions(**options)
    )
    return get_client().codec.dumps(TaskPackage(header=header))


def park(failure: Outcome, **changes: Any) -> QueuedTask:
    """The retry of a failed task, as it waits in the queue."""
    due = int((time.time() + 3600) * 1_000_000)
    values = {"lane": QueuedTask.NOT_READY_LANE, "due": due, "attempts": 1, **changes}
    return queue_one(signed(failure.id), **values)


def test_a_task_whose_retry_waits_is_run_now_instead(admin_client: Client) -> None:
    save(failure := make_failure(final=False))
    waiting = park(failure)

    assert "1 task was retried." in retry(admin_client, "failure", failure.id)

    assert QueuedTask.objects.get().pk != waiting.pk
    assert Failure.objects.get().final


def test_a_task_that_is_just_being_tried_again_is_left_alone(admin_client: Client) -> None:
    save(failure := make_failure(final=False))
    park(failure, leased=True)

    text = retry(admin_client, "failure", failure.id)

    assert "This task is being tried again at this moment" in text
    assert QueuedTask.objects.count() == 1
    assert not Failure.objects.get().final


def test_a_task_whose_retry_may_be_too_deep_in_the_queue_is_left_alone(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_cluster.client.retries.SEARCH_DEPTH", 3)
    save(failure := make_failure(final=False))
    for _ in range(3):
        queue_one(signed("0" * 32))
    park(failure)

    assert "behind 3 others in its queue" in retry(admin_client, "failure", failure.id)

    assert QueuedTask.objects.count() == 4


def test_a_task_whose_retry_was_lost_can_be_run_again(admin_client: Client) -> None:
    save(failure := make_failure(final=False))

    assert "1 task was retried." in retry(admin_client, "failure", failure.id)

    assert QueuedTask.objects.count() == 1
    assert Failure.objects.get().final


def test_a_failure_whose_retry_is_withdrawn_is_final_and_says_so(admin_client: Client) -> None:
    save(failure := make_failure(final=False), other := make_failure(final=False))
    park(failure)
    park(other)

    act(admin_client, "queuedtask", "cancel", QueuedTask.objects.order_by("pk")[0].pk, confirmed="yes")

    assert {row.pk: row.final for row in Failure.objects.all()} == {failure.id: True, other.id: False}
    assert Failure.objects.get(pk=failure.id).error_message == "Cancelled by admin."
    control.purge()
    assert Failure.objects.get(pk=other.id).final


def test_a_task_with_unreadable_arguments_is_not_run_again(admin_client: Client) -> None:
    failure = make_failure(arguments=b"Pgarbage")
    save(failure)

    retry(admin_client, "failure", failure.id)

    assert not QueuedTask.objects.exists()
    assert Failure.objects.count() == 1


def test_what_was_put_aside_goes_back_to_its_queue_as_it_came(admin_client: Client) -> None:
    dead = make_failure(status="dead", payload=message())
    save(dead)

    retry(admin_client, "failure", dead.id)

    assert QueuedTask.objects.get().payload == dead.payload
    assert Failure.objects.get().attempt_count == 0


def test_in_sync_mode_a_task_that_fails_again_breaks_no_page(admin_client: Client, settings: Any) -> None:
    settings.Q_CLUSTER = {"name": "tests", "sync": True}
    failure = make_failure(func="tests.sample.tasks.fail")
    save(failure)

    assert "no luck" in retry(admin_client, "failure", failure.id)
    assert Failure.objects.filter(pk=failure.id).exists()


def test_one_action_runs_only_so_many_tasks_again(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_cluster.admin.finished_task_actions.MAX_ROWS_PER_ACTION", 3)
    save(*(make_outcome() for _ in range(5)))

    text = retry(admin_client, "success", *Task.objects.values_list("pk", flat=True))

    assert "3 tasks were retried." in text
    assert "the rest was skipped" in text
    assert QueuedTask.objects.count() == 3


def test_the_page_of_a_task_has_a_button_that_asks_first(admin_client: Client) -> None:
    failure = make_failure()
    save(failure)
    url = reverse("admin:django_cluster_failure_retry", args=(failure.id,))

    assert url in page(admin_client, "failure_change", failure.id)
    assert "Retry this task?" in page(admin_client, "failure_retry", failure.id)
    assert not QueuedTask.objects.exists()
    assert "1 task was retried." in admin_client.post(url, {"confirmed": "yes"}, follow=True).content.decode()
    assert QueuedTask.objects.count() == 1


# ── deleting ─────────────────────────────────────────────────────────────────────────────────────


def test_tasks_are_deleted_after_a_question(admin_client: Client) -> None:
    save(outcome := make_outcome(name="useless"), make_outcome(name="useful"))

    asked = act(admin_client, "success", "delete_selected", outcome.id)
    before = Task.objects.count()
    done = act(admin_client, "success", "delete_selected", outcome.id, confirmed="yes")

    assert "Delete 1 task?" in asked
    assert "useless" in asked
    assert before == 2
    assert "1 task was deleted." in done
    assert Task.objects.get().name == "useful"
    assert LogEntry.objects.get().action_flag == DELETION


def test_to_delete_reads_no_sealed_bytes(admin_client: Client) -> None:
    save(outcome := make_outcome(arguments=b"Pgarbage", result=b"Pgarbage"))

    with CaptureQueriesContext(connection) as captured:
        act(admin_client, "success", "delete_selected", outcome.id)
        act(admin_client, "success", "delete_selected", outcome.id, confirmed="yes")

    assert not any("sealed" in query["sql"] for query in captured)
    assert not Task.objects.exists()


# ── exporting ────────────────────────────────────────────────────────────────────────────────────


def test_tasks_are_exported_as_csv(admin_client: Client) -> None:
    save(first := make_failure(failure=("ValueError", "no\ngood, really", "")))

    rows = list(csv.DictReader(io.StringIO(act(admin_client, "failure", "export_csv", first.id))))

    assert [row["id"] for row in rows] == [first.id]
    assert rows[0]["error_message"] == "no\ngood, really"
    assert rows[0]["stopped_at"].startswith("20")


def test_tasks_are_exported_as_json_lines(admin_client: Client) -> None:
    save(one := make_failure(options={"timeout": 3}), two := make_failure())

    lines = act(admin_client, "failure", "export_jsonl", one.id, two.id).splitlines()

    exported = {each["id"]: each for each in map(json.loads, lines)}
    assert set(exported) == {one.id, two.id}
    assert exported[one.id]["options"] == {"timeout": 3}


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "  =cmd|' /C calc'!A0", "＝1"])  # noqa: RUF001
def test_no_exported_text_is_a_formula(text: str, admin_client: Client) -> None:
    save(failure := make_failure(failure=("ValueError", text, "")))

    (row,) = csv.DictReader(io.StringIO(act(admin_client, "failure", "export_csv", failure.id)))

    assert row["error_message"] == f"'{text}"


def test_an_export_has_every_row_once_and_holds_only_a_portion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "PORTION", 3)
    outcomes = [make_outcome(stopped_at=1_700_000_000.0 + number // 4) for number in range(20)]
    save(*outcomes)

    with CaptureQueriesContext(connection) as captured:
        exported = [row[0] for row in export.rows_in_portions(Success.objects.all(), ["id"])]

    assert sorted(exported) == sorted(outcome.id for outcome in outcomes)
    assert all("LIMIT 3" in query["sql"] for query in captured)


def test_an_export_under_an_asynchronous_server_is_not_collected_first(async_client: Any, admin_user: Any) -> None:
    from asgiref.sync import async_to_sync

    save(one := make_outcome(), two := make_outcome())

    async def download() -> str:
        await async_client.aforce_login(admin_user)
        form = {"action": "export_jsonl", "_selected_action": [one.id, two.id]}
        response = await async_client.post(reverse("admin:django_cluster_success_changelist"), form)
        assert response.is_async
        return "".join([part.decode() async for part in response])

    assert len(async_to_sync(download)().splitlines()) == 2


# ── withdrawing ──────────────────────────────────────────────────────────────────────────────────


def test_what_waits_is_withdrawn_after_a_question(admin_client: Client) -> None:
    queued, other = queue_one(), queue_one()

    asked = act(admin_client, "queuedtask", "cancel", queued.pk)
    before = QueuedTask.objects.count()
    done = act(admin_client, "queuedtask", "cancel", queued.pk, confirmed="yes")

    assert "Cancel 1 task, so that it never runs?" in asked
    assert before == 2
    assert "1 task was cancelled." in done
    assert QueuedTask.objects.get() == other


def test_what_runs_is_not_withdrawn(admin_client: Client) -> None:
    queued = queue_one(leased=True, lane=QueuedTask.NOT_READY_LANE, due=4_000_000_000_000_000)

    done = act(admin_client, "queuedtask", "cancel", queued.pk, confirmed="yes")

    assert "The others were already running or finished." in done
    assert QueuedTask.objects.count() == 1


# ── who may ──────────────────────────────────────────────────────────────────────────────────────

ACTS = {
    "retry": ("failure", "view_failure", "retry_task"),
    "delete_selected": ("failure", "view_failure", "delete_failure"),
    "export_csv": ("failure", "view_failure", "export_task"),
    "export_jsonl": ("failure", "view_failure", "export_task"),
    "cancel": ("queuedtask", "view_queuedtask", "cancel_task"),
}


def offered(action: str) -> str:
    """What a page holds that offers this act: a button on the page of queues, an entry of the list's menu elsewhere."""
    return "Cancel the selected tasks" if action == "cancel" else f'value="{action}"'


@pytest.mark.parametrize("action", ACTS)
def test_who_may_only_look_may_not_act(action: str, client: Client) -> None:
    name, view, _ = ACTS[action]
    person(client, view)
    save(failure := make_failure())
    row = queue_one()

    assert offered(action) not in page(client, f"{name}_changelist")
    act(client, name, action, failure.id if name == "failure" else row.pk, confirmed="yes")

    assert Failure.objects.count() == 1
    assert QueuedTask.objects.count() == 1


@pytest.mark.parametrize("action", ACTS)
def test_who_has_the_permission_of_an_act_may(action: str, client: Client) -> None:
    name, view, permission = ACTS[action]
    person(client, view, permission)
    save(make_failure())
    queue_one()

    assert offered(action) in page(client, f"{name}_changelist")


def test_who_may_not_run_again_sees_no_button_and_opens_no_page(client: Client) -> None:
    person(client, "view_failure")
    save(failure := make_failure())

    assert "Retry" not in page(client, "failure_change", failure.id)
    url = reverse("admin:django_cluster_failure_retry", args=(failure.id,))
    assert client.post(url, {"confirmed": "yes"}).status_code == 403
    assert not QueuedTask.objects.exists()


def test_no_page_can_be_opened_without_a_permission(client: Client) -> None:
    person(client)

    for name in ("success", "failure", "schedule", "queuedtask"):
        assert client.get(reverse(f"admin:django_cluster_{name}_changelist")).status_code == 403
