"""The permissions of docs/how-to/admin.md are those that there are, and its group of operators may do what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import reverse

from django_cluster.control import PERMISSIONS
from django_cluster.models import OperatorCommand, Schedule, Task
from django_cluster.schedules import declarations
from tests.sample import tasks

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "admin.md").read_text()

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(client: Client) -> Client:
    """Somebody of the group that the page makes, logged in."""
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(example, {})
    person = User.objects.create_user("ada", is_staff=True)
    person.groups.add(Group.objects.get(name="operators"))
    client.force_login(person)
    return client


def test_the_table_of_permissions_is_that_of_the_code() -> None:
    table = [line.split("|")[1:-1] for line in PAGE.splitlines() if line.startswith("| `django_cluster.")]
    written = {
        code: set(re.findall(r"`(\w+)`", functions))
        for codes, _allows, functions in table
        for code in re.findall(r"`(django_cluster\.\w+)`", codes)
    }
    asked: dict[str, set[str]] = {}
    for function, code in PERMISSIONS.items():
        asked.setdefault(code, set()).add(function)
    ours = [*Task._meta.permissions, *Schedule._meta.permissions, *OperatorCommand._meta.permissions]
    named = {f"django_cluster.{code}" for code, _name in ours}
    known = set(Permission.objects.filter(content_type__app_label="django_cluster").values_list("codename", flat=True))

    assert {code.partition(".")[2] for code in written} <= known
    assert {code: functions for code, functions in written.items() if functions} == asked
    assert named <= set(written)


def test_the_group_has_all_of_its_permissions(operator: Client) -> None:
    assert Group.objects.get(name="operators").permissions.count() == 10


@pytest.mark.parametrize(("func", "saved"), [("tests.sample.tasks.add", False), ("tests.sample.tasks.nothing", True)])
def test_an_operator_schedules_registered_tasks_only(
    operator: Client, func: str, saved: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(declarations, "_tasks", set())
    declarations.register_task(tasks.nothing)
    form: dict[str, Any] = {"func": func, "schedule_type": "D", "repeats": -1, "enabled": "on"}

    operator.post(reverse("admin:django_cluster_schedule_add"), form)

    assert Schedule.objects.exists() is saved


@pytest.mark.parametrize("page", ["success", "failure", "schedule", "heartbeat"])
def test_an_operator_sees_what_the_group_is_for(operator: Client, page: str) -> None:
    assert operator.get(reverse(f"admin:django_cluster_{page}_changelist")).status_code == 200


def test_an_operator_sees_nothing_else(operator: Client) -> None:
    assert operator.get(reverse("admin:django_cluster_queuedtask_changelist")).status_code == 403
