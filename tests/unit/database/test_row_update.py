"""One row is changed if it is as it should be; what PostgreSQL may forget is said for that statement alone."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from django_cluster.database.row_update import LAZY_COMMIT, _statement, update_row
from django_cluster.models import TrackedTask

pytestmark = pytest.mark.django_db


@pytest.fixture
def row() -> TrackedTask:
    return TrackedTask.objects.create(id="a" * 32, name="n", func="a.b", status="queued", enqueued_at=timezone.now())


def update(row: TrackedTask, changes: dict[str, Any], where: dict[str, Any]) -> bool:
    with connection.cursor() as cursor:
        return update_row(cursor, TrackedTask, row.pk, changes, where=where, lazy=True)


def test_every_kind_of_value_is_written_as_the_orm_writes_it(row: TrackedTask) -> None:
    now = timezone.now()
    changes: dict[str, Any] = {
        "status": "running",
        "attempt": 3,
        "started_at": now,
        "errors": [["a", "\0é"]],
        "group": None,
    }

    assert update(row, changes, {"attempt": 0, "status": ("queued", "retrying")})

    row.refresh_from_db()
    assert {name: getattr(row, name) for name in changes} == changes


@pytest.mark.parametrize("where", [{"attempt": 1}, {"status": ("success", "running")}])
def test_a_row_that_is_different_is_not_changed(row: TrackedTask, where: dict[str, Any]) -> None:
    assert not update(row, {"attempt": 9}, where)

    row.refresh_from_db()
    assert row.attempt == 0


def test_only_the_row_with_this_key_is_changed(row: TrackedTask) -> None:
    other = TrackedTask.objects.create(id="b" * 32, name="n", func="a.b", status="queued", enqueued_at=timezone.now())

    update(row, {"attempt": 1}, {"status": "queued"})

    other.refresh_from_db()
    assert other.attempt == 0


def test_the_text_of_a_statement_is_made_once() -> None:
    made = [_statement("postgresql", TrackedTask, ("status",), (("attempt", 0),), lazy) for lazy in (False, True, True)]

    assert made[0].endswith('WHERE "id" = %s AND "attempt" = %s')
    assert made[1] == made[0] + LAZY_COMMIT
    assert made[1] is made[2]
