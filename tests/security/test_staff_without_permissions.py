"""Each act of an operator has a permission: whoever has none can do nothing, by whatever page, action or address."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone

from django_cluster import control
from django_cluster.admin.base import ClusterAdmin
from django_cluster.models import OperatorCommand, QueuedTask, Rollup, Schedule, Task, TrackedTask
from django_cluster.stores.status import StatusStore
from django_cluster.testing.outcomes import make_failure, make_outcome
from tests.integration.admin_client import person, queue_one, save
from tests.unit.stores.test_status import STATUS

pytestmark = pytest.mark.django_db
OURS: dict[Any, Any] = {
    model: page for model, page in admin.site._registry.items() if model._meta.app_label == "django_cluster"
}
LOOKS = {"clusters": "view_heartbeat", "paused": "view_heartbeat"}
ANSWERS = {"confirmed": "yes", "index": "0", "select_across": "1"}


def test_the_pages_are_those_that_these_tests_know() -> None:
    names = {model._meta.model_name for model in OURS}

    assert names == {"success", "failure", "queuedtask", "schedule", "heartbeat", "trackedtask", "rollup"}
    assert all(isinstance(page, ClusterAdmin) for page in OURS.values())


@pytest.fixture
def rows() -> dict[str, Any]:
    """Something of each kind, for the pages to act upon: model name → key."""
    failure, success = make_failure(), make_outcome()
    save(failure, success)
    StatusStore().publish(STATUS)
    schedule = Schedule.objects.create(func="tests.sample.tasks.nothing", name="nightly")
    queued = queue_one()
    call = {"func": "tests.sample.tasks.nothing", "queue": "tests"}
    tracked = TrackedTask.objects.create(id="c" * 32, name="tracked", enqueued_at=timezone.now(), **call)
    rollup = Rollup.objects.create(id="d" * 32, step=60, start=1_800_000_000, status="success", runs=1, **call)
    return {
        "failure": failure.id,
        "success": success.id,
        "queuedtask": queued.pk,
        "schedule": schedule.pk,
        "heartbeat": STATUS.id,
        "trackedtask": tracked.pk,
        "rollup": rollup.pk,
    }


def state() -> tuple[Any, ...]:
    """All that an act could have changed."""
    return (
        list(Task.objects.order_by("pk").values_list("pk", "final", "retried_as", "attempt_count")),
        list(QueuedTask.objects.order_by("pk").values_list("pk", "payload", "leased")),
        list(Schedule.objects.order_by("pk").values_list("pk", "name", "enabled", "task", "next_run")),
        list(OperatorCommand.objects.values_list("verb", "target")),
        list(TrackedTask.objects.order_by("pk").values_list("pk", "status")),
        list(Rollup.objects.order_by("pk").values_list("pk", "runs")),
        LogEntry.objects.count(),
    )


def addresses(rows: dict[str, Any]) -> Iterator[str]:
    """Of every page of ours, Django's own among them."""
    for model, page in OURS.items():
        name = str(model._meta.model_name)
        for pattern in page.get_urls():
            if pattern.name is None:
                continue  # the redirection of old addresses
            takes_key = "object_id" in pattern.pattern.converters
            yield reverse(f"admin:{pattern.name}", args=(rows[name],) if takes_key else ())


def test_staff_without_a_permission_opens_no_page_and_does_nothing(client: Client, rows: dict[str, Any]) -> None:
    person(client)
    before = state()
    found = list(addresses(rows))

    for address in found:
        for answer in (client.get(address), client.post(address, {**ANSWERS, "order": "pause tests", "post": "yes"})):
            assert answer.status_code in (302, 403), address
            if answer.status_code == 302:  # to the list, which is refused as well
                assert answer["Location"].startswith("/admin/django_cluster/"), address

    assert len(found) > 25
    assert state() == before


def test_a_visitor_is_sent_to_the_login(client: Client, rows: dict[str, Any]) -> None:
    before = state()

    for address in addresses(rows):
        for answer in (client.get(address), client.post(address, ANSWERS)):
            assert answer.status_code == 302
            assert answer["Location"].startswith("/admin/login/")

    assert state() == before


ACTIONS = sorted(
    (str(model._meta.model_name), name)
    for model, page in OURS.items()
    for _func, name, _description in page._get_base_actions()
)


def test_every_action_is_known() -> None:
    ours = {name for _model, name in ACTIONS}

    assert ours >= {
        "retry",
        "delete_selected",
        "export_csv",
        "export_jsonl",
        "cancel",
        "run_now",
        "enable",
        "disable",
    }


@pytest.mark.parametrize(("model", "action"), ACTIONS)
def test_who_may_only_look_carries_out_no_action(client: Client, rows: dict[str, Any], model: str, action: str) -> None:
    person(client, f"view_{model}")
    before = state()
    address = reverse(f"admin:django_cluster_{model}_changelist")

    shown = client.get(address).content.decode()
    answer = client.post(address, {"action": action, "_selected_action": [rows[model]], **ANSWERS, "post": "yes"})

    assert f'value="{action}"' not in shown
    assert not answer.streaming
    assert state() == before


@pytest.mark.parametrize("order", ["pause tests", "resume tests", f"restart_worker {STATUS.id} 3", "nonsense"])
def test_who_may_only_see_the_clusters_gives_no_order(client: Client, rows: dict[str, Any], order: str) -> None:
    person(client, "view_heartbeat")
    before = state()

    answer = client.post(reverse("admin:django_cluster_heartbeat_changelist"), {"order": order, "confirmed": "yes"})

    assert answer.status_code == 403
    assert state() == before


def test_every_function_of_control_has_a_permission_that_exists() -> None:
    functions = {name for name in control.__all__ if inspect.isroutine(getattr(control, name))}
    codes = {f"django_cluster.{code}" for code in Permission.objects.values_list("codename", flat=True)}

    assert functions == set(control.PERMISSIONS)
    assert set(control.PERMISSIONS.values()) <= codes
    assert {name: control.PERMISSIONS[name].rpartition(".")[2] for name in LOOKS} == LOOKS


@pytest.mark.parametrize("name", sorted(control.PERMISSIONS))
def test_who_has_no_permission_lacks_that_of_each_function(name: str, client: Client) -> None:
    person(client)
    nobody = User.objects.get()

    assert not nobody.has_perm(control.PERMISSIONS[name])
    assert User(is_superuser=True, is_active=True).has_perm(control.PERMISSIONS[name])


def test_every_action_of_the_admin_asks_for_a_permission() -> None:
    request = RequestFactory().get("/")
    request.user = User.objects.create_user("nobody", is_staff=True)

    for page in OURS.values():
        for func, name, _description in page._get_base_actions():
            assert getattr(func, "allowed_permissions", ()), name
        assert page.get_actions(request) == {}
