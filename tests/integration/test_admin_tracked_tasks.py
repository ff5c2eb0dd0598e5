"""The admin page of tracked tasks: list, detail, permissions; every field is read-only."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from django_cluster.models import TrackedTask
from tests.integration.admin_client import page, person

pytestmark = pytest.mark.django_db

SECRET = "hidden-argument"


def made(letter: str, **changes: Any) -> TrackedTask:
    now = timezone.now() - timedelta(minutes=5)
    values: dict[str, Any] = {
        **{"name": f"name {letter}", "func": "shop.tasks.pay", "status": "failed", "queue": "mail"},
        **{
            "enqueued_at": now,
            "started_at": now,
            "finished_at": now,
            "worker_ids": ["one", "two"],
            "backend": "default",
        },
        **{"arguments": [[SECRET], {"password": "x"}], "return_value": [SECRET], "metadata": {"a": SECRET}},
        "errors": [["builtins.ValueError", f"Traceback: {SECRET}"]],
    }
    return TrackedTask.objects.create(id=letter * 32, **{**values, **changes})


def test_the_list_says_where_each_task_is(admin_client: Client) -> None:
    made("a")
    made("b", status="running", finished_at=None)

    shown = page(admin_client, "trackedtask_changelist")

    assert "name a" in shown
    assert ">failed<" in shown
    assert ">running<" in shown
    assert SECRET not in shown


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"status": "running"}, "name b"),
        ({"queue": "other"}, "name b"),
        ({"func": "shop.tasks.send"}, "name b"),
        ({"q": "b" * 32}, "name b"),
        ({"q": "name b"}, "name b"),
    ],
)
def test_the_list_can_be_narrowed(query: dict[str, str], found: str, admin_client: Client) -> None:
    made("a")
    made("b", status="running", queue="other", func="shop.tasks.send")

    shown = page(admin_client, "trackedtask_changelist", **query)

    assert found in shown
    assert "name a" not in shown


def test_the_page_of_a_task_shows_what_is_known(admin_client: Client) -> None:
    shown = page(admin_client, "trackedtask_change", made("a").pk)

    assert SECRET in shown
    assert "Traceback" in shown
    assert "'x'" not in shown  # a value with the name of a credential is masked
    assert "one" in shown


def test_who_may_not_see_arguments_sees_none(client: Client) -> None:
    row = made("a")

    shown = page(person(client, "view_trackedtask"), "trackedtask_change", row.pk)

    assert SECRET not in shown
    assert "builtins.ValueError" in shown
    refused = client.get(reverse("admin:django_cluster_trackedtask_changelist"), {"arguments__contains": SECRET})
    assert refused.status_code in (302, 400)


def test_nothing_is_added_or_changed_here(admin_client: Client) -> None:
    row = made("a")

    assert admin_client.get(reverse("admin:django_cluster_trackedtask_add")).status_code == 403
    url = reverse("admin:django_cluster_trackedtask_change", args=(row.pk,))
    assert admin_client.post(url, {"status": "success"}).status_code == 403
    row.refresh_from_db()
    assert row.status == "failed"


def test_a_row_that_was_changed_by_hand_breaks_no_page(admin_client: Client) -> None:
    row = made("a", status="odd", worker_ids=5, errors=[["one"], 7], arguments=7, func="")

    assert "odd" in page(admin_client, "trackedtask_changelist")
    assert page(admin_client, "trackedtask_change", row.pk)
