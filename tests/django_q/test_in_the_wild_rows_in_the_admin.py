"""Pages of the admin, and serializers, that projects on Django-Q derive from its own."""

# The classes of a project name other columns than ours, whose tuples mypy takes for the type of the attribute.
# mypy: disable-error-code="assignment"

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.sites import AdminSite
from django.contrib.auth.models import User
from django.test import RequestFactory
from django.urls import path
from django.utils import timezone

from django_cluster import models
from django_cluster.admin import FailureAdmin, QueuedTaskAdmin, ScheduleAdmin, SuccessAdmin
from django_cluster.tasks import async_task, schedule
from django_cluster.testing.drain import drain
from tests.sample.tasks import add, fail

pytestmark = pytest.mark.django_db


@admin.action(description="Count them")
def count(page: Any, request: Any, rows: Any) -> None:
    """Do nothing."""


class OwnTaskAdmin(SuccessAdmin):
    list_display = ("name", "func", "started", "stopped", "time_taken", "cluster")
    list_filter = ("started", "func")
    ordering = ("-stopped",)
    search_fields = ("name", "func", "group")
    date_hierarchy = "stopped"
    fields = ("name", "func", "started", "stopped", "success", "result", "args", "kwargs")
    actions = [*SuccessAdmin.actions, count]


class OwnFailureAdmin(FailureAdmin):
    list_display = ("name", "started", "short_result")
    actions = FailureAdmin.actions + [count]  # noqa: RUF005  as it is written


class OwnScheduleAdmin(ScheduleAdmin):
    list_display = ("id", "name", "func", "cluster", "next_run", "get_last_run", "get_success")
    list_filter = ("next_run", "cluster")
    fields = ("name", "func", "args", "kwargs", "schedule_type", "next_run", "repeats", "cluster")


class OwnQueueAdmin(QueuedTaskAdmin):
    list_display = ("id", "key", "lock", "task_id", "name", "func", "group")
    list_filter = ("key",)


SITE = AdminSite(name="own")
PAGES: dict[str, Any] = {
    "success": (models.Success, OwnTaskAdmin),
    "failure": (models.Failure, OwnFailureAdmin),
    "schedule": (models.Schedule, OwnScheduleAdmin),
    "queue": (models.QueuedTask, OwnQueueAdmin),
}
for _model, _page in PAGES.values():
    SITE.register(_model, _page)
urlpatterns = [path("own/", SITE.urls), path("admin/", admin.site.urls)]


def request(address: str = "/", **data: Any) -> Any:
    found: Any = RequestFactory().post(address, data) if data else RequestFactory().get(address)
    found.user = User(username="root", is_superuser=True, is_staff=True, is_active=True, pk=1)
    found._messages = []
    return found


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.urls(__name__)
def test_a_page_that_is_derived_and_names_djangos_q_columns(name: str) -> None:
    schedule("math.sqrt", 4, name="root", cluster="mail", next_run=timezone.now())
    async_task(add, 1, 2)
    async_task(fail)
    drain(raise_errors=False)
    async_task(add, 1, 2)
    page = SITE.get_model_admin(PAGES[name][0])

    assert page.check() == []
    response: Any = page.changelist_view(request("/?q=a" if name != "queue" else "/?rows=all"))
    response.render()
    assert response.status_code == 200


@pytest.mark.urls(__name__)
def test_the_page_of_a_task_shows_the_fields_that_a_subclass_names() -> None:
    task_id = async_task(add, 1, 2)
    drain()

    response: Any = SITE.get_model_admin(models.Success).change_view(request(), task_id)
    text = response.render().content.decode()

    assert all(f"field-{name}" in text for name in OwnTaskAdmin.fields)


@pytest.mark.urls(__name__)
def test_a_form_of_a_subclass_may_name_the_second_name_of_a_column() -> None:
    row = schedule("tests.sample.tasks.add", 1, 2, name="sum", cluster="mail")
    page: Any = SITE.get_model_admin(models.Schedule)
    form = page.get_form(request(), row, change=True)
    data = {"name": "sum", "func": "tests.sample.tasks.add", "args": "1, 2", "schedule_type": "D", "repeats": "-1"}

    assert form(instance=row).initial["cluster"] == "mail"
    filled = form({**data, "cluster": "books"}, instance=row)
    assert filled.is_valid(), filled.errors
    assert filled.save().queue == "books"


def test_a_serializer_reads_second_names() -> None:
    serializers = pytest.importorskip("rest_framework.serializers")

    class TaskSerializer(serializers.ModelSerializer):  # type: ignore[misc,name-defined]  # an optional package
        class Meta:
            model = models.Task
            fields = ("id", "started", "stopped", "args", "result", "cluster")

    task_id = async_task(add, 1, 2)
    drain()

    found = TaskSerializer(models.Task.objects.get(pk=task_id)).data
    assert (found["result"], found["args"]) in ((3, (1, 2)), (3, "(1, 2)"), ("3", "(1, 2)"))
    assert found["started"] <= found["stopped"]
