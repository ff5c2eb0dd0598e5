"""Model instances travel as references where arguments are JSON, and are fetched when the task runs."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.utils.translation import gettext_lazy

from django_cluster import async_task, fetch, result
from django_cluster.brokers import memory
from django_cluster.errors import NotSerializable
from django_cluster.models.json_references import ModelReference
from django_cluster.testing.drain import drain

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def json_arguments(settings: Any) -> None:
    settings.Q_CLUSTER = {
        "name": "tests",
        "broker": "memory",
        "serializer": "json",
        "on_commit": False,
        "max_attempts": 1,
    }
    memory.reset()


def name_of(group: Group) -> str:
    assert isinstance(group, Group)
    return group.name


def echo(value: Any) -> Any:
    return value


def test_the_task_gets_the_row_as_it_is_when_it_runs() -> None:
    group = Group.objects.create(name="before")
    task_id = async_task(name_of, group)
    Group.objects.update(name="after")

    drain()

    assert result(task_id) == "after"


def test_a_row_that_is_gone_is_a_rejected_task_that_names_it() -> None:
    group = Group.objects.create(name="short-lived")
    task_id = async_task(name_of, group)
    pk = group.pk
    group.delete()

    drain(raise_errors=False)

    row = fetch(task_id)
    assert row is not None
    assert (row.status, row.error_kind) == ("rejected", "django_cluster.errors.InstanceMissing")
    assert f"auth.Group with the primary key {pk} is gone" in row.error_message


def test_the_row_of_the_task_shows_the_reference_and_can_be_sent_again() -> None:
    group = Group.objects.create(name="x")
    task_id = async_task(name_of, group)
    drain()

    row = fetch(task_id)
    assert row is not None
    assert row.args == (ModelReference("auth.Group", group.pk, "default"),)
    again = async_task(row.func, *row.args)
    drain()
    assert result(again) == "x"


def test_an_instance_may_stand_anywhere_and_be_returned() -> None:
    group = Group.objects.create(name="x")
    task_id = async_task(echo, {"groups": [group, (group,)]})

    drain()

    assert result(task_id) == {"groups": [group, (group,)]}


def test_an_instance_that_is_not_saved_is_refused() -> None:
    with pytest.raises(NotSerializable, match=r"argument 1 is an instance of auth\.Group that is not saved"):
        async_task(name_of, Group(name="new"))


def test_a_lazy_text_is_a_text() -> None:
    task_id = async_task(echo, gettext_lazy("task"))

    drain()

    assert result(task_id) == "task"
