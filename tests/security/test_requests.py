"""Requests that somebody else has made up: forged, redirecting, or meant for the database."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from django_cluster.models import Failure, Schedule
from django_cluster.testing.outcomes import make_failure
from tests.integration.admin_client import page, queue_one, save
from tests.security.test_staff_without_permissions import ANSWERS, addresses, rows, state

__all__ = ["rows"]  # a fixture

pytestmark = pytest.mark.django_db


def test_no_get_changes_anything(admin_client: Client, rows: dict[str, Any]) -> None:
    before = state()

    for address in addresses(rows):
        admin_client.get(address, {**ANSWERS, "action": "delete_selected", "order": "pause tests", "post": "yes"})

    assert state() == before


def test_no_post_is_taken_without_the_token_of_the_form(rows: dict[str, Any]) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("root"))
    before = state()

    for address in addresses(rows):
        assert client.post(address, {**ANSWERS, "action": "delete_selected"}).status_code == 403, address

    assert state() == before


@pytest.mark.parametrize("elsewhere", ["//evil.example", "https://evil.example", "/\\evil.example"])
def test_no_page_leads_elsewhere(admin_client: Client, rows: dict[str, Any], elsewhere: str) -> None:
    for address in addresses(rows):
        for answer in (
            admin_client.get(address, {"next": elsewhere, "_popup": elsewhere}),
            admin_client.post(f"{address}?next={elsewhere}", {**ANSWERS, "next": elsewhere, "_selected_action": "1"}),
        ):
            assert answer.get("Location", "/admin/").startswith(("/admin/", "?")), address


@pytest.mark.parametrize("text", ["%", "_", "red%", "r_d", "%%", "name:%", "func:%", "worker:_", "error:%", "\\", "'"])
def test_signs_of_the_database_stand_for_themselves(admin_client: Client, text: str) -> None:
    save(make_failure(name="red green"))

    assert "red green" not in page(admin_client, "failure_changelist", q=text)


@pytest.mark.parametrize("text", ["' OR 1=1 --", '"; DROP TABLE x; --', "func:' OR ''='", "\0", "name:\0", "x" * 5000])
@pytest.mark.parametrize("name", ["failure", "success", "queuedtask", "schedule"])
def test_a_search_is_a_search_whatever_is_written(admin_client: Client, name: str, text: str) -> None:
    save(make_failure(name="red green"))
    queue_one()
    Schedule.objects.create(func="operator.not_", name="red green")

    answer = admin_client.get(reverse(f"admin:django_cluster_{name}_changelist"), {"q": text})

    assert answer.status_code == 200
    assert Failure.objects.count() == 1


@pytest.mark.parametrize("parameter", ["func", "group", "queue", "status", "rows"])
@pytest.mark.parametrize("text", ["\0", "a\0b", "\ud83d", "' OR 1=1"])
def test_a_filter_finds_nothing_by_a_text_that_no_row_can_hold(admin_client: Client, parameter: str, text: str) -> None:
    save(make_failure(name="red green"))
    address = reverse("admin:django_cluster_failure_changelist")

    query = f"{parameter}={text.encode('utf-8', 'surrogatepass').hex(' ').replace(' ', '%')}"
    answer = admin_client.get(f"{address}?{query.replace('=', '=%', 1)}", follow=True)

    assert answer.status_code == 200


def test_a_text_that_no_database_keeps_is_asked_of_none() -> None:
    from django_cluster.admin.search import FunctionFilter, is_queryable

    assert not is_queryable("a\0b")
    assert is_queryable("tests.sample.tasks.add")
    assert FunctionFilter.parameter_name == "func"
