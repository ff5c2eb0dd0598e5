"""Arguments, results and errors are shown without credentials, wherever that is, to those who may see them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client, override_settings
from django.urls import reverse
from django.views.debug import SafeExceptionReporterFilter

from django_cluster.core.messages import TaskHeader, TaskOptions, TaskPackage
from django_cluster.core.redaction import redactor
from django_cluster.dashboard.layout import detail_lines
from django_cluster.dashboard.text import plain
from django_cluster.management.monitoring import open_collector
from django_cluster.models import QueuedTask, Schedule, Task
from django_cluster.reporters.base import FailedRun
from django_cluster.tasks import async_chain, async_task
from tests.integration.admin_client import act, page, person
from tests.security.hostile_tasks import SECRET, failed, log_in, run, token_of

pytestmark = pytest.mark.django_db
LOG_IN = "tests.security.hostile_tasks.log_in"


class OwnFilter(SafeExceptionReporterFilter):
    """A project's own rule: nothing of Django's, and one name of its own."""

    hidden_settings: Any = None

    def cleanse_setting(self, key: Any, value: Any) -> Any:
        return self.cleansed_substitute if key == "colour" else value


# ── the admin ────────────────────────────────────────────────────────────────────────────────────


def test_the_page_of_a_failed_task_shows_no_credential(admin_client: Client) -> None:
    task = failed()
    assert SECRET in task.error_message
    assert SECRET in task.error_traceback

    text = page(admin_client, "failure_change", task.pk)

    assert SECRET not in text
    assert "'bob'" in text
    assert "'colour': 'green'" in text
    assert "'size': 3" in text
    assert "amqp://shop:********@rabbit:5672//" in text
    assert "redis://bob:********@db:1/0" in text


def test_lists_searches_and_the_result_show_no_credential(admin_client: Client) -> None:
    failed()
    task = run(token_of, "bob")

    assert SECRET not in page(admin_client, "failure_changelist")
    assert SECRET not in page(admin_client, "failure_changelist", q="error:redis")
    text = page(admin_client, "success_change", task.pk)
    assert SECRET not in text
    assert "'auth_token': '********'" in text
    assert "Card(holder='bob', secret_number='********')" in text


@pytest.mark.parametrize("length", range(70, 110, 3))
def test_a_list_shows_no_beginning_of_a_credential(admin_client: Client, length: int) -> None:
    task = failed()
    Task.objects.filter(pk=task.pk).update(error_message="x" * length + f" redis://:{SECRET}@h/0 refused")

    assert SECRET[:3] not in page(admin_client, "failure_changelist")


def test_a_queued_task_shows_neither_credentials_nor_its_message(admin_client: Client) -> None:
    async_task(log_in, "bob", SECRET, {"api_key": SECRET}, client_secret=SECRET)
    queued = QueuedTask.objects.get()

    text = page(admin_client, "queuedtask_change", queued.pk)

    assert SECRET not in text
    assert "'bob'" in text
    assert queued.payload[10:60] not in text


def test_an_earlier_attempt_and_the_error_of_a_schedule_show_no_credential(admin_client: Client) -> None:
    task = failed()
    attempt = {"number": 1, "status": "failure", "started": 1.0, "stopped": 2.0, "kind": "OSError", "worker": "w"}
    Task.objects.filter(pk=task.pk).update(
        attempts=[{**attempt, "message": f"token={SECRET}", "traceback": f"OSError: token='{SECRET}'"}]
    )
    row = Schedule.objects.create(func="operator.not_", last_error=f"bad token={SECRET}")

    assert SECRET not in page(admin_client, "failure_change", task.pk)
    assert SECRET not in page(admin_client, "schedule_change", row.pk)


# ── the permission ───────────────────────────────────────────────────────────────────────────────


def test_who_may_not_see_arguments_sees_the_function_and_that_they_are_hidden(client: Client) -> None:
    failure, success = failed(), run(token_of, "bob")
    async_task(log_in, "bob", SECRET)
    queued = QueuedTask.objects.get()
    person(client, "view_failure", "view_success", "view_queuedtask")

    for name, key in (("failure", failure.pk), ("success", success.pk), ("queuedtask", queued.pk)):
        text = page(client, f"{name}_change", key)
        assert "tests.security.hostile_tasks." in text
        assert "hidden" in text
        assert "'bob'" not in text
        assert SECRET not in text


def test_who_has_the_permission_sees_them(client: Client) -> None:
    task = failed()
    person(client, "view_failure", "view_task_arguments")

    text = page(client, "failure_change", task.pk)

    assert "'bob'" in text
    assert SECRET not in text


@pytest.mark.parametrize(
    ("name", "lookup"),
    [
        ("schedule", "kwargs__contains"),
        ("schedule", "args__icontains"),
        ("schedule", "seal__startswith"),
        ("failure", "error_message__contains"),
        ("failure", "error_traceback__regex"),
        ("failure", "payload__startswith"),
        ("success", "sealed_result__contains"),
        ("queuedtask", "payload__contains"),
    ],
)
def test_nobody_finds_arguments_out_by_the_address_of_a_list(client: Client, name: str, lookup: str) -> None:
    person(client, f"view_{name}")
    url = reverse(f"admin:django_cluster_{name}_changelist")

    assert client.get(url, {lookup: "h", "rows": "all"}).status_code == 400  # a suspicious operation


def test_arguments_of_a_schedule_are_hidden_and_stay_as_they_are(
    client: Client,
) -> None:
    row = Schedule.objects.create(func=LOG_IN, name="before", kwargs=f"user='bob', password='{SECRET}'")
    person(client, "view_schedule", "change_schedule", "schedule_any_function")

    text = page(client, "schedule_change", row.pk)
    form = {
        "func": LOG_IN,
        "name": "after",
        "schedule_type": "D",
        "repeats": -1,
        "enabled": "on",
        "kwargs": "user='eve'",
    }
    client.post(reverse("admin:django_cluster_schedule_change", args=(row.pk,)), form)

    assert "hidden" in text
    assert "bob" not in text
    assert SECRET not in text
    changed = Schedule.objects.get()
    assert changed.name == "after"
    assert changed.kwargs == row.kwargs


def test_who_may_see_and_not_change_a_schedule_sees_no_credential(client: Client) -> None:
    row = Schedule.objects.create(func=LOG_IN, args=f"'bob', '{SECRET}'", kwargs=f"colour='green', token='{SECRET}'")
    person(client, "view_schedule", "view_task_arguments")

    text = page(client, "schedule_change", row.pk)

    assert "bob" in text
    assert "green" in text
    assert SECRET not in text


# ── exports ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("action", ["export_csv", "export_jsonl"])
def test_an_export_holds_neither_credentials_nor_arguments(admin_client: Client, action: str) -> None:
    task = failed()

    written = act(admin_client, "failure", action, task.pk)

    assert SECRET not in written
    assert "'bob'" not in written
    assert "redis://bob:********@db:1/0" in written


def test_the_export_of_a_chains_link_counts_the_links_that_follow(admin_client: Client) -> None:
    async_chain([(log_in, ("bob", SECRET)), (log_in, ("eve", SECRET)), (log_in, ("ann", SECRET))])
    queued = QueuedTask.objects.get()
    task = failed()
    later = open_collector().read_label(queued.key, queued.payload).options.chain
    assert len(later) == 2
    Task.objects.filter(pk=task.pk).update(options={"chain": list(later), "priority": 3})

    (line,) = act(admin_client, "failure", "export_jsonl", task.pk).splitlines()
    text = page(admin_client, "failure_change", task.pk)

    assert json.loads(line)["options"] == {"chain": 2, "priority": 3}
    assert later[0][:60] not in line
    assert later[0][:60] not in text
    assert "'chain': 2" in text


# ── terminals, logs, services ────────────────────────────────────────────────────────────────────


def test_qmonitor_shows_no_credential(capsys: pytest.CaptureFixture[str]) -> None:
    task, success = failed(), run(token_of, "bob")
    Schedule.objects.create(func="operator.not_", last_error=f"bad token={SECRET}")
    collector = open_collector()

    call_command("qmonitor", once=True)
    call_command("qmonitor", json=True)
    details = [collector.detail(task.pk), collector.detail(success.pk)]

    shown = "\n".join([
        capsys.readouterr().out, *(plain(line) for detail in details for line in detail_lines(detail, 200))
    ])  # fmt: skip
    assert SECRET not in shown
    assert "redis://bob:********@db:1/0" in shown
    assert "('bob', '********', {'deep': [{'api_key': '********', 'size': 3}]" in shown
    assert "'auth_token': '********'" in shown


@pytest.mark.parametrize("command", ["qinfo", "qmonitor"])
def test_an_unreachable_server_is_named_without_its_password(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with override_settings(Q_CLUSTER={"name": "tests", "redis": f"redis://ann:{SECRET}@127.0.0.1:1/0"}):
        call_command(command, **({"once": True} if command == "qmonitor" else {}))

    printed = capsys.readouterr()
    assert SECRET not in printed.out + printed.err


def test_the_log_of_a_failure_shows_no_credential(caplog: pytest.LogCaptureFixture) -> None:
    from django_cluster.lifecycle.notification import log_failure
    from django_cluster.testing.outcomes import make_failure

    message = f"password='{SECRET}' is wrong for redis://:{SECRET}@h"
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logging.getLogger("django_cluster.tasks").addHandler(handler)
    try:
        log_failure(make_failure(failure=("OSError", message, "")))
    finally:
        logging.getLogger("django_cluster.tasks").removeHandler(handler)

    assert SECRET not in stream.getvalue()
    assert "redis://:********@h" in stream.getvalue()


def test_arguments_that_a_project_sends_to_a_service_go_without_credentials() -> None:
    header = TaskHeader(id="1" * 32, name="one", func=LOG_IN, enqueued_at=1.0, options=TaskOptions())
    package = TaskPackage(header=header, args=("bob", SECRET), kwargs={"api_key": SECRET, "colour": "green"})
    run = FailedRun(
        id="1", name="one", func=LOG_IN, group=None, queue="q", attempt=1, final=True, worker="w", kind="OSError",
        message="", package=package,
    )  # fmt: skip

    facts = run.facts(arguments=True)

    assert SECRET not in str(facts)
    assert facts["args"] == ["'bob'", "'********'"]
    assert facts["kwargs"] == {"api_key": "'********'", "colour": "'green'"}


# ── whose rules ──────────────────────────────────────────────────────────────────────────────────


def test_the_projects_own_filter_decides() -> None:
    with override_settings(DEFAULT_EXCEPTION_REPORTER_FILTER=f"{__name__}.OwnFilter"):
        assert redactor().kwargs({"colour": "green", "password": "shown"}) == {
            "colour": "********",
            "password": "shown",
        }


def test_masked_names_are_added(admin_client: Client) -> None:
    with override_settings(Q_CLUSTER={"name": "tests", "masked_names": ["colour"]}):
        text = page(admin_client, "failure_change", failed().pk)

    assert "green" not in text
    assert SECRET not in text


@pytest.mark.parametrize("look", [lambda: redactor().text(f"password={SECRET}")])
def test_settings_that_cannot_be_used_do_not_show_more(look: Callable[[], str]) -> None:
    with override_settings(Q_CLUSTER={"workers": "many"}, DEFAULT_EXCEPTION_REPORTER_FILTER="no.such.Filter"):
        assert look() == "password=********"
