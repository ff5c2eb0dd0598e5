"""The post-mortem of a failure in the admin and in ``qmonitor``: for those who may see arguments."""

from __future__ import annotations

import pytest
from django.test import Client

from django_cluster.core.post_mortem import FrameVariables, PostMortem
from django_cluster.dashboard.layout import detail_lines
from django_cluster.dashboard.text import plain
from django_cluster.models import Failure, Task
from django_cluster.testing.outcomes import make_failure, make_outcome
from tests.integration.admin_client import page, person, save
from tests.integration.test_collector import make_eye

pytestmark = pytest.mark.django_db

FOUND = PostMortem(
    frames=(FrameVariables(path="/srv/shop/bank.py", line=7, function="charge", variables=(("amount", "12"),)),),
    log_lines=("12:00:00 WARNING shop: password=hunter2 refused",),
    queries=3,
    query_seconds=0.25,
    cpu_seconds=0.5,
    wall_seconds=1.5,
    peak_memory_kb=50_000,
    host="worker-7",
    versions={"python": "3.11.7"},
    revision="abc123",
)


def save_failures() -> Task:
    save(
        make_failure(id="a" * 32, post_mortem=FOUND.packed()),
        make_failure(id="b" * 32),
        make_failure(id="c" * 32, failure=("KeyError", "other", "")),
        make_outcome(id="d" * 32),
    )
    return Failure.objects.get(pk="a" * 32)


def test_rows_keep_it_with_a_fingerprint_and_successes_have_neither() -> None:
    task = save_failures()

    assert task.post_mortem == FOUND
    assert {row.pk[0] for row in task.same_kind()} == {"a", "b"}
    success = Task.objects.get(pk="d" * 32)
    assert (success.post_mortem, success.fingerprint, success.same_kind().count()) == (None, None, 0)
    save(make_outcome(id="a" * 32, attempt=2))  # the retry succeeds
    again = Task.objects.get(pk="a" * 32)
    assert (again.post_mortem_data, again.fingerprint) == (None, None)


def test_a_damaged_one_breaks_no_page(admin_client: Client) -> None:
    save(make_failure(id="a" * 32, post_mortem=b"damaged"))

    assert Task.objects.get(pk="a" * 32).post_mortem is None
    assert "variables" in page(admin_client, "failure_change", "a" * 32).lower()


def test_the_page_of_a_failure_shows_it_and_leads_to_those_of_its_kind(admin_client: Client) -> None:
    task = save_failures()

    text = page(admin_client, "failure_change", task.pk)

    for each in (
        "/srv/shop/bank.py:7 in charge",
        "amount = 12",
        "queries: 3 in 0.250 s",
        "revision: abc123",
        "worker-7",
    ):
        assert each in text
    assert "hunter2" not in text
    assert f"?fingerprint={task.fingerprint}" in text
    listed = page(admin_client, "failure_changelist", fingerprint=str(task.fingerprint))
    assert "b" * 32 in listed
    assert "c" * 32 not in listed


def test_variables_and_log_lines_take_the_permission_to_see_arguments(client: Client) -> None:
    task = save_failures()

    text = page(person(client, "view_failure"), "failure_change", task.pk)

    assert "worker-7" in text
    assert "amount" not in text
    assert "refused" not in text


def test_qmonitor_shows_it_with_the_details() -> None:
    task = save_failures()

    detail = make_eye().detail(task.pk)
    assert detail is not None
    text = "\n".join(plain(each) for each in detail_lines(detail, 100))

    for each in ("Queries    3 in 0.250 s", "Same kind  2 failures", "Variables", "    amount = 12", "Log of the run"):
        assert each in text
    assert "hunter2" not in text
