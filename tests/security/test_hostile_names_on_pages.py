"""Names, errors and arguments that anybody may have chosen, on every page of the admin and with its real templates."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse
from django.utils.html import escape

from django_cluster.admin.export import FORMULA
from django_cluster.core.safe_text import printable_lines
from django_cluster.models import QueuedTask, Schedule, Task
from django_cluster.stores.operator_commands import OperatorCommandStore
from django_cluster.stores.status import RunningTask, StatusStore
from django_cluster.testing.outcomes import make_failure, make_outcome
from tests.integration.admin_client import act, message, queue_one, save
from tests.unit.stores.test_status import STATUS

pytestmark = pytest.mark.django_db

SCRIPT = "<script>alert(1)</script>"
BREAKOUT = "\"'><img src=x onerror=alert(1)>"
MARKS = "\u202egnp.exe\u2066\u200b\ufeff"
CONTROL = "a\x1b[2J\x07\x08\x9b31m"
HOSTILE = [SCRIPT, BREAKOUT, MARKS, CONTROL, "{{ 7*7 }}{% now 'Y' %}", "javascript:alert(1)", "line\nend\r\u2028x"]
UNSEEN = set("\x1b\x07\x08\x9b\u202e\u2066\u200b\ufeff\u2028")


def hostile_rows(text: str) -> dict[str, Any]:
    """A row of each kind in which every text is this one: model name → key."""
    attempt = {"number": text, "status": text, "worker": text, "kind": text, "message": text, "traceback": text}
    failure = make_failure(name=text, func=text, failure=(text, text, text), worker=text, options={"group": text})
    success = make_outcome(name=text, func=text, worker=text, options={"group": text, "hook": text})
    save(failure, success)
    Task.objects.update(
        queue=text, attempts=[{**attempt, "started": 1.0, "stopped": 2.0}], options={"broker": text}, payload=text
    )
    schedule = Schedule.objects.create(func="operator.not_", name=text[:100], args=repr(text), kwargs=f"x={text!r}")
    Schedule.objects.update(func=text, hook=text, queue=text, last_error=text, task=text)
    queued = queue_one(message(name=text, args=(text,), group=text, queue=text))
    QueuedTask.objects.update(queue=text)
    task = RunningTask(id="1" * 32, name=text, func=text, started=1.0, limit=None)
    worker = replace(STATUS.processes[-1], role=text, task=task, state=text)
    status = replace(STATUS, name=text, host=text, queues=(text,), processes=(worker,))
    StatusStore().publish(status)
    OperatorCommandStore().pause(text[:100], text[:100])
    return {
        "failure": failure.id, "success": success.id, "schedule": schedule.pk, "queuedtask": queued.pk,
        "heartbeat": status.id,
    }  # fmt: skip


def pages(client: Client, rows: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Every page that can be read: its address and its text."""
    for model, page in admin.site._registry.items():
        name = str(model._meta.model_name)
        if name not in rows:
            continue
        for pattern in page.get_urls():
            if pattern.name is None:
                continue
            takes_key = "object_id" in pattern.pattern.converters
            address = reverse(f"admin:{pattern.name}", args=(rows[name],) if takes_key else ())
            answer = client.get(address, follow=True)
            if "text/html" in answer["Content-Type"]:
                yield address, answer.content.decode()
    yield "/admin/", client.get("/admin/").content.decode()


@pytest.mark.parametrize("text", HOSTILE)
def test_no_page_runs_reverses_or_hides_what_a_name_says(admin_client: Client, text: str) -> None:
    rows = hostile_rows(text)
    seen = dict(pages(admin_client, rows))

    assert len(seen) > 12
    for address, html in seen.items():
        assert "<script>alert" not in html, address
        assert "<img src=x" not in html, address
        assert 'href="javascript:' not in html, address
        assert ">49" not in html, address
        edited = "/schedule/" in address and "/change/" in address
        assert edited or not UNSEEN & set(html), address
    lists = "".join(seen[reverse(f"admin:django_cluster_{name}_changelist")] for name in rows)
    assert lists.count(escape(printable_lines(text)[:6])) >= 5


@pytest.mark.parametrize("text", [SCRIPT, BREAKOUT, MARKS])
def test_questions_and_answers_of_actions_are_as_harmless(admin_client: Client, text: str) -> None:
    rows = hostile_rows(text)

    asked = [
        admin_client.post(
            reverse(f"admin:django_cluster_{name}_changelist"), {"action": action, "_selected_action": [rows[name]]}
        ).content.decode()
        for name, action in (("failure", "retry"), ("failure", "delete_selected"), ("queuedtask", "cancel"))
    ]
    said = [
        admin_client.post(
            reverse(f"admin:django_cluster_{name}_changelist"),
            {"action": action, "_selected_action": [rows[name]], "confirmed": "yes"},
            follow=True,
        ).content.decode()
        for name, action in (("failure", "retry"), ("schedule", "run_now"))
    ]

    for html in (*asked, *said):
        assert "<script>alert" not in html
        assert "<img src=x" not in html
        assert not UNSEEN & set(html)


@pytest.mark.parametrize("parameter", ["q", "queue", "e", "func", "group", "status", "p", "o", "rows"])
@pytest.mark.parametrize("name", ["failure", "queuedtask", "schedule", "heartbeat"])
def test_what_is_written_into_an_address_is_as_harmless(admin_client: Client, name: str, parameter: str) -> None:
    save(make_failure())
    queue_one()
    address = reverse(f"admin:django_cluster_{name}_changelist")

    for text in (SCRIPT, BREAKOUT, "\u202ex"):
        answer = admin_client.get(address, {parameter: text}, follow=True)
        html = answer.content.decode()
        assert answer.status_code in (200, 400)
        assert "<script>alert" not in html
        assert "<img src=x" not in html


def test_a_preview_answers_as_data(admin_client: Client) -> None:
    answer = admin_client.post(
        reverse("admin:django_cluster_schedule_preview"), {"schedule_type": "C", "cron": SCRIPT, "repeats": -1}
    )

    assert answer["Content-Type"] == "application/json"
    assert answer.json()["problem"]


# ── exports ──────────────────────────────────────────────────────────────────────────────────────

FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    " =1",
    "\u200b=1",
    "\x0b=1",
    "\u00a0=cmd|'/c calc'!A1",
    "\n=1",
    "＝1",  # noqa: RUF001  the wide one
]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_of_a_csv_file_is_a_formula(admin_client: Client, text: str) -> None:
    rows = hostile_rows(text)

    written = act(admin_client, "failure", "export_csv", rows["failure"])

    found = list(csv.reader(io.StringIO(written)))
    assert len(found) == 2
    for cell in found[1]:
        assert not cell.lstrip().startswith(FORMULA), cell


def test_a_line_of_an_export_is_one_line_to_every_reader(admin_client: Client) -> None:
    text = "a\nb\r\x85\u2028\u2029\x0b\x1c\u202ec"
    rows = hostile_rows(text)

    written = act(admin_client, "failure", "export_jsonl", rows["failure"])

    (line,) = written.splitlines()
    assert json.loads(line)["error_message"] == text
